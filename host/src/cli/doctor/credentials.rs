//! The credentials towards upstreams: present, and obtainable without using up anything.

use std::sync::Arc;

use futures_util::future::join_all;
use http::HeaderMap;

use super::finding::CheckFinding;
use super::http_probe::{ClockReading, get, send};
use super::installation::Installation;
use super::outcome::CheckOutcome;
use witgate_base::clock;
use witgate_config::credentials::{CredentialSettings, GrantSettings, OutboundSource};
use witgate_credentials::grant_key::GrantKey;
use witgate_credentials::grant_store::{GrantStore, StoredGrant};
use witgate_credentials::registry::OutboundCredentials;

pub(super) async fn examine(installation: Arc<Installation>) -> CheckOutcome {
    let credentials = installation.config.credentials.values();
    join_all(credentials.map(|credential| of_credential(&installation, credential)))
        .await
        .into_iter()
        .collect()
}

async fn of_credential(installation: &Installation, credential: &Arc<CredentialSettings>) -> CheckOutcome {
    let name = &credential.name;
    let mut clocks = Vec::new();
    let finding = match &credential.source {
        source if source.missing().is_some() => missing(credential),
        OutboundSource::Grant(grant) if grant.connect.is_some() => connected(credential, grant),
        OutboundSource::Grant(grant) => {
            let (finding, clock) = of_grant(installation, credential, grant).await;
            clocks.extend(clock);
            finding
        }
        OutboundSource::Exchange(_) => CheckFinding::skip(format!(
            "`{name}` is made from the token of each caller, so that it cannot be tried"
        )),
        OutboundSource::ClientCredentials(_) if installation.is_offline => {
            CheckFinding::skip(format!("`{name}` was not asked for (--offline)"))
        }
        _ => obtained(installation, credential).await,
    };
    let at = installation.place(&["credentials", name]);
    let finding = if finding.fix.is_some() { finding.at(at) } else { finding };
    CheckOutcome { findings: vec![finding], clocks }
}

fn missing(credential: &CredentialSettings) -> CheckFinding {
    let (name, place) = (&credential.name, credential.source.missing());
    let place = place.map(ToString::to_string).unwrap_or_default();
    CheckFinding::fail(format!("`{name}` is missing: there is no value in {place}"))
        .because("calls that need it are denied")
        .fix("set the secret; the change is taken at once")
}

