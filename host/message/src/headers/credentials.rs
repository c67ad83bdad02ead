//! Headers → [`Credentials`]. What is found is taken out of the headers, so that nothing behind this
//! stage can read it, log it or pass it on.

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use witgate_plugin::Scheme;

use super::DPOP;
use crate::credential::Credentials;
use crate::fault::MessageFault;

/// The longest credential that is looked at. JWTs of a kilobyte or two are common; hardly any
/// server takes a header line above 16 KiB.
const MAX_LENGTH: usize = 16 << 10;

/// The reason for which no credentials could be taken out of headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialError {
    /// A header is malformed.
    Malformed(MessageFault),
    /// A scheme without a token.
    NoToken,
    /// A scheme that nothing here judges.
    UnknownScheme,
}

impl From<MessageFault> for CredentialError {
    fn from(malformed: MessageFault) -> Self {
        Self::Malformed(malformed)
    }
}

/// Takes the credentials out of `headers`: `Authorization`, those that the pipeline's policies have declared, and the
/// proof that belongs to a token.
///
/// # Errors
/// `BadCredential` where a header stands there twice, is too long or is not text (RFC 6750 §3.1:
/// 400 for a malformed request), `NoToken`, `UnknownScheme`.
pub fn take<'d>(
    headers: &mut HeaderMap,
    declared: impl IntoIterator<Item = &'d HeaderName, IntoIter: Clone>,
) -> Result<Credentials, CredentialError> {
    let declared = declared.into_iter();
    // Witgate sets no cookies and is no proxy of the client's choice: these are somebody else's.
    headers.remove(COOKIE);
    headers.remove(PROXY_AUTHORIZATION);
    let mut shown = Credentials::default();
    take_proofs(headers, &mut shown);
    if let Some(value) = take_one(headers, &AUTHORIZATION)? {
        let is_declared = declared.clone().any(|name| name == AUTHORIZATION);
        add_authorization(&mut shown, text(&AUTHORIZATION, &value)?, is_declared)?;
    }
    for name in declared.filter(|name| **name != AUTHORIZATION) {
        if let Some(value) = take_one(headers, name)? {
            let value = SecretString::from(text(name, &value)?);
            shown.add(Scheme::Header, Some(name.clone()), value);
        }
    }
    Ok(shown)
}

/// Refuses a query that carries a credential (MCP "Access Token Usage"; RFC 9700 §2.4). Queries
/// end up in logs on the way.
///
/// # Errors
/// `BadCredential`.
pub fn none_in_query(query: Option<&str>, declared: &[HeaderName]) -> Result<(), MessageFault> {
    let Some(query) = query else { return Ok(()) };
    for (key, _) in url::form_urlencoded::parse(query.as_bytes()) {
        let folded = fold(&key);
        let is_declared = declared.iter().any(|name| fold(name.as_str()) == folded);
        if is_declared || IN_QUERIES.contains(&folded.as_str()) {
            return Err(MessageFault::BadCredential(
                "a credential must not be in the URL: send it in a header".to_owned(),
            ));
        }
    }
    Ok(())
}

/// Names, folded, under which credentials are seen in queries.
const IN_QUERIES: &[&str] = &[
    "accesstoken",
    "accesskey",
    "apikey",
    "apitoken",
    "auth",
    "authtoken",
    "authorization",
    "bearer",
    "bearertoken",
    "clientsecret",
    "credential",
    "credentials",
    "idtoken",
    "jwt",
    "key",
    "mcpapikey",
    "password",
    "refreshtoken",
    "secret",
    "token",
    "xaccesstoken",
    "xapikey",
    "xauthtoken",
];

/// Without case, hyphens and underscores.
fn fold(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric());
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

/// Scheme and credentials (RFC 9110 §11.4); the scheme's name is without case.
fn add_authorization(shown: &mut Credentials, value: &str, is_declared: bool) -> Result<(), CredentialError> {
    let (name, rest) = value.split_once(' ').unwrap_or((value, ""));
    let token = rest.trim_matches(' ');
    let scheme = match name {
        name if name.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        name if name.eq_ignore_ascii_case("basic") => Scheme::Basic,
        name if name.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        // `header = "Authorization"`: the bare value is the key.
        _ if is_declared => {
            shown.add(Scheme::Header, Some(AUTHORIZATION), SecretString::from(value));
            return Ok(());
        }
        _ => {
            return Err(CredentialError::UnknownScheme);
        }
    };
    // RFC 6750 §3: a challenge is what gets a client its token. No other credential makes up for the one that is missing.
    if token.is_empty() {
        return Err(CredentialError::NoToken);
    }
    if token.contains([' ', ',']) {
        return Err(bad(&AUTHORIZATION, "must hold one scheme and one token").into());
    }
    shown.add(scheme, None, SecretString::from(token));
    Ok(())
}

/// Takes the proofs; their number is judged later, where a policy asks for one.
fn take_proofs(headers: &mut HeaderMap, shown: &mut Credentials) {
    if let http::header::Entry::Occupied(entry) = headers.entry(DPOP) {
        for value in entry.remove_entry_mult().1 {
            // What is no text is no proof either.
            shown.add_proof(value.to_str().unwrap_or_default().trim().into());
        }
    }
}

fn take_one(headers: &mut HeaderMap, name: &HeaderName) -> Result<Option<HeaderValue>, MessageFault> {
    match headers.entry(name) {
        http::header::Entry::Vacant(_) => Ok(None),
        http::header::Entry::Occupied(entry) => {
            let (_, mut values) = entry.remove_entry_mult();
            match (values.next(), values.next()) {
                (value, None) => Ok(value),
                _ => Err(bad(name, "must occur once")),
            }
        }
    }
}

fn text<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, MessageFault> {
    if value.len() > MAX_LENGTH {
        return Err(bad(name, "is too long"));
    }
    let text = value.to_str().map_err(|_| bad(name, "is not visible ASCII"))?.trim();
    if text.is_empty() { Err(bad(name, "is empty")) } else { Ok(text) }
}

fn bad(name: &HeaderName, what: &str) -> MessageFault {
    MessageFault::BadCredential(format!("the header {name} {what}"))
}
