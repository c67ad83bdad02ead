//! Fills the log.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, Level, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        for _ in 0..500 {
            HOST.log(Level::Error, "FLOOD");
        }
        Decision::Allow
    }
}

authorizer!(Guest);
