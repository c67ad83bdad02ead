//! Tokens for callers who ask for one with the own tool `issue_token`. A token carries the caller's subject, roles and
//! scopes, and ends with their credential at the latest. Before the caller gets it, the pipeline has to know them by it
//! with exactly these, so that no setting can make it stronger.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugin::{Denial, Identity, Scheme, TargetKind};

use crate::authenticate::identity::Caller;
use crate::authenticate::known_by;
use crate::authorize::Permit;
use crate::reject::Rejection;
use witgate_base::clock;
use witgate_component::failure::Failure;
use witgate_config::OwnTool;
use witgate_config::token_issue::{IssuingKey, TokenIssue};
use witgate_message::call::Access;
use witgate_message::credential::Credentials;
use witgate_message::fault::MessageFault;
use witgate_policy::answer::Failed;

/// A token that was issued, without itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRecord {
    /// The policy that accepts it.
    pub policy: Arc<str>,
    /// Its id (`jti`), by which it can be revoked.
    pub id: String,
    /// Its end, in seconds since the Unix epoch.
    pub expires_at: u64,
}

/// A token for the caller who has asked for it. It cannot be printed.
pub struct FreshToken {
    token: SecretString,
    issued_at: u64,
    /// The facts about it.
    pub record: Arc<IssueRecord>,
}

impl FreshToken {
    /// The token, for its caller.
    pub fn expose(&self) -> &str {
        self.token.expose_secret()
    }

    /// Its lifetime in seconds.
    pub fn expires_in(&self) -> u64 {
        self.record.expires_at - self.issued_at
    }
}

impl fmt::Debug for FreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshToken").field("record", &self.record).finish_non_exhaustive()
    }
}

/// The arguments of `issue_token`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueArguments {
    /// The wanted lifetime in seconds.
    expires_in: Option<u64>,
}

/// The settings for the token that a call asks for. None: it asks for none.
pub(super) fn asked(permit: &Permit) -> Option<&Arc<TokenIssue>> {
    let request = permit.request();
    let settings = permit.generation().pipeline(request.route.pipeline).token_issue.as_ref()?;
    match request.call.access() {
        Access::Target(target)
            if target.kind == TargetKind::Tool
                && &*target.name == OwnTool::IssueToken.name()
                && request.call.method() == "tools/call" =>
        {
            Some(settings)
        }
        _ => None,
    }
}

/// True if the caller of a list can get a token, or could with a credential in an argument.
pub fn is_offered(permit: &Permit) -> bool {
    let pipeline = permit.generation().pipeline(permit.request().route.pipeline);
    let Some(settings) = pipeline.token_issue.as_ref().filter(|_| pipeline.next.is_none()) else {
        return false;
    };
    let (caller, now) = (permit.caller(), clock::since_epoch().as_secs());
    match caller.is_anonymous() {
        true => pipeline.lists_for_credential(OwnTool::IssueToken.name()),
        false => is_entitled(caller, settings) && end(caller.identity(), settings, now, None).is_ok(),
    }
}

fn is_entitled(caller: &Caller, settings: &TokenIssue) -> bool {
    caller.proven_by() == &settings.from
}

/// A token for the caller.
///
/// # Errors
/// If this caller gets none, the arguments are invalid, or the pipeline does not know the caller by the token as it
/// knows them now.
pub(super) async fn issue(permit: &Permit, settings: &TokenIssue) -> Result<FreshToken, Rejection> {
    let caller = permit.caller();
    if !is_entitled(caller, settings) {
        return Err(denied(&format!("tokens are for callers of the policy `{}`", settings.from)));
    }
    let wanted = arguments(permit)?.expires_in;
    let now = clock::since_epoch().as_secs();
    let expires_at = end(caller.identity(), settings, now, wanted)?;
    let id = random_id().ok_or_else(|| failed(settings, "the system gives no random numbers"))?;
    let claims = claims(caller.identity(), settings, &id, (now, expires_at));
    let token = signed(&settings.key, &claims).ok_or_else(|| failed(settings, "the key cannot sign"))?;
    known_as_before(permit, settings, &token, expires_at).await?;
    let record = Arc::new(IssueRecord { policy: Arc::clone(&settings.policy), id, expires_at });
    Ok(FreshToken { token, issued_at: now, record })
}

