//! Reads standard input, which over stdio is the connection from the client. It says if there is any.

use witgate_guest_hostile::wasi::cli::stdin::get_stdin;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        match get_stdin().blocking_read(1 << 40) {
            Ok(_) => Decision::deny("read-stdin", "there is some"),
            Err(_) => Decision::Allow,
        }
    }
}

authorizer!(Guest);
