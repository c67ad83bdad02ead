//! Headers → [`Credentials`]. The credentials are removed from the headers, so that later stages cannot read, log or
//! forward them.

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use witgate_plugin::Scheme;

use super::DPOP;
use crate::credential::Credentials;
use crate::fault::MessageFault;

/// The longest credential that is read, in bytes. JWTs of one or two kilobytes are common, and hardly any server accepts a
/// header line above 16 KiB.
pub const MAX_LENGTH: usize = 16 << 10;

/// The reason why the credentials cannot be extracted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialError {
    /// A header is malformed.
    Malformed(MessageFault),
    /// A scheme without a token.
    NoToken,
    /// A scheme that no policy judges.
    UnknownScheme,
}

impl From<MessageFault> for CredentialError {
    fn from(malformed: MessageFault) -> Self {
        Self::Malformed(malformed)
    }
}

/// Moves the credentials out of `headers`: `Authorization`, the headers that the pipeline's policies have declared,
/// and the proof for a token.
///
/// # Errors
/// `BadCredential` if a header occurs twice, is too long or is not text (RFC 6750 §3.1: 400 for a malformed request),
/// `NoToken`, `UnknownScheme`.
pub fn take<'d>(
    headers: &mut HeaderMap,
    declared: impl IntoIterator<Item = &'d HeaderName, IntoIter: Clone>,
) -> Result<Credentials, CredentialError> {
    let declared = declared.into_iter();
    // Cookies and credentials for proxies are removed as well: Witgate sets no cookies, and is not the client's proxy,
    // so they are for somebody else.
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

/// Refuses a query that contains a credential (MCP "Access Token Usage"; RFC 9700 §2.4), because queries are logged on
/// the way.
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

/// Folded names of query parameters that contain credentials.
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

/// The name without case, hyphens and underscores.
pub(super) fn fold(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric());
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

/// Scheme and credentials (RFC 9110 §11.4). Case does not matter in the scheme's name.
fn add_authorization(shown: &mut Credentials, value: &str, is_declared: bool) -> Result<(), CredentialError> {
    let (name, rest) = value.split_once(' ').unwrap_or((value, ""));
    let token = rest.trim_matches(' ');
    let scheme = match name {
        name if name.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        name if name.eq_ignore_ascii_case("basic") => Scheme::Basic,
        name if name.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        // With `header = "Authorization"`, the whole value is the key.
        _ if is_declared => {
            shown.add(Scheme::Header, Some(AUTHORIZATION), SecretString::from(value));
            return Ok(());
        }
        _ => {
            return Err(CredentialError::UnknownScheme);
        }
    };
    // RFC 6750 §3: only a challenge tells a client how to get a token. So a missing token is refused even if there is
    // another credential.
    if token.is_empty() {
        return Err(CredentialError::NoToken);
    }
    if token.contains([' ', ',']) {
        return Err(bad(&AUTHORIZATION, "must hold one scheme and one token").into());
    }
    shown.add(scheme, None, SecretString::from(token));
    Ok(())
}

/// Takes the proofs. Their number is checked later, if a policy asks for a proof.
fn take_proofs(headers: &mut HeaderMap, shown: &mut Credentials) {
    if let http::header::Entry::Occupied(entry) = headers.entry(DPOP) {
        for value in entry.remove_entry_mult().1 {
            // A value that is not text is not a proof.
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
