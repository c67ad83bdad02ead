//! The place of a caller's token.

use crate::{ConfigError, Dpop, Scheme, Wants};

/// The place of tokens, by the settings `header` and `dpop`: in `Authorization`, or bare in a header of their
/// own, as proxies send them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlace {
    header: Option<String>,
    dpop: Dpop,
}

impl TokenPlace {
    /// The place that the settings name. With a header, `Authorization` is not looked at.
    ///
    /// # Errors
    /// At `/header`, where it is no header for credentials; at `/dpop`, because proofs belong to `Authorization`.
    pub fn new(header: Option<String>, dpop: Dpop) -> Result<Self, ConfigError> {
        if let Some(header) = &header {
            check_credential_header(header)?;
            if dpop != Dpop::Off {
                let message = "proofs come with `Authorization: DPoP`; take this or `header` out";
                return Err(ConfigError::at("/dpop", message));
            }
        }
        Ok(Self { header, dpop })
    }

    /// The wishes of a policy that takes such tokens.
    pub fn wants(&self) -> Wants {
        let schemes = match self.header {
            Some(_) => vec![Scheme::Header],
            None => self.dpop.schemes(),
        };
        Wants { schemes, credential_header: self.header.clone(), ..Wants::default() }
    }

    /// True if a token with this scheme is judged.
    pub fn takes(&self, scheme: Scheme) -> bool {
        match self.header {
            Some(_) => scheme == Scheme::Header,
            None => self.dpop.takes(scheme),
        }
    }
}

/// Holds the setting `header` against what can be the name of a header with a credential.
///
/// # Errors
/// At `/header`.
pub fn check_credential_header(header: &str) -> Result<(), ConfigError> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if header.is_empty() || !header.chars().all(token) {
        return Err(ConfigError::at("/header", "not the name of a header; write for example X-API-Key"));
    }
    if header.eq_ignore_ascii_case("authorization") {
        let message = "`Authorization: Bearer` is read without this; leave it out or name another header";
        return Err(ConfigError::at("/header", message));
    }
    Ok(())
}
