//! Describes itself with what would rewrite the terminal of who lists the plugins.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        Description { name: "good\u{1b}[2Jplugin".to_owned(), ..description("{}") }
    }
}

authorizer!(Guest);
