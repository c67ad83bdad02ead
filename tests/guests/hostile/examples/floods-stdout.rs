//! Writes to standard output, which over stdio is the connection to the client.

use witgate_guest_hostile::wasi::cli::stdout::get_stdout;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(call: &Call<'_>) -> Decision {
        let stdout = get_stdout();
        let lines = "FLOOD\n".repeat(500);
        let mut written = 0;
        while stdout.blocking_write_and_flush(lines.as_bytes()).is_ok() {
            written += 1;
            if call.target == "echo" && written == 20 {
                break;
            }
        }
        Decision::Allow
    }
}

authorizer!(Guest);
