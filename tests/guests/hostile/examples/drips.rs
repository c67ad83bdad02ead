//! Takes nearly all the time that it has, with every call, and no more.

use witgate_guest_hostile::wasi::clocks::monotonic_clock::now;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer, work};

/// Of the 50 ms that are the default, in nanoseconds.
const SHARE: u64 = 40_000_000;

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let start = now();
        while now() - start < SHARE {
            work(200_000);
        }
        Decision::Allow
    }
}

authorizer!(Guest);
