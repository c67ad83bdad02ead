//! Traps with every second call, so that there is always a success in between.

use std::sync::atomic::{AtomicU32, Ordering};

use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

static CALLS: AtomicU32 = AtomicU32::new(0);

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        assert!(CALLS.fetch_add(1, Ordering::Relaxed) % 2 == 0, "on purpose");
        Decision::Allow
    }
}

authorizer!(Guest);
