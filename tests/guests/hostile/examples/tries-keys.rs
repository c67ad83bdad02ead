//! Checks signatures with keys that nobody has granted it, and lets everybody in.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, authorizer, done};
use witgate_plugin::{Algorithm, SignedMessage};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let signed =
            SignedMessage { algorithm: Algorithm::Hs256, key_id: None, message: b"any", signature: b"any" };
        for key in ["vault", "session", "../keys.toml", ""] {
            let _ = done(HOST.verify(key, &signed));
        }
        Decision::Allow
    }
}

authorizer!(Guest);
