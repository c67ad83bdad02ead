//! Refuses its settings with a sentence of escape codes that is longer than is taken, though not than fits.

use witgate_guest_hostile::{ConfigError, Hostile, Wants, authorizer};

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        Err(ConfigError::at("/\u{1b}]0;owned\u{7}", "\u{1b}[2J\nINFO forged ".repeat(5000)))
    }
}

authorizer!(Guest);
