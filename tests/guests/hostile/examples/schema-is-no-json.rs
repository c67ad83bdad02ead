//! Has a schema of its settings that is not even JSON.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        description("{\"type\": \u{1b}[2J")
    }
}

authorizer!(Guest);
