//! Browsers in which a user has logged in before. Each has a cookie that only Witgate can make, so that nobody locks a
//! user out of their own browser by guessing under their name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::AccountsError;
use crate::random;
use witgate_base::seal::MacKey;

/// The time for which a browser is known, in seconds: 180 days.
pub(super) const KNOWN_S: u32 = 180 * 86_400;

/// The bytes of an id, and those of the time.
const ID: usize = 16;
const HEAD: usize = ID + 8;

/// The id of a browser.
type BrowserId = [u8; ID];

/// The id in the cookie of a browser in which `user` has logged in not too long before `now`, in milliseconds since 1970.
/// None: nobody knows the browser.
pub(super) fn id_in(mac: &MacKey, cookie: &SecretString, user: &str, now: i64) -> Option<BrowserId> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie.expose_secret()).ok()?;
    let (head, code) = bytes.split_first_chunk::<HEAD>()?;
    let is_genuine = code.len() == 32 && mac.is_code_of(&parts(head, user), code);
    let age = now.checked_sub(i64::from_be_bytes(*head.last_chunk()?))?;
    let is_known = is_genuine && (0..i64::from(KNOWN_S) * 1_000).contains(&age);
    head.first_chunk().filter(|_| is_known).copied()
}

/// The cookie of a browser in which `user` logs in at `now`, and which nobody knows.
pub(super) fn cookie(mac: &MacKey, user: &str, now: i64) -> Result<SecretString, AccountsError> {
    let head = [random::bytes::<ID>()?.as_slice(), &now.to_be_bytes()].concat();
    let code = mac.code(&parts(&head, user));
    Ok(URL_SAFE_NO_PAD.encode([head.as_slice(), &code].concat()).into())
}

fn parts<'a>(head: &'a [u8], user: &'a str) -> [&'a [u8]; 3] {
    [b"known browser and time", head, user.as_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    #[test]
    fn a_browser_is_known_for_one_user() {
        let mac = MacKey::of(b"key");
        let shown = cookie(&mac, "ada", NOW).unwrap();
        assert!(id_in(&mac, &shown, "ada", NOW).is_some());
        assert_eq!(id_in(&mac, &shown, "ben", NOW), None);
        assert_eq!(id_in(&MacKey::of(b"other"), &shown, "ada", NOW), None);
        let other = cookie(&mac, "ada", NOW).unwrap();
        let mixed = [&URL_SAFE_NO_PAD.decode(other.expose_secret()).unwrap()[..HEAD], &[0; 32]].concat();
        for text in ["", "x", &URL_SAFE_NO_PAD.encode(mixed), &shown.expose_secret()[..40]] {
            assert_eq!(id_in(&mac, &text.into(), "ada", NOW), None, "{text}");
        }
    }

    #[test]
    fn a_browser_is_known_for_its_time() {
        let mac = MacKey::of(b"key");
        let shown = cookie(&mac, "ada", NOW).unwrap();
        let end = NOW + i64::from(KNOWN_S) * 1_000;
        for (now, is_known) in
            [(NOW - 1, false), (NOW, true), (end - 1, true), (end, false), (i64::MIN, false)]
        {
            assert_eq!(id_in(&mac, &shown, "ada", now).is_some(), is_known, "{now}");
        }
        let mut later = URL_SAFE_NO_PAD.decode(shown.expose_secret()).unwrap();
        later[HEAD - 1] ^= 1;
        assert_eq!(id_in(&mac, &URL_SAFE_NO_PAD.encode(later).into(), "ada", NOW), None);
    }
}
