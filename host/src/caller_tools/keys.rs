//! The tool that makes a key of the caller's own.

use std::time::{Duration, UNIX_EPOCH};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::caller_login::CallerLogin;
use super::changed_file::ChangedFile;
use super::{CallerAccounts, CallerDesk, arguments, changed, unavailable};
use witgate_accounts::database::now_ms;
use witgate_accounts::database::own_keys::{KeyOrigin, OwnKey, OwnKeyFault, OwnKeyTerms};
use witgate_base::breaker::CallerDigest;
use witgate_upstream::caller_tools::{CallerAnswer, CallerQuestion};

/// The lifetime of a key without a wanted end, in milliseconds, if the login lasts that long.
const DEFAULT_LIFETIME_MS: i64 = 90 * 86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyArguments {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    expires: Option<String>,
}

impl CallerDesk {
    /// Makes a key of the caller. A program cannot give itself more than its person has allowed: the key has no scope
    /// that the token has not, is for the resource of the token alone, and ends with the login of the program.
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
        let wanted = expires.as_deref().map(end).transpose()?;
        let (key, text) = made(accounts, login, (name, scopes, wanted), question).await?;
        let store = ChangedFile { path: accounts.settings.place.own_keys(), mark: key.id.clone() };
        let is_in_force = store.is_in_force(&self.generations).await;
        tracing::info!(user = question.caller.identity().subject, key = key.id, "a caller has made a key");
        let answer = json!({
            "id": key.id,
            "name": key.terms.name,
            "scopes": key.terms.scopes,
            "expires": key.terms.expires.map(time),
            "resource": key.resource,
            "key": text.expose_secret(),
            "note": "The key is shown only this once.",
        });
        Ok(changed(answer, is_in_force))
    }
}

/// Makes a key with this name, these scopes and this end.
async fn made(
    accounts: &CallerAccounts,
    login: CallerLogin,
    (name, scopes, wanted): (String, Vec<String>, Option<i64>),
    question: &CallerQuestion,
) -> Result<(OwnKey, SecretString), String> {
    let (settings, peer) = (accounts.settings.clone(), question.peer);
    let made = accounts.store.run(CallerDigest::of_peer(peer), move |database| {
        database.seen_from(peer);
        let (CallerLogin { user, grant }, now) = (login, now_ms());
        let last = database.grant_end(&user, grant, &settings)?.ok_or(OwnKeyFault::Login)?;
        let expires = wanted.unwrap_or_else(|| last.min(now.saturating_add(DEFAULT_LIFETIME_MS)));
        let terms = OwnKeyTerms { name, scopes, expires: Some(expires) };
        database.make_key(&user, terms, KeyOrigin::Program(grant, &settings), now)
    });
    made.await.map_err(|fault| match fault {
        OwnKeyFault::Store(error) => unavailable(error),
        OwnKeyFault::AfterLogin => {
            format!(
                "There is no new key: {fault}. Without `expires`, it ends with the login, or after 90 days"
            )
        }
        fault => format!("There is no new key: {fault}"),
    })
}

/// The wanted end, in milliseconds since 1970.
fn end(wanted: &str) -> Result<i64, String> {
    match (humantime::parse_duration(wanted), humantime::parse_rfc3339_weak(wanted)) {
        (Ok(lifetime), _) => {
            let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
            Ok(now_ms().saturating_add(lifetime))
        }
        (_, Ok(time)) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        }
        _ if wanted == "never" => Err("A key of a program ends with its login at the latest".to_owned()),
        _ => Err("`expires` is a duration such as `7d`, or a time such as `2027-01-31T12:00:00Z`".to_owned()),
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
    fn an_end_is_a_duration_or_a_time() {
        let day = 86_400_000;
        assert_eq!((end("30d").unwrap() - now_ms() + day / 2) / day, 30);
        assert_eq!(end("2027-01-31T12:00:00Z"), Ok(1_801_396_800_000));
        assert!(end("soon").unwrap_err().contains("7d"));
        assert!(end("never").unwrap_err().contains("ends with its login"));
    }
}
