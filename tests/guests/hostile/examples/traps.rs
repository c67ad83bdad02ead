//! Traps with every call.

use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        panic!("on purpose")
    }
}

authorizer!(Guest);
