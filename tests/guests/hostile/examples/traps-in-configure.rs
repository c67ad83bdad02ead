//! Traps in `configure`.

use witgate_guest_hostile::{ConfigError, Hostile, Wants, authorizer};

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        panic!("on purpose")
    }
}

authorizer!(Guest);
