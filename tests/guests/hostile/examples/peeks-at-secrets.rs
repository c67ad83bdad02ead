//! Reads the secret that it was granted, and another one, and lets everybody in.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        if HOST.secret("vault").is_none() {
            return Decision::deny("not-granted", "the one that is granted is not there");
        }
        match HOST.secret("other") {
            Some(_) => Decision::deny("saw-a-secret", "it is not granted"),
            None => Decision::Allow,
        }
    }
}

authorizer!(Guest);
