//! Takes all the handles of the host that it can get, in one call.

use witgate_guest_hostile::wasi::cli::stdout::get_stdout;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let mut hoard = Vec::new();
        loop {
            hoard.push(get_stdout());
        }
    }
}

authorizer!(Guest);
