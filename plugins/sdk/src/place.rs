//! The place of a caller's token.

use crate::{ConfigError, Dpop, Scheme, Wants};

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
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if header.is_empty() || !header.chars().all(token) {
        return Err(ConfigError::at("/header", "not the name of a header; write for example X-API-Key"));
    }
    if header.eq_ignore_ascii_case("authorization") {
        let message = "`Authorization: Bearer` is always read; leave it out, or name another header";
        return Err(ConfigError::at("/header", message));
    }
    Ok(())
}
