//! Logs what would rewrite the operator's terminal, and lines that look like the host's own.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, Level, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        HOST.log(Level::Info, "first\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m");
        HOST.log(Level::Info, "second\r\n2026-01-01T00:00:00Z  INFO witgate: FORGED");
        HOST.log(Level::Info, "third\u{202e}\u{2066}\u{200b}\u{0}");
        Decision::Allow
    }
}

authorizer!(Guest);
