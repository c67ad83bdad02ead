//! The place of a caller's token.

use crate::{ConfigError, Dpop, OneOrMany, Scheme, Wants};

/// The place of tokens, by the settings `header` and `dpop`: `Authorization`, or a separate header that contains
/// only the token, as proxies send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlace {
    header: Option<String>,
    dpop: Dpop,
}

impl TokenPlace {
    /// The place that the settings name. With a `header`, the policy does not read `Authorization`.
    ///
    /// # Errors
    /// At `/header`, if no credential may be in this header; at `/dpop`, because proofs belong to `Authorization`.
    pub fn new(header: Option<String>, dpop: Dpop) -> Result<Self, ConfigError> {
        if let Some(header) = &header {
            check_credential_header(header)?;
            if dpop != Dpop::Off {
                let message =
                    "not possible with `header`: proofs need `Authorization: DPoP`; leave out one of them";
                return Err(ConfigError::at("/dpop", message));
            }
        }
        Ok(Self { header, dpop })
    }

    /// The data that a policy for such tokens needs.
    pub fn wants(&self) -> Wants {
        let mut schemes = match self.header {
            Some(_) => vec![Scheme::Header],
            None => self.dpop.schemes(),
        };
        schemes.push(Scheme::Argument);
        Wants { schemes, credential_header: self.header.clone(), ..Wants::default() }
    }

    /// True if a token with this scheme is judged. An argument that the operator has declared may always contain it.
    pub fn takes(&self, scheme: Scheme) -> bool {
        match self.header {
            _ if scheme == Scheme::Argument => true,
            Some(_) => scheme == Scheme::Header,
            None => self.dpop.takes(scheme),
        }
    }
}

/// Checks that the setting `header` can be the name of a header with a credential.
///
/// # Errors
/// At `/header`, if it cannot.
pub fn check_credential_header(header: &str) -> Result<(), ConfigError> {
    fault_of(header).map_or(Ok(()), |fault| Err(ConfigError::at("/header", fault)))
}

/// The most headers that a policy reads a credential from.
const MOST_HEADERS: usize = 8;

/// Checks that the setting `header` has names of headers with a credential.
///
/// # Errors
/// At `/header` or the place in it, if it has not.
pub fn check_credential_headers(headers: &OneOrMany) -> Result<(), ConfigError> {
    let OneOrMany(names) = headers;
    if let [one] = names.as_slice() {
        return check_credential_header(one);
    }
    if names.is_empty() || names.len() > MOST_HEADERS {
        return Err(ConfigError::at("/header", format!("name 1 to {MOST_HEADERS} headers")));
    }
    for (place, name) in names.iter().enumerate() {
        let is_second = names.iter().take(place).any(|other| other.eq_ignore_ascii_case(name));
        if let Some(fault) = fault_of(name).or(is_second.then_some("the same header again; leave it out")) {
            return Err(ConfigError::at(format!("/header/{place}"), fault));
        }
    }
    Ok(())
}

fn fault_of(header: &str) -> Option<&'static str> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if header.is_empty() || !header.chars().all(token) {
        return Some("not the name of a header; write for example X-API-Key");
    }
    header
        .eq_ignore_ascii_case("authorization")
        .then_some("`Authorization: Bearer` is always read; leave it out, or name another header")
}
