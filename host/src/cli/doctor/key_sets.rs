//! The keys of `jwt` policies: whether they can be read or fetched, and fit the accepted algorithms.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::Value;

use super::finding::CheckFinding;
use super::installation::Installation;
use super::outcome::CheckOutcome;
use witgate_config::raw::Key as WrittenKey;
use witgate_config::{KeyPlace, KeySource, MAX_STALE, Policy, PolicyKind, resolve};
use witgate_services::jwks::RemoteJwks;
use witgate_services::keys::Key;

/// Keys of policies, with the algorithms of the policies that use them.
struct UsedKey {
    /// The name for messages.
    shown: String,
    source: Result<KeySource, String>,
    setting: Vec<String>,
    /// Each policy with its algorithms.
    users: BTreeMap<String, Vec<String>>,
}

pub(super) async fn examine(installation: Arc<Installation>) -> CheckOutcome {
    let examined = used_keys(&installation).into_iter().map(|used| of_key(&installation, used));
    join_all(examined).await.into_iter().flatten().collect::<Vec<_>>().into()
}

fn used_keys(installation: &Installation) -> Vec<UsedKey> {
    let mut found: Vec<UsedKey> = Vec::new();
    let policies = installation.config.policies.values().filter(|policy| policy.kind == PolicyKind::Jwt);
    for policy in policies {
        for (shown, source, setting) in keys_of(installation, policy) {
            let algorithms = texts(policy.config.get("algorithms"));
            match found.iter_mut().find(|other| other.shown == shown) {
                Some(other) => drop(other.users.insert(policy.name.clone(), algorithms)),
                None => {
                    let users = BTreeMap::from([(policy.name.clone(), algorithms)]);
                    found.push(UsedKey { shown, source, setting, users });
                }
            }
        }
    }
    found
}

/// A key: its name for messages, its source, and its setting.
type NamedKey = (String, Result<KeySource, String>, Vec<String>);

/// The keys of a policy: those that it names, or those of its issuers.
fn keys_of(installation: &Installation, policy: &Policy) -> Vec<NamedKey> {
    let config = &installation.config;
    let steps = |steps: &[&str]| steps.iter().map(|&step| step.to_owned()).collect::<Vec<_>>();
    let name = policy.name.as_str();
    let keys = policy.config.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
    let Some(keys) = keys else {
        let issuers = texts(policy.config.get("issuer"));
        return issuers
            .into_iter()
            .map(|issuer| {
                let place = KeyPlace::Issuer(issuer.clone());
                let source = KeySource::Remote { place, max_stale: MAX_STALE };
                (format!("the keys of {issuer}"), Ok(source), steps(&["policies", name, "config", "issuer"]))
            })
            .collect();
    };
    let key = |(place, key): (usize, &Value)| match key {
        Value::String(key) => {
            let source = config.keys.get(key).cloned();
            let source = source.ok_or_else(|| "there is no such key under `[keys]`".to_owned());
            (format!("the key `{key}`"), source, steps(&["keys", key]))
        }
        inline => {
            let written = serde_json::from_value::<WrittenKey>(inline.clone());
            let source = written.map_err(|_| "this is not a key".to_owned());
            let source = source.and_then(|key| resolve::key(&key, &config.dir(), &config.secrets));
            let setting = steps(&["policies", name, "config", "keys", &place.to_string()]);
            (format!("key {} of `{name}`", place + 1), source, setting)
        }
    };
    keys.iter().enumerate().map(key).collect()
}

/// A text, or several.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

