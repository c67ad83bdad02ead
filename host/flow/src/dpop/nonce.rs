//! Nonces that need no memory (RFC 9449, section 9): keyed digests of the time. The server recognises its own nonces,
//! and makes a new one every two and a half minutes.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Seconds for which one nonce is issued. It is valid for the same time again, so it lives for two and a half to five
/// minutes. A client that calls rarely need not get a new one each time.
const TURN_S: u64 = 150;

/// Makes and recognises nonces. The key ends with the process; after that, clients get a new nonce.
#[derive(Debug)]
pub(super) struct Nonces {
    key: Key,
}

impl Nonces {
    /// With a new random key.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret)?;
        Ok(Self { key: Key::new(HMAC_SHA256, &*secret) })
    }

    /// The nonce that is issued at `now`, in seconds since the Unix epoch.
    pub(super) fn current(&self, now: u64) -> String {
        URL_SAFE_NO_PAD.encode(sign(&self.key, &turn(now)))
    }

    /// True if the nonce was issued in this turn or the one before.
    pub(super) fn is_good(&self, nonce: &str, now: u64) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        [now, now.saturating_sub(TURN_S)].iter().any(|at| verify(&self.key, &turn(*at), &tag).is_ok())
    }
}

fn turn(now: u64) -> [u8; 8] {
    (now / TURN_S).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Nonces, TURN_S};

    #[test]
    fn a_nonce_is_valid_for_two_periods() {
        let (own, other) = (Nonces::new().unwrap(), Nonces::new().unwrap());
        let now = 2_000_000_000 / TURN_S * TURN_S;
        let nonce = own.current(now);
        for later in [0, 1, TURN_S, 2 * TURN_S - 1] {
            assert!(own.is_good(&nonce, now + later), "{later}");
        }
        assert!(!own.is_good(&nonce, now + 2 * TURN_S), "too old");
        assert!(!own.is_good(&nonce, now - 1), "of the future");
        assert_ne!(own.current(now + TURN_S), nonce);
        assert!(!other.is_good(&nonce, now), "another's");
        for odd in ["", "A", "AAAA", &nonce[1..], &format!("{nonce}="), &nonce.to_lowercase()] {
            assert!(!own.is_good(odd, now), "{odd}");
        }
    }
}
