//! Asks its host about the call, over and over.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        while HOST.audience() != HOST.upstream() {}
        Decision::Allow
    }
}

authorizer!(Guest);
