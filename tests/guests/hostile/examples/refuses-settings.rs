//! Refuses its settings as one should: where, and what to write instead.

use witgate_guest_hostile::{ConfigError, Hostile, Wants, authorizer};

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        Err(ConfigError::at("/hours/open", "`25:00` is no time of day; write `HH:MM`, such as `08:00`"))
    }
}

authorizer!(Guest);
