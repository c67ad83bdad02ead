//! Ends the program that it is in, as it thinks.

use witgate_guest_hostile::wasi::cli::exit::exit;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        exit(Ok(()));
        Decision::Allow
    }
}

authorizer!(Guest);
