//! Logs one line of eight megabytes.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, Level, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        HOST.log(Level::Info, &"x".repeat(8 << 20));
        Decision::Allow
    }
}

authorizer!(Guest);