async fn of_key(installation: &Installation, used: UsedKey) -> Vec<CheckFinding> {
    let setting: Vec<_> = used.setting.iter().map(String::as_str).collect();
    let place = installation.place(&setting);
    let policies = used.users.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (shown, set) = (&used.shown, key(installation, &used).await);
    let set = match set {
        Ok(Some(set)) => set,
        Ok(None) => return vec![CheckFinding::skip(format!("{shown}: not fetched (--offline)"))],
        Err(why) => {
            return vec![
                CheckFinding::fail(format!("{shown} cannot be used: {why}"))
                    .because(format!("all tokens that it should verify are refused ({policies})"))
                    .fix("correct the source of the key")
                    .at(place),
            ];
        }
    };
    let Key::Fixed(set) = set else { return Vec::new() };
    let fits = |algorithms: &[String]| algorithms.iter().any(|algorithm| set.verifies(algorithm));
    let unfit = used.users.iter().filter(|(_, algorithms)| !fits(algorithms));
    let findings: Vec<_> = unfit
        .map(|(policy, algorithms)| {
            let at = installation.place(&["policies", policy, "config", "algorithms"]);
            CheckFinding::fail(format!("{shown} fits no algorithm of `{policy}` ({})", algorithms.join(", ")))
                .because("each token is refused, because no key may verify its signature")
                .fix("name the algorithm of the issuer's signatures (`alg` in the header of a token)")
                .at(at)
        })
        .collect();
    match findings.is_empty() {
        true => vec![CheckFinding::pass(format!("{shown}: {} usable, for {policies}", set.count()))],
        false => findings,
    }
}

/// The key. None: it would have to be fetched.
async fn key(installation: &Installation, used: &UsedKey) -> Result<Option<Key>, String> {
    let made = match used.source.as_ref().map_err(Clone::clone)? {
        KeySource::Secret(secret) => Key::from_secret(secret).map_err(|error| error.to_string()),
        KeySource::Pem(pem) => Key::from_pem(pem).map_err(|error| error.to_string()),
        KeySource::JwksFile(file) => {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
            Key::from_jwks(&text).map_err(|error| error.to_string())
        }
        KeySource::Jwks(text) => Key::from_jwks(text).map_err(|error| error.to_string()),
        KeySource::Unavailable => Ok(Key::Unavailable),
        KeySource::Remote { .. } if installation.is_offline => return Ok(None),
        KeySource::Remote { place, .. } => {
            let remote = RemoteJwks::new(place, Arc::clone(&installation.ways));
            remote.try_fetch().await.map(Key::Fixed)
        }
    };
    made.map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::installed;
    use super::*;
    use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer};

    /// A public key on the curve P-256, as a set.
    const SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","alg":"ES256","use":"sig",
        "x":"CZVvvcA5KuePuW6fOKrQj4Qbk4o0slKKNmV9Ru3Z2WU","y":"ZGCJ6egQ4zbMUAuLIMSuUL6Hl0E3LKM8OErcSuxDOQQ"}]}"#;

    /// The findings about a key set with this text, for tokens of an algorithm.
    async fn findings(text: &'static str, algorithm: &str) -> Vec<CheckFinding> {
        let server = HttpDouble::start(move |_| HttpDoubleAnswer::json(200, text));
        let url = server.url("/jwks");
        let (_folder, installation) = installed(&format!(
            "[upstreams.a]\nown_tools = true\n[pipeline]\nauthenticate = ['t']\nauthorize = ['r']\n[policies.t]\n\
             kind = 'jwt'\n[policies.t.config]\nkeys = ['k']\nalgorithms = ['{algorithm}']\n[keys.k]\njwks_url = '{url}'\n\
             [policies.r]\nkind = 'rbac'\nconfig.roles.all = {{ allow = ['*'] }}\n"
        ));
        examine(Arc::new(installation)).await.findings
    }

    #[tokio::test]
    async fn a_set_that_fits_the_algorithm_passes() {
        let found = findings(SET, "ES256").await;
        assert_eq!(found, [CheckFinding::pass("the key `k`: 1 usable, for `t`")]);
    }

    #[tokio::test]
    async fn a_set_for_other_algorithms_fails_at_the_algorithms() {
        let found = findings(SET, "RS256").await;
        assert!(found[0].message.contains("fits no algorithm of `t` (RS256)"), "{found:?}");
        assert_eq!((found[0].level, found[0].place.as_ref().unwrap().line), (FindingLevel::Fail, 10));
    }

    #[tokio::test]
    async fn a_text_that_is_no_set_fails() {
        let found = findings("<html>", "ES256").await;
        assert!(found[0].message.contains("cannot be used: this is not a JWK Set"), "{found:?}");
    }
}
