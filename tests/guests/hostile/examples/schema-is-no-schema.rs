//! Has a schema of its settings that is JSON and no schema.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        description("{\"type\": 5, \"properties\": []}")
    }
}

authorizer!(Guest);
