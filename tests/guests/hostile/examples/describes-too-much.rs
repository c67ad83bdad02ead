//! Describes itself with three megabytes of schema.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        description(&format!("{{\"description\":\"{}\"}}", "x".repeat(3 << 20)))
    }
}

authorizer!(Guest);
