//! The tools that tell the identity of a caller, and the ways to log in.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{CallerDesk, no_arguments, unavailable};
use witgate_base::breaker::CallerDigest;
use witgate_base::party::{ANONYMOUS, UNCHECKED};
use witgate_plugin::Identity;
use witgate_upstream::caller_tools::{CallerAnswer, CallerQuestion};

impl CallerDesk {
    /// The identity of the caller.
    pub(super) async fn profile(&self, question: &CallerQuestion) -> CallerAnswer {
        no_arguments(question)?;
        if !is_somebody(question) {
            return Ok(json!({ "authenticated": false }));
        }
        let identity = question.caller.identity();
        Ok(json!({
            "authenticated": true,
            "subject": identity.subject,
            "name": self.name(question).await?,
            "issuer": identity.issuer,
            "authenticated_by": &**question.caller.proven_by(),
            "roles": identity.roles,
            "scopes": identity.scopes,
            "expires_at": identity.expires_at.and_then(time),
        }))
    }

    /// The identity of the caller, or the address of the login.
    pub(super) async fn authenticate_user(&self, question: &CallerQuestion) -> CallerAnswer {
        if no_arguments(question).is_err() {
            return Err("Names and passwords are not accepted as arguments, because the model would read them. Call without arguments to get the address of the login".to_owned());
        }
        if is_somebody(question) {
            return self.profile(question).await;
        }
        let accounts = self.accounts.as_ref().ok_or("There are no accounts here")?;
        let issuer = &accounts.settings.issuer;
        Ok(json!({
            "authenticated": false,
            "login_url": format!("{issuer}/login"),
            "how": "A client with OAuth opens the login in a browser when a call is refused. For any other, log in at `login_url`, make a key on the page of the account, and let the client send it as `Authorization: Bearer KEY`.",
        }))
    }

    /// The identity of the caller, or the way to show a key. A key in an argument has been taken out, and has authenticated
    /// the call.
    pub(super) async fn authenticate_with_api_key(&self, question: &CallerQuestion) -> CallerAnswer {
        no_arguments(question)?;
        match is_somebody(question) {
            true => self.profile(question).await,
            false => Ok(json!({
                "authenticated": false,
                "how": "Send the key with each request, as `Authorization: Bearer KEY`. A session keeps no identity.",
            })),
        }
    }

    /// The name of a user of the accounts. Keys of users have no issuer.
    async fn name(&self, question: &CallerQuestion) -> Result<Option<String>, String> {
        let Some(accounts) = &self.accounts else { return Ok(None) };
        let Identity { issuer, subject, .. } = question.caller.identity();
        if issuer.as_ref().is_some_and(|issuer| *issuer != accounts.settings.issuer) {
            return Ok(None);
        }
        let (subject, source) = (subject.clone(), CallerDigest::of_peer(question.peer));
        let found = accounts.store.run(source, move |database| database.user_by_id(&subject)).await;
        Ok(found.map_err(unavailable)?.map(|user| user.name))
    }
}

fn is_somebody(question: &CallerQuestion) -> bool {
    !matches!(&**question.caller.proven_by(), ANONYMOUS | UNCHECKED)
}

/// A time in seconds since 1970, as text. None: it is beyond the year 9999.
fn time(seconds: u64) -> Option<Value> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|_| seconds < 253_402_300_800)?;
    Some(humantime::format_rfc3339_seconds(time).to_string().into())
}
