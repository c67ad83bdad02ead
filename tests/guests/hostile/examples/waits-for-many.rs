//! Waits for hundreds of clocks at once, none of which ever strikes.

use witgate_guest_hostile::wasi::clocks::monotonic_clock::subscribe_duration;
use witgate_guest_hostile::wasi::io::poll::poll;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let clocks: Vec<_> = (0..400).map(|_| subscribe_duration(u64::MAX)).collect();
        poll(&clocks.iter().collect::<Vec<_>>());
        Decision::Allow
    }
}

authorizer!(Guest);
