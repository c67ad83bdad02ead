//! Wants its credential from what cannot be a header.

use witgate_guest_hostile::{ConfigError, Hostile, Scheme, Wants, authorizer};

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        let credential_header = Some("X API Key:".to_owned());
        Ok(Wants { schemes: vec![Scheme::Header], credential_header, ..Wants::default() })
    }
}

authorizer!(Guest);
