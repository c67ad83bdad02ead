//! Never comes back from `describe`.

use witgate_guest_hostile::{Description, Hostile, authorizer, work};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        loop {
            work(1000);
        }
    }
}

authorizer!(Guest);
