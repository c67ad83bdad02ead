//! Wants to see a hundred thousand headers.

use witgate_guest_hostile::{ConfigError, Hostile, Wants, authorizer};

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        let headers = (0..100_000).map(|number| format!("x-{number}")).collect();
        Ok(Wants { headers, ..Wants::default() })
    }
}

authorizer!(Guest);
