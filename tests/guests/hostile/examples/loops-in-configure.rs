//! Never comes back from `configure`.

use witgate_guest_hostile::{ConfigError, Hostile, Wants, authorizer, work};

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        loop {
            work(1000);
        }
    }
}

authorizer!(Guest);
