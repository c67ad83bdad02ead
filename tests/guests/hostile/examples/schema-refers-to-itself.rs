//! Has a schema of its settings that is what it is.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        description("{\"$ref\": \"#\"}")
    }
}

authorizer!(Guest);
