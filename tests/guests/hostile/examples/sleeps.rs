//! Sleeps for an hour in a call of the host, where no code of its own runs.

use witgate_guest_hostile::wasi::clocks::monotonic_clock::subscribe_duration;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

const HOUR: u64 = 3_600_000_000_000;

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        subscribe_duration(HOUR).block();
        Decision::Allow
    }
}

authorizer!(Guest);
