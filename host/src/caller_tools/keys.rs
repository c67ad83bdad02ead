//! The tool that makes a key of the caller's own.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::caller_login::CallerLogin;
use super::{CallerAccounts, CallerDesk, arguments, changed, unavailable};
use witgate_accounts::database::now_ms;
use witgate_accounts::database::own_keys::{OwnKey, OwnKeyFault, OwnKeyTerms};
use witgate_base::breaker::CallerDigest;
use witgate_upstream::caller_tools::{CallerAnswer, CallerQuestion};

/// The lifetime of a key without a wanted end.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyArguments {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    expires: Option<String>,
}

impl CallerDesk {
    /// Makes a key of the caller. It has no scope that their token has not, so that a program cannot give itself more
    /// than its person has allowed.
    pub(super) async fn make_key(&self, question: &CallerQuestion) -> CallerAnswer {
        let (accounts, login) = self.login(question)?;
        let form = "`name`, and optionally `scopes`, a list, and `expires`, a text";
        let KeyArguments { name, scopes, expires } = arguments(question, form)?;
        let granted = &question.caller.identity().scopes;
        let is_granted =
            |scope: &String| granted.contains(scope) && accounts.settings.scopes.contains_key(scope);
        if let Some(scope) = scopes.iter().find(|scope| !is_granted(scope)) {
            let scope = witgate_base::printable::clean(scope);
            return Err(format!("This program has no scope `{scope}`, so it cannot give it to a key"));
        }
        let terms = OwnKeyTerms { name, scopes, expires: end(expires.as_deref())? };
        let before = self.generations.live().number();
        let (key, text) = made(accounts, login, terms, question.peer).await?;
        let is_in_force = self.in_force(before).await;
        tracing::info!(user = question.caller.identity().subject, key = key.id, "a caller has made a key");
        let answer = json!({
            "id": key.id,
            "name": key.terms.name,
            "scopes": key.terms.scopes,
            "expires": key.terms.expires.map(time),
            "key": text.expose_secret(),
            "note": "The key is shown only this once.",
        });
        Ok(changed(answer, is_in_force))
    }
}

async fn made(
    accounts: &CallerAccounts,
    login: CallerLogin,
    terms: OwnKeyTerms,
    peer: Option<IpAddr>,
) -> Result<(OwnKey, SecretString), String> {
    let made = accounts.store.run(CallerDigest::of_peer(peer), move |database| {
        database.seen_from(peer);
        match database.has_grant(&login.user, login.grant)? {
            true => database.make_key(&login.user, terms, now_ms()),
            false => Err(OwnKeyFault::User),
        }
    });
    made.await.map_err(|fault| match fault {
        OwnKeyFault::Store(error) => unavailable(error),
        fault => format!("There is no new key: {fault}"),
    })
}

/// The wanted end, in milliseconds since 1970.
fn end(wanted: Option<&str>) -> Result<Option<i64>, String> {
    let after = |lifetime: Duration| {
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        Some(now_ms().saturating_add(lifetime))
    };
    match wanted {
        None => Ok(after(DEFAULT_LIFETIME)),
        Some("never") => Ok(None),
        Some(text) => match (humantime::parse_duration(text), humantime::parse_rfc3339_weak(text)) {
            (Ok(lifetime), _) => Ok(after(lifetime)),
            (_, Ok(time)) => {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                Ok(Some(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
            }
            _ => Err(
                "`expires` is a duration such as `30d`, a time such as `2027-01-31T12:00:00Z`, or `never`"
                    .to_owned(),
            ),
        },
    }
}

/// A time in milliseconds since 1970, as text. Keys end before the year 9999.
fn time(ms: i64) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(ms).ok()?))?;
    Some(humantime::format_rfc3339_seconds(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_duration_a_time_or_never() {
        let day = 86_400_000;
        let in_days = |wanted| (end(wanted).unwrap().unwrap() - now_ms() + day / 2) / day;
        assert_eq!((in_days(None), in_days(Some("30d"))), (90, 30));
        assert_eq!(end(Some("never")), Ok(None));
        assert_eq!(end(Some("2027-01-31T12:00:00Z")), Ok(Some(1_801_396_800_000)));
        assert!(end(Some("soon")).unwrap_err().contains("30d"));
    }
}
