//! The identity that an upstream receives with each call. Witgate itself has established all of it; it contains
//! nothing from the caller's credential or headers.
//!
//! A header value is encoded so that all readers read it as one value. Characters that are not visible ASCII, and
//! separators and escapes (`,` `;` `"` `\` `+` `%`), are written as `%` and two hexadecimal digits for each byte (RFC
//! 3986, section 2.1). Roles and scopes are separated by commas.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};
use witgate_plugin::UNREAD_ROLES;

use witgate_base::clock;
use witgate_base::party::Principal;
use witgate_config::identity::{IdentityField, IdentitySettings, IdentityToken};
use witgate_credentials::caller_token::CallerToken;
use witgate_credentials::credential_user::CredentialUser;
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::decision::DecisionId;
use witgate_flow::port::SessionRequest;
use witgate_flow::reject::Rejection;

#[cfg(test)]
mod tests;

/// The longest header, in bytes. Many servers accept 8 KiB for a line with its name, and few more.
const LONGEST: usize = 7 << 10;

const SPECIAL: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'%').add(b'+').add(b',').add(b';').add(b'\\');

/// Within the text of a principal, `|` is the separator.
const IN_PRINCIPAL: AsciiSet = SPECIAL.add(b'|');

/// The sender of a request to an upstream.
#[derive(Clone, Copy, Debug)]
pub(super) enum RequestSender<'a> {
    /// A caller, with the decision about the call, and the token from which the credential for the upstream is made.
    Caller(&'a Arc<Caller>, DecisionId, Option<&'a Arc<CallerToken>>),
    /// Witgate itself: for finding out the era, or ending an unused session.
    Witgate,
}

impl<'a> From<&'a SessionRequest> for RequestSender<'a> {
    fn from(listener: &'a SessionRequest) -> Self {
        Self::Caller(&listener.caller, listener.request.decision, listener.caller_token.as_ref())
    }
}

/// The facts about a caller that an upstream may get.
struct CallerFacts<'a> {
    principal: Principal,
    known: &'a witgate_plugin::Identity,
    decision: DecisionId,
}

/// Sets the identity headers, and replaces others with the same names.
///
/// # Errors
/// `UnsendableIdentity`.
pub(super) fn introduce(
    headers: &mut HeaderMap,
    sender: RequestSender<'_>,
    identity: &IdentitySettings,
) -> Result<(), Rejection> {
    set(headers, sender.facts().as_ref(), identity)
}

/// The same. Without `facts`, the request is Witgate's own.
fn set(
    headers: &mut HeaderMap,
    facts: Option<&CallerFacts<'_>>,
    identity: &IdentitySettings,
) -> Result<(), Rejection> {
    for (field, name) in &identity.headers {
        headers.remove(name);
        if let Some(text) = in_header(*field, facts) {
            headers.insert(name.clone(), value(&text)?);
        }
    }
    if let Some(token) = &identity.token {
        let signed = signed(token, facts)?;
        let text = if token.header == AUTHORIZATION { format!("Bearer {signed}") } else { signed };
        let mut value = value(&text)?;
        value.set_sensitive(true);
        headers.insert(token.header.clone(), value);
    }
    Ok(())
}

/// The environment variables with a process's identity. None: it serves nobody, and was started to find out the era.
///
/// # Errors
/// `UnsendableIdentity`.
pub(super) fn variables(
    identity: &[(IdentityField, String)],
    principal: Option<&Principal>,
) -> Result<Vec<(String, String)>, Rejection> {
    let named_values =
        identity.iter().filter_map(|(field, name)| Some((name.clone(), of_process(*field, principal)?)));
    let named_values: Vec<_> = named_values.collect();
    match named_values.iter().any(|(_, value)| value.contains('\0')) {
        true => Err(unsendable("an environment variable cannot hold a zero byte")),
        false => Ok(named_values),
    }
}

fn of_process(field: IdentityField, principal: Option<&Principal>) -> Option<String> {
    let named = principal.filter(|principal| !principal.is_nameless());
    match field {
        IdentityField::Kind => Some(kind(principal).to_owned()),
        IdentityField::Principal => named.map(principal_text),
        IdentityField::Subject => named.map(|principal| principal.subject().to_owned()),
        IdentityField::Issuer => named?.issuer().map(str::to_owned),
        IdentityField::Policy => named.map(|principal| principal.proven_by().to_owned()),
        // They may change from call to call, so a configuration cannot name them here.
        IdentityField::Roles | IdentityField::Scopes | IdentityField::Decision => None,
    }
}