fn arguments(permit: &Permit) -> Result<IssueArguments, Rejection> {
    let Some(text) = permit.request().call.arguments() else { return Ok(IssueArguments::default()) };
    serde_json::from_str(text).map_err(|_| {
        let what = "`issue_token` has one argument, `expires_in`, which is a number of seconds";
        MessageFault::InvalidParams(what.to_owned()).into()
    })
}

/// The end of the token. With the tolerance of its policy, it is not after that of the caller's credential.
fn end(identity: &Identity, settings: &TokenIssue, now: u64, wanted: Option<u64>) -> Result<u64, Rejection> {
    let most = settings.max.as_secs();
    let lifetime = wanted.unwrap_or(most).min(most);
    let own_end = identity.expires_at.map(|end| end.saturating_sub(settings.leeway.as_secs()));
    let end = now.saturating_add(lifetime).min(own_end.unwrap_or(u64::MAX));
    match end > now {
        true => Ok(end),
        false => Err(denied("the credential ends too soon for a token, or no lifetime is wanted")),
    }
}

fn claims(identity: &Identity, settings: &TokenIssue, id: &str, (now, end): (u64, u64)) -> Value {
    let mut claims = Map::new();
    if !identity.roles.is_empty() {
        put(&mut claims, &settings.roles_claim, json!(identity.roles));
    }
    if !identity.scopes.is_empty() {
        claims.insert("scope".to_owned(), identity.scopes.join(" ").into());
    }
    put(&mut claims, &settings.subject_claim, identity.subject.as_str().into());
    // These come last, so that no other claim has their names.
    let registered = json!({
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": identity.subject,
        "iat": now,
        "exp": end,
        "jti": id,
    });
    claims.extend(registered.as_object().cloned().unwrap_or_default());
    Value::Object(claims)
}

