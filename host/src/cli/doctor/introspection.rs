//! Introspection endpoints: each is asked about a random token, by the policy itself. Nothing counts the question as a
//! failed login, because it does not pass the gateway.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use http::HeaderName;
use secrecy::SecretString;
use serde_json::Value;
use witgate_plugin::Scheme;

use super::finding::CheckFinding;
use super::installation::Installation;
use super::outcome::CheckOutcome;
use crate::cli::token::judge;
use witgate_config::{Config, Pipeline, PolicyKind};
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::reject::Rejection;
use witgate_message::credential::Credentials;

pub(super) async fn examine(installation: Arc<Installation>) -> CheckOutcome {
    let policies = installation.config.policies.values();
    let asking = policies.filter(|policy| {
        policy.kind == PolicyKind::Introspection
            && !installation.config.broken.policies.contains_key(&policy.name)
    });
    let names: Vec<_> = asking.map(|policy| policy.name.clone()).collect();
    if installation.is_offline {
        let skipped =
            names.iter().map(|name| CheckFinding::skip(format!("`{name}` was not asked (--offline)")));
        return skipped.collect::<Vec<_>>().into();
    }
    let findings = join_all(names.iter().map(|name| of_policy(&installation, name))).await;
    findings.into_iter().flatten().collect::<Vec<_>>().into()
}

async fn of_policy(installation: &Installation, name: &str) -> Option<CheckFinding> {
    let (config, upstream) = with_only(installation.config_again()?, name)?;
    let shown = random_token(&config, name)?;
    let judged = judge(&installation.environment, &config, Some(&upstream), shown).await;
    let finding = match judged {
        Ok(judged) => finding(name, judged),
        // The check of the configuration has the details.
        Err(_) => return None,
    };
    let at = ["policies", name, "config"];
    Some(if finding.fix.is_some() { finding.at(installation.place(&at)) } else { finding })
}

/// The configuration with one pipeline, which asks the policy `name` alone, and the name of its upstream.
fn with_only(mut config: Config, name: &str) -> Option<(Config, String)> {
    config.upstreams.truncate(1);
    let upstream = config.upstreams.first_mut()?;
    upstream.pipeline = Pipeline { authenticate: vec![name.to_owned()], ..Pipeline::default() };
    let upstream = upstream.name.clone();
    Some((config, upstream))
}

/// A token that no server has issued, at the place where the policy reads it.
fn random_token(config: &Config, name: &str) -> Option<Credentials> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    let token = SecretString::from(URL_SAFE_NO_PAD.encode(bytes));
    let header = config.policies.get(name)?.config.get("header").and_then(Value::as_str);
    let header = header.and_then(|header| header.parse::<HeaderName>().ok());
    let mut shown = Credentials::default();
    match header {
        Some(header) => shown.add(Scheme::Header, Some(header), token),
        None => shown.add(Scheme::Bearer, None, token),
    }
    Some(shown)
}

fn finding(name: &str, judged: Result<Arc<Caller>, Rejection>) -> CheckFinding {
    match judged {
        Ok(_) => CheckFinding::fail(format!("the server of `{name}` says that a random token is active"))
            .because("everybody who sends any token is accepted")
            .fix("name the introspection endpoint of the authorization server"),
        Err(Rejection::Refused { reason, .. }) if reason == "inactive" => {
            CheckFinding::pass(format!("the server of `{name}` says that a random token is not active"))
        }
        Err(Rejection::Refused { reason, detail, .. }) => {
            let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
            CheckFinding::warn(format!("`{name}` refuses a random token as `{reason}`{detail}"))
                .because("the server was expected to say that the token is not active")
                .fix("`witgate token verify` with a token of the server shows what the policy makes of it")
        }
        Err(Rejection::Failed(failed)) => CheckFinding::fail(format!("`{name}` gets no answer: {}", failed.detail))
            .because("all tokens that it judges are refused")
            .fix("check `endpoint` or `issuer`, and `client_id` with its secret: the client has to be allowed to introspect"),
        Err(_) => CheckFinding::warn(format!("`{name}` does not judge a random token"))
            .because("the introspection endpoint was not asked")
            .fix("`witgate token verify` with a token of the server shows why"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::installed_with;
    use super::*;
    use witgate_config::environment::Environment;
    use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer};

    /// The findings about an endpoint with this answer.
    async fn findings(status: u16, body: &'static str) -> Vec<CheckFinding> {
        let server = HttpDouble::start(move |_| HttpDoubleAnswer::json(status, body));
        let text = format!(
            "[upstreams.a]\nown_tools = true\n[pipeline]\nauthenticate = ['t']\nauthorize = ['r']\n[policies.t]\n\
             kind = 'oauth2-introspection'\n[policies.t.config]\nendpoint = '{}'\nclient_id = 'w'\n\
             client_secret = {{ env = 'S' }}\n[policies.r]\nkind = 'rbac'\nconfig.roles.all = {{ allow = ['*'] }}\n",
            server.url("/introspect")
        );
        let environment: Environment = [("S", "the-secret-of-the-client")].into_iter().collect();
        let (_folder, installation) = installed_with(&text, &[], environment);
        examine(Arc::new(installation)).await.findings
    }

    #[tokio::test]
    async fn a_server_that_knows_no_random_token_passes() {
        let found = findings(200, r#"{"active":false}"#).await;
        assert_eq!(found.iter().map(|one| one.level).collect::<Vec<_>>(), [FindingLevel::Pass], "{found:?}");
    }

    #[tokio::test]
    async fn a_server_that_refuses_the_client_fails_without_its_secret() {
        let found = findings(401, r#"{"error":"invalid_client"}"#).await;
        assert_eq!((found[0].level, found[0].place.as_ref().unwrap().line), (FindingLevel::Fail, 8));
        assert!(!format!("{found:?}").contains("the-secret"), "{found:?}");
    }

    #[tokio::test]
    async fn a_server_that_accepts_everything_fails() {
        let found = findings(200, r#"{"active":true,"sub":"a","aud":"http://127.0.0.1:8787/mcp"}"#).await;
        assert!(found[0].message.contains("a random token is active"), "{found:?}");
    }
}
