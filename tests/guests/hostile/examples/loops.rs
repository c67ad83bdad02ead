//! Never comes back.

use witgate_guest_hostile::{Call, Decision, Hostile, authorizer, work};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        loop {
            work(1000);
        }
    }
}

authorizer!(Guest);
