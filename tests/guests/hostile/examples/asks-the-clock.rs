//! Asks what time it is, over and over: hardly any of the time is its own.

use witgate_guest_hostile::wasi::clocks::monotonic_clock::now;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        while now() > 0 {}
        Decision::Allow
    }
}

authorizer!(Guest);
