//! Traps in `describe`.

use witgate_guest_hostile::{Description, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        panic!("on purpose")
    }
}

authorizer!(Guest);
