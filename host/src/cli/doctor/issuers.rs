//! The authorization servers: their metadata, as clients that log in need it, and as keys are found by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::Value;
use url::Url;
use witgate_plugin::issuer::metadata_urls;

use super::finding::CheckFinding;
use super::http_probe::{ClockReading, get, send};
use super::installation::Installation;
use super::outcome::CheckOutcome;
use witgate_config::{KeyPlace, KeySource, PolicyKind};

/// The use of an issuer, with the setting that names it.
#[derive(Clone, Debug, Default)]
struct IssuerUse {
    setting: Vec<String>,
    /// Clients are sent there for a login.
    is_for_logins: bool,
    /// Keys are found by its metadata.
    has_keys: bool,
}

pub(super) async fn examine(installation: Arc<Installation>) -> CheckOutcome {
    let issuers = issuers(&installation);
    if installation.is_offline {
        let skipped =
            issuers.keys().map(|issuer| CheckFinding::skip(format!("{issuer} was not asked (--offline)")));
        return skipped.collect::<Vec<_>>().into();
    }
    let asked = issuers.iter().map(|(issuer, used)| of_issuer(&installation, issuer, used));
    join_all(asked).await.into_iter().collect()
}

/// The issuers of the configuration. Witgate itself is none of them: it answers only while it runs.
fn issuers(installation: &Installation) -> BTreeMap<String, IssuerUse> {
    let config = &installation.config;
    let mut found: BTreeMap<String, IssuerUse> = BTreeMap::new();
    let mut add = |issuer: &str, setting: &[&str], is_for_logins, has_keys| {
        let used = found.entry(issuer.to_owned()).or_default();
        used.is_for_logins |= is_for_logins;
        used.has_keys |= has_keys;
        if used.setting.is_empty() {
            used.setting = setting.iter().map(|&step| step.to_owned()).collect();
        }
    };
    for issuer in &config.server.authorization_servers {
        add(issuer, &["server", "authorization_servers"], true, false);
    }
    for (name, policy) in &config.policies {
        let setting = ["policies", name, "config", "issuer"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let named = match policy.config.get("issuer") {
            Some(Value::Array(all)) => all.iter().filter_map(text).collect(),
            Some(one) => text(one).into_iter().collect(),
            None => Vec::new(),
        };
        let has_keys = policy.config.get("keys").and_then(Value::as_array).is_none_or(Vec::is_empty);
        match policy.kind {
            PolicyKind::Jwt if has_keys => named.iter().for_each(|issuer| add(issuer, &setting, false, true)),
            PolicyKind::Introspection if policy.config.get("endpoint").is_none() => {
                named.iter().for_each(|issuer| add(issuer, &setting, false, false));
            }
            _ => {}
        }
    }
    for (name, key) in &config.keys {
        if let KeySource::Remote { place: KeyPlace::Issuer(issuer), .. } = key {
            add(issuer, &["keys", name, "issuer"], false, true);
        }
    }
    if let Some(accounts) = &config.accounts {
        found.remove(&accounts.issuer);
    }
    found
}

async fn of_issuer(installation: &Installation, issuer: &str, used: &IssuerUse) -> CheckOutcome {
    let setting: Vec<_> = used.setting.iter().map(String::as_str).collect();
    let place = installation.place(&setting);
    let (metadata, clocks) = match metadata(installation, issuer).await {
        Ok(found) => found,
        Err((why, clocks)) => {
            let finding = CheckFinding::fail(format!("the metadata of {issuer} cannot be read: {why}"))
                .because(consequence(used))
                .fix("write the issuer as its tokens do (`iss`), and let this machine reach it")
                .at(place);
            return CheckOutcome { findings: vec![finding], clocks };
        }
    };
    let mut findings = faults(issuer, &metadata, used);
    if findings.is_empty() {
        findings.push(CheckFinding::pass(format!("{issuer} has its metadata")));
    }
    let placed =
        |finding: CheckFinding| if finding.fix.is_some() { finding.at(place.clone()) } else { finding };
    CheckOutcome { findings: findings.into_iter().map(placed).collect(), clocks }
}

fn consequence(used: &IssuerUse) -> &'static str {
    match (used.has_keys, used.is_for_logins) {
        (true, _) => "its keys are found by the metadata, so its tokens are refused",
        (false, true) => "clients cannot log in",
        (false, false) => "its introspection endpoint is found by the metadata, so its tokens are refused",
    }
}

/// The metadata of an issuer, and the clocks of the answers.
type MetadataAnswer = (Value, Vec<ClockReading>);

