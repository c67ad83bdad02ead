//! Has its host hash as much as it can: the time passes there, not in its own code.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let data = vec![7; 250 << 10];
        while HOST.sha256(&data) != [0; 32] {}
        Decision::Allow
    }
}

authorizer!(Guest);
