//! Sends a request with eight megabytes to where it may.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, HttpRequest, authorizer, done, get};

struct Guest;

impl Hostile for Guest {
    fn authorize(call: &Call<'_>) -> Decision {
        match done(HOST.send(HttpRequest { body: vec![7; 8 << 20], ..get(call.target) })) {
            Ok(_) => Decision::deny("was-answered", "it was sent"),
            Err(_) => Decision::Allow,
        }
    }
}

authorizer!(Guest);
