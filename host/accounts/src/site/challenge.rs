//! Challenges for passkeys. They are not stored: each has a code for its browser and its time, and counts once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::AccountsError;
use crate::random;
use witgate_base::seal::MacKey;

/// The time for an answer, in milliseconds.
const LIFETIME_MS: i64 = 5 * 60_000;

/// The random bytes, and those of the time.
const RANDOM: usize = 16;
const HEAD: usize = RANDOM + 8;

/// A challenge for the browser with this secret.
pub(super) fn challenge(mac: &MacKey, secret: &SecretString, now: i64) -> Result<String, AccountsError> {
    let head = [&random::bytes::<RANDOM>()?[..], &now.to_be_bytes()].concat();
    let code = mac.code(&parts(secret, &head));
    Ok(URL_SAFE_NO_PAD.encode([head.as_slice(), &code].concat()))
}

/// True if this is a challenge for the browser with this secret that may be answered now.
pub(super) fn is_open(mac: &MacKey, secret: &SecretString, text: &str, now: i64) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(text) else { return false };
    let Some((head, code)) = bytes.split_first_chunk::<HEAD>() else { return false };
    let Some(time) = head.last_chunk::<8>() else { return false };
    let age = now.saturating_sub(i64::from_be_bytes(*time));
    code.len() == 32 && mac.is_code_of(&parts(secret, head), code) && (0..LIFETIME_MS).contains(&age)
}

fn parts<'a>(secret: &'a SecretString, head: &'a [u8]) -> [&'a [u8]; 3] {
    [b"passkey challenge", secret.expose_secret().as_bytes(), head]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_for_one_browser_and_its_time() {
        let (mac, secret) = (MacKey::of(b"key"), SecretString::from("browser"));
        let text = challenge(&mac, &secret, 1_000).unwrap();
        assert!(is_open(&mac, &secret, &text, 1_000) && is_open(&mac, &secret, &text, LIFETIME_MS + 999));
        for now in [999, LIFETIME_MS + 1_000] {
            assert!(!is_open(&mac, &secret, &text, now), "{now}");
        }
        assert!(!is_open(&mac, &"other".into(), &text, 1_000));
        assert!(!is_open(&MacKey::of(b"other"), &secret, &text, 1_000));
        for other in ["", "x", &text[1..], &text[..text.len() - 1], &format!("{text}AAAA")] {
            assert!(!is_open(&mac, &secret, other, 1_000), "{other}");
        }
        assert_ne!(text, challenge(&mac, &secret, 1_000).unwrap());
    }
}