/// Gets a credential, as for a call. For a token of a client, that is a new token; no refresh token is used.
async fn obtained(installation: &Installation, credential: &Arc<CredentialSettings>) -> CheckFinding {
    let name = &credential.name;
    let all = OutboundCredentials::new(Arc::clone(&installation.ways));
    let result = match all.with(credential) {
        Ok(credential) => {
            let added = credential.add_to(&mut HeaderMap::new(), None).await;
            added.map(drop).map_err(|fault| fault.problem.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => CheckFinding::pass(format!("`{name}` can be obtained")),
        Err(why) => CheckFinding::fail(format!("`{name}` cannot be obtained: {why}"))
            .because("calls that need it are denied")
            .fix(format!("correct its settings; `witgate credential test {name}` tries them")),
    }
}

/// A grant of a person for all callers. Renewing it would use up its refresh token, so that only the way is tried.
async fn of_grant(
    installation: &Installation,
    credential: &CredentialSettings,
    settings: &GrantSettings,
) -> (CheckFinding, Option<ClockReading>) {
    let name = &credential.name;
    let log_in = format!("`witgate credential login {name}`");
    let grant = match GrantStore::of(settings).read(&GrantKey::shared(name)) {
        Ok(Some(grant)) => grant,
        Ok(None) => {
            let finding = CheckFinding::fail(format!("nobody has logged in for `{name}`"))
                .because("calls that need it are denied")
                .fix(log_in);
            return (finding, None);
        }
        Err(error) => {
            let finding = CheckFinding::fail(format!("the tokens of `{name}` cannot be read: {error}"))
                .because("calls that need them are denied")
                .fix(format!("restore the file, or log in again: {log_in}"));
            return (finding, None);
        }
    };
    if has_ended(&grant, clock::since_epoch().as_secs()) {
        let finding = CheckFinding::fail(format!("the login for `{name}` has ended"))
            .because("its tokens can no longer be renewed, so that calls are denied")
            .fix(log_in);
        return (finding, None);
    }
    if grant.refresh.is_none() || installation.is_offline {
        return (CheckFinding::pass(format!("`{name}` is logged in")), None);
    }
    // A GET of a token endpoint is an error, and shows that it is there.
    let asked = match get(&settings.token.token_url) {
        Ok(request) => send(&installation.ways, request).await,
        Err(why) => Err(why),
    };
    match asked {
        Ok(answer) => {
            (CheckFinding::pass(format!("`{name}` is logged in, and can be renewed")), answer.clock)
        }
        Err(why) => {
            let finding = CheckFinding::fail(format!(
                "`{name}` cannot be renewed: {} gives no answer: {why}",
                settings.token.token_url.origin().ascii_serialization()
            ))
            .because("when its token ends, calls are denied")
            .fix("let this machine reach the provider, by `[network]` if there is a proxy");
            (finding, None)
        }
    }
}

/// True if only a new login helps.
fn has_ended(grant: &StoredGrant, now: u64) -> bool {
    grant.has_ended || grant.refresh.is_none() && grant.end.is_some_and(|end| end <= now)
}

/// The accounts of principals.
fn connected(credential: &Arc<CredentialSettings>, settings: &GrantSettings) -> CheckFinding {
    let name = &credential.name;
    match GrantStore::of(settings).of_principals(name) {
        Err(error) => CheckFinding::fail(format!("the accounts of `{name}` cannot be read: {error}"))
            .because("calls that need them are denied")
            .fix("restore the directory, or let callers connect their accounts again"),
        Ok(listed) if !listed.unreadable.is_empty() => {
            let count = listed.unreadable.len();
            CheckFinding::warn(format!("{count} accounts of `{name}` cannot be read"))
                .because("the calls of their callers are denied")
                .fix(format!(
                    "`witgate credential status {name}` names them; their callers connect them again"
                ))
        }
        Ok(listed) => {
            CheckFinding::pass(format!("callers have connected {} accounts for `{name}`", listed.keys.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed_with};
    use super::*;
    use witgate_config::environment::Environment;
    use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer};

    async fn found(credential: &str, variables: &[(&str, &str)]) -> CheckFinding {
        let text = format!(
            "[upstreams.a]\nurl = 'http://127.0.0.1:1/mcp'\ncredential = 'c'\n[credentials.c]\n{credential}\n{OPEN}"
        );
        let environment: Environment = variables.iter().copied().collect();
        let (_folder, installation) = installed_with(&text, &[], environment);
        examine(Arc::new(installation)).await.findings.remove(0)
    }

    #[tokio::test]
    async fn a_secret_that_is_there_passes_and_a_missing_one_fails() {
        let secret = "kind = 'static'\nvalue = { env = 'TOKEN', optional = true }";
        assert_eq!(found(secret, &[("TOKEN", "hidden-value")]).await.level, FindingLevel::Pass);
        let missing = found(secret, &[]).await;
        assert_eq!((missing.level, missing.place.unwrap().line), (FindingLevel::Fail, 4));
        assert!(missing.message.contains("TOKEN"));
    }

    #[tokio::test]
    async fn a_token_of_a_client_is_obtained() {
        let server = HttpDouble::start(|_| {
            HttpDoubleAnswer::json(200, r#"{"access_token":"a","token_type":"Bearer","expires_in":60}"#)
        });
        let of = |url: String| {
            format!(
                "kind = 'client-credentials'\ntoken_url = '{url}'\nclient_id = 'w'\nclient_secret = {{ env = 'S' }}"
            )
        };
        let good = found(&of(server.url("/token")), &[("S", "hidden-value")]).await;
        assert_eq!(good.level, FindingLevel::Pass, "{good:?}");
        let away = found(&of("http://127.0.0.1:1/token".to_owned()), &[("S", "hidden-value")]).await;
        assert_eq!(away.level, FindingLevel::Fail);
        assert!(!format!("{away:?}").contains("hidden-value"), "{away:?}");
    }

    #[tokio::test]
    async fn a_login_that_nobody_has_made_fails() {
        let login = "kind = 'oauth'\npreset = 'github'\nclient_id = 'w'\nclient_secret = { env = 'S' }";
        let found = found(login, &[("S", "hidden-value")]).await;
        assert_eq!(
            (found.level, found.fix.as_deref()),
            (FindingLevel::Fail, Some("`witgate credential login c`"))
        );
    }
}
