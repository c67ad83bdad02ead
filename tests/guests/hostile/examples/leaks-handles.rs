//! Keeps one more handle of the host with every call.

use std::mem::forget;

use witgate_guest_hostile::wasi::clocks::monotonic_clock::subscribe_duration;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        forget(subscribe_duration(u64::MAX));
        Decision::Allow
    }
}

authorizer!(Guest);