/// The roles of a caller, without the role that marks unread roles.
fn known_roles(facts: &CallerFacts<'_>) -> Vec<String> {
    facts.known.roles.iter().filter(|role| *role != UNREAD_ROLES).cloned().collect()
}

/// The header value of a field. None: the caller does not have it.
fn in_header(field: IdentityField, facts: Option<&CallerFacts<'_>>) -> Option<String> {
    let principal = facts.map(|facts| &facts.principal);
    match field {
        IdentityField::Roles => list(&known_roles(facts?)),
        IdentityField::Scopes => list(&facts?.known.scopes),
        IdentityField::Decision => Some(facts?.decision.to_string()),
        // It is already encoded, and its separators stay.
        IdentityField::Principal => of_process(field, principal),
        field => of_process(field, principal).map(|text| encoded(&text)),
    }
}

fn signed(token: &IdentityToken, facts: Option<&CallerFacts<'_>>) -> Result<String, Rejection> {
    let claims = claims(token, facts, clock::since_epoch(), &unique()?);
    token.signer.sign(&claims).map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the caller's identity cannot be sent to an upstream"
        );
        unsendable("the token cannot be signed")
    })
}

/// The claims of a token made at `now`. It expires no later than the identity.
fn claims(
    token: &IdentityToken,
    facts: Option<&CallerFacts<'_>>,
    now: Duration,
    id: &str,
) -> Map<String, Value> {
    let principal = facts.map(|facts| &facts.principal);
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    let end = (now + token.lifetime).as_secs();
    let ends = facts.and_then(|facts| facts.known.expires_at).map_or(end, |ends| ends.min(end));
    set("iss", token.signer.issuer().into());
    set("aud", token.audience.as_str().into());
    set("iat", now.as_secs().into());
    set("exp", ends.into());
    set("jti", id.into());
    set("kind", kind(principal).into());
    for (name, field) in
        [("sub", token.sub), ("policy", IdentityField::Policy), ("issuer", IdentityField::Issuer)]
    {
        if let Some(text) = of_process(field, principal) {
            set(name, text.into());
        }
    }
    if let Some(facts) = facts {
        for claim in &token.claims {
            match claim {
                IdentityField::Roles => set("roles", json!(known_roles(facts))),
                // RFC 8693, section 4.2. A scope has no spaces.
                IdentityField::Scopes => set("scope", facts.known.scopes.join(" ").into()),
                IdentityField::Decision => set("decision", facts.decision.to_string().into()),
                _ => {}
            }
        }
    }
    claims
}

impl<'a> RequestSender<'a> {
    /// The principal. None: the request is Witgate's own.
    pub(super) fn principal(self) -> Option<Principal> {
        match self {
            Self::Caller(caller, ..) => Some(caller.principal()),
            Self::Witgate => None,
        }
    }

    /// The caller, for a credential that differs by caller.
    pub(super) fn credential_user(self, credential: &UpstreamCredential) -> Option<CredentialUser> {
        match self {
            Self::Caller(caller, _, token) if credential.needs_user() => {
                Some(CredentialUser::new(caller.principal(), token.cloned()))
            }
            Self::Caller(..) | Self::Witgate => None,
        }
    }

    fn facts(self) -> Option<CallerFacts<'a>> {
        match self {
            Self::Caller(caller, decision, _) => {
                Some(CallerFacts { principal: caller.principal(), known: caller.identity(), decision })
            }
            Self::Witgate => None,
        }
    }
}

fn kind(principal: Option<&Principal>) -> &'static str {
    match principal {
        None => "witgate",
        Some(principal) if principal.is_nameless() => "anonymous",
        Some(_) => "known",
    }
}

/// A text that is different for each principal.
fn principal_text(principal: &Principal) -> String {
    let part = |text| utf8_percent_encode(text, &IN_PRINCIPAL).to_string();
    let issuer = principal.issuer().unwrap_or_default();
    format!("{}|{}|{}", part(principal.proven_by()), part(issuer), part(principal.subject()))
}

fn list(texts: &[String]) -> Option<String> {
    let texts: Vec<_> = texts.iter().map(|text| encoded(text)).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &SPECIAL).to_string()
}

fn value(text: &str) -> Result<HeaderValue, Rejection> {
    if text.len() > LONGEST {
        return Err(unsendable("it is longer than a header may be"));
    }
    HeaderValue::try_from(text).map_err(|_| unsendable("a header cannot hold it"))
}

/// A unique id: 128 random bits.
fn unique() -> Result<String, Rejection> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|_| unsendable("no random numbers are to be had"))?;
    Ok(URL_SAFE_NO_PAD.encode(bits))
}

fn unsendable(why: &'static str) -> Rejection {
    Rejection::UnsendableIdentity(why)
}
