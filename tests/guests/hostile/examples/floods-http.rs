//! Sends requests to where it may, as many as it can.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, authorizer, done, get};

struct Guest;

impl Hostile for Guest {
    fn authorize(call: &Call<'_>) -> Decision {
        for _ in 0..500 {
            let _ = done(HOST.send(get(call.target)));
        }
        Decision::Allow
    }
}

authorizer!(Guest);
