//! Denies with a sentence of eight megabytes.

use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        Decision::deny("denied", "x".repeat(8 << 20))
    }
}

authorizer!(Guest);