/// Writes a claim at the path, in objects that may have others.
fn put(claims: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => _ = claims.insert(name.clone(), value),
        [name, rest @ ..] => {
            let inner = claims.entry(name.clone()).or_insert_with(|| json!({}));
            // What is no object gets lost. Then the pipeline does not know the caller by the token, and there is none.
            if !inner.is_object() {
                *inner = json!({});
            }
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}

/// 128 random bits.
fn random_id() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn signed(key: &IssuingKey, claims: &Value) -> Option<SecretString> {
    let (algorithm, key) = match key {
        IssuingKey::Hs256(secret) => {
            (Algorithm::HS256, EncodingKey::from_secret(secret.expose_secret().as_bytes()))
        }
        IssuingKey::Es256(pem) => {
            (Algorithm::ES256, EncodingKey::from_ec_pem(pem.expose_secret().as_bytes()))
        }
    };
    encode(&Header::new(algorithm), claims, &key.ok()?).ok().map(SecretString::from)
}

/// Checks that the pipeline knows the caller by the token with the same subject, roles and scopes, and not for longer.
async fn known_as_before(
    permit: &Permit,
    settings: &TokenIssue,
    token: &SecretString,
    expires_at: u64,
) -> Result<(), Rejection> {
    let pipeline = permit.generation().pipeline(permit.request().route.pipeline);
    if pipeline.next.is_some() {
        return Err(failed(settings, "no tokens are issued while the pipeline is held back"));
    }
    let mut shown = Credentials::default();
    shown.add(Scheme::Bearer, None, token.clone());
    let known = known_by(pipeline, permit.proven(), &shown).await.map_err(|rejection| {
        tracing::warn!(policy = &*settings.policy, ?rejection, "`issue_token`: the token would be refused");
        failed(settings, "the policy would refuse the token")
    })?;
    match is_same(permit.caller(), &known, settings, expires_at) {
        true => Ok(()),
        false => Err(failed(settings, "the policy would know the caller by the token as somebody else")),
    }
}

fn is_same(caller: &Caller, known: &Caller, settings: &TokenIssue, expires_at: u64) -> bool {
    fn set(texts: &[String]) -> BTreeSet<&String> {
        texts.iter().collect()
    }
    let (one, other) = (caller.identity(), known.identity());
    known.proven_by() == &settings.policy
        && one.subject == other.subject
        && other.issuer.as_deref() == Some(settings.issuer.as_str())
        && set(&one.roles) == set(&other.roles)
        && set(&one.scopes) == set(&other.scopes)
        && other.expires_at.is_some_and(|end| end <= expires_at.saturating_add(settings.leeway.as_secs()))
}

fn denied(detail: &str) -> Rejection {
    let denial = Denial {
        reason: "not-allowed".to_owned(),
        scopes: Vec::new(),
        retry_after: None,
        detail: Some(detail.to_owned()),
    };
    Rejection::Denied { policy: None, denial }
}

fn failed(settings: &TokenIssue, detail: &str) -> Rejection {
    Rejection::Failed(Failed {
        policy: Arc::clone(&settings.policy),
        failure: Failure::Config,
        detail: detail.to_owned(),
        retry_after: None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authenticate::identity::caller_of;

    fn settings(roles_claim: &[&str]) -> TokenIssue {
        TokenIssue {
            from: "keys".into(),
            policy: "tokens".into(),
            key: IssuingKey::Hs256(Arc::new("0123456789abcdef0123456789abcdef".into())),
            issuer: "https://mcp.example.com".to_owned(),
            audience: "https://mcp.example.com/mcp".to_owned(),
            subject_claim: Vec::new(),
            roles_claim: roles_claim.iter().map(|name| (*name).to_owned()).collect(),
            max: Duration::from_secs(100),
            leeway: Duration::from_secs(10),
        }
    }

    fn ada(expires_at: Option<u64>) -> Identity {
        Identity { subject: "ada".to_owned(), expires_at, ..Identity::default() }
    }

    #[test]
    fn a_token_ends_with_its_credential_at_the_latest() {
        let ends = |expires_at, wanted| end(&ada(expires_at), &settings(&[]), 1000, wanted).ok();
        assert_eq!(ends(None, None), Some(1100));
        assert_eq!(ends(None, Some(20)), Some(1020));
        assert_eq!(ends(None, Some(u64::MAX)), Some(1100), "at most the maximum");
        assert_eq!(ends(None, Some(0)), None);
        assert_eq!(ends(Some(1050), None), Some(1040), "the policy accepts it ten seconds longer");
        assert_eq!(ends(Some(1010), None), None);
        assert_eq!(ends(Some(1), None), None);
    }

    #[test]
    fn claims_of_the_caller_do_not_replace_those_of_the_token() {
        let identity = Identity { roles: vec!["reader".to_owned()], ..ada(None) };
        for name in ["exp", "sub", "iss", "aud"] {
            let claims = claims(&identity, &settings(&[name]), "id", (1, 2));
            assert_ne!(claims[name], json!(["reader"]), "{name}");
        }
        let nested = claims(&identity, &settings(&["realm_access", "roles"]), "id", (1, 2));
        assert_eq!(nested["realm_access"], json!({ "roles": ["reader"] }));
        let subject_claim = vec!["realm_access".to_owned(), "user".to_owned()];
        let both = TokenIssue { subject_claim, ..settings(&["realm_access", "roles"]) };
        let both = claims(&identity, &both, "id", (1, 2));
        assert_eq!(both["realm_access"], json!({ "roles": ["reader"], "user": "ada" }));
    }

    #[test]
    fn a_token_that_makes_somebody_else_of_the_caller_is_none() {
        let settings = settings(&["roles"]);
        let own = Identity { roles: vec!["a".into(), "b".into()], scopes: vec!["s".into()], ..ada(None) };
        let good = Identity {
            roles: vec!["b".into(), "a".into()],
            issuer: Some(settings.issuer.clone()),
            expires_at: Some(1110),
            ..own.clone()
        };
        let is_it = |policy: &str, identity: &Identity| {
            let caller = caller_of("keys", own.clone());
            is_same(&caller, &caller_of(policy, identity.clone()), &settings, 1100)
        };
        assert!(is_it("tokens", &good));
        assert!(!is_it("others", &good));
        for other in [
            Identity { subject: "eve".into(), ..good.clone() },
            Identity { issuer: None, ..good.clone() },
            Identity { issuer: Some("https://other.example".into()), ..good.clone() },
            Identity { roles: vec!["a".into()], ..good.clone() },
            Identity { roles: vec!["a".into(), "b".into(), "c".into()], ..good.clone() },
            Identity { scopes: Vec::new(), ..good.clone() },
            Identity { expires_at: None, ..good.clone() },
            Identity { expires_at: Some(1111), ..good.clone() },
        ] {
            assert!(!is_it("tokens", &other), "{other:?}");
        }
    }
}
