//! Asks for more random bytes than there is memory: how many, the tool's name says.

use witgate_guest_hostile::wasi::random::random::get_random_bytes;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(call: &Call<'_>) -> Decision {
        let many = match call.target {
            "all" => u64::MAX,
            "a-terabyte" => 1 << 40,
            "what-is-allowed" => 64 << 20,
            _ => 16,
        };
        match get_random_bytes(many).len() {
            16 => Decision::Allow,
            _ => Decision::deny("got-them", "that many"),
        }
    }
}

authorizer!(Guest);