/// The metadata at the first URL that has it.
async fn metadata(
    installation: &Installation,
    issuer: &str,
) -> Result<MetadataAnswer, (String, Vec<ClockReading>)> {
    let (mut reasons, mut clocks) = (Vec::new(), Vec::new());
    for url in metadata_urls(issuer) {
        let asked = match Url::parse(&url).map_err(|error| error.to_string()).and_then(|url| get(&url)) {
            Ok(request) => send(&installation.ways, request).await,
            Err(why) => Err(why),
        };
        match asked {
            Ok(answer) => {
                clocks.extend(answer.clock);
                match serde_json::from_slice::<Value>(&answer.body) {
                    Ok(metadata) if answer.status == 200 && metadata.is_object() => {
                        return Ok((metadata, clocks));
                    }
                    Ok(_) | Err(_) if answer.status != 200 => {
                        reasons.push(format!("{url}: status {}", answer.status.as_u16()))
                    }
                    _ => reasons.push(format!("{url}: no JSON object")),
                }
            }
            Err(why) => {
                reasons.push(format!("{url}: {why}"));
                break;
            }
        }
    }
    Err((reasons.join("; "), clocks))
}

/// The faults of metadata (RFC 8414, section 2; MCP, "Authorization").
fn faults(issuer: &str, metadata: &Value, used: &IssuerUse) -> Vec<CheckFinding> {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    let lists = |name: &str, wanted: &str| {
        let listed = metadata.get(name).and_then(Value::as_array);
        listed.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(wanted)))
    };
    let mut findings = Vec::new();
    match text("issuer") {
        Some(same) if same == issuer => {}
        Some(other) => findings.push(
            CheckFinding::fail(format!("the metadata of {issuer} is of another issuer: `{other}`"))
                .because("it is not used, because one issuer could publish metadata for another (RFC 8414, section 3.3)")
                .fix(format!("write `{other}` if that is meant; a slash at the end counts")),
        ),
        None => findings.push(
            CheckFinding::fail(format!("the metadata of {issuer} names no `issuer`"))
                .because("it is not used (RFC 8414, section 2)")
                .fix("name the issuer's own URL"),
        ),
    }
    if used.has_keys && text("jwks_uri").is_none() {
        findings.push(
            CheckFinding::fail(format!("the metadata of {issuer} has no `jwks_uri`"))
                .because("there are no keys for the signatures of its tokens")
                .fix("name the key set: `keys = [{ jwks_url = \"…\" }]`, or use `oauth2-introspection` for opaque tokens"),
        );
    }
    if used.is_for_logins {
        findings.extend(login_faults(issuer, &text, lists("code_challenge_methods_supported", "S256")));
    }
    findings
}

fn login_faults<'m>(
    issuer: &str,
    text: &dyn Fn(&str) -> Option<&'m str>,
    has_pkce: bool,
) -> Vec<CheckFinding> {
    let endpoints = ["authorization_endpoint", "token_endpoint"];
    let missing: Vec<_> = endpoints.into_iter().filter(|name| text(name).is_none()).collect();
    let of_missing = (!missing.is_empty()).then(|| {
        CheckFinding::fail(format!("the metadata of {issuer} has no `{}`", missing.join("` and no `")))
            .because("clients cannot log in there")
            .fix("name an authorization server with a login of people")
    });
    let of_pkce = (!has_pkce).then(|| {
        CheckFinding::fail(format!("{issuer} does not list S256 in `code_challenge_methods_supported`"))
            .because("MCP clients have to refuse an authorization server without PKCE")
            .fix("turn PKCE on at the authorization server, or put its metadata right")
    });
    of_missing.into_iter().chain(of_pkce).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed};
    use super::*;
    use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer};

    /// The findings about an issuer whose metadata has these members, besides `issuer`.
    async fn findings(members: Value) -> Vec<CheckFinding> {
        let server = HttpDouble::start(move |request| {
            let issuer = format!("http://{}", request.host);
            let mut metadata = json!({ "issuer": issuer });
            metadata.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            HttpDoubleAnswer::json(200, metadata.to_string())
        });
        examined(&server.url("")).await
    }

    async fn examined(issuer: &str) -> Vec<CheckFinding> {
        let (_folder, installation) = installed(&format!(
            "[server]\nauthorization_servers = ['{issuer}']\n[upstreams.a]\nown_tools = true\n{OPEN}"
        ));
        examine(Arc::new(installation)).await.findings
    }

    #[tokio::test]
    async fn an_authorization_server_with_all_that_clients_need_passes() {
        let found = findings(json!({
            "authorization_endpoint": "https://a/authorize", "token_endpoint": "https://a/token",
            "code_challenge_methods_supported": ["S256"],
        }));
        let levels: Vec<_> = found.await.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [FindingLevel::Pass]);
    }

    #[tokio::test]
    async fn each_missing_member_is_found() {
        let found = findings(json!({ "code_challenge_methods_supported": ["plain"] })).await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].message.contains("no `authorization_endpoint` and no `token_endpoint`"),
            "{found:?}"
        );
        assert!(found[1].message.contains("S256"), "{found:?}");
        assert_eq!(found[1].place.as_ref().unwrap().line, 2);
    }

    #[tokio::test]
    async fn metadata_of_another_issuer_and_none_at_all_fail() {
        let other = findings(json!({ "issuer": "https://other" })).await;
        assert!(other[0].message.contains("another issuer: `https://other`"), "{other:?}");
        let none = examined("http://127.0.0.1:1").await;
        assert!(none[0].message.contains("cannot be read"), "{none:?}");
    }
}
