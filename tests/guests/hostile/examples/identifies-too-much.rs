//! Identifies everybody, with eight megabytes of claims.

use witgate_guest_hostile::{
    ConfigError, Credential, Hostile, Identity, Verdict, Wants, authenticator, wants_key,
};

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        Ok(wants_key())
    }

    fn authenticate(_credential: &Credential<'_>) -> Verdict {
        let claims = Some(format!("{{\"more\":\"{}\"}}", "x".repeat(8 << 20)));
        Verdict::Identity(Identity { subject: "somebody".to_owned(), claims, ..Identity::default() })
    }
}

authenticator!(Guest);
