//! Has its host make more zeroes than there is memory.

use witgate_guest_hostile::wasi::cli::stdout::get_stdout;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let stdout = get_stdout();
        let _ = stdout.check_write();
        let _ = stdout.write_zeroes(u64::MAX);
        Decision::Allow
    }
}

authorizer!(Guest);
