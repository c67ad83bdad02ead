//! Browsers in which a user has logged in before. Each has a cookie that only Witgate can make, so that nobody locks a
//! user out of their own browser by guessing under their name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::AccountsError;
use crate::random;
use witgate_base::seal::MacKey;

/// The id of a browser.
type BrowserId = [u8; 16];

/// The id in the cookie of a browser in which `user` has logged in before. None: nobody knows the browser.
pub(super) fn id_in(mac: &MacKey, cookie: &SecretString, user: &str) -> Option<BrowserId> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie.expose_secret()).ok()?;
    let (id, code) = bytes.split_first_chunk::<16>()?;
    (code.len() == 32 && mac.is_code_of(&parts(id, user), code)).then_some(*id)
}

/// The cookie of a browser in which `user` logs in for the first time.
pub(super) fn cookie(mac: &MacKey, user: &str) -> Result<SecretString, AccountsError> {
    let id: BrowserId = random::bytes()?;
    let code = mac.code(&parts(&id, user));
    Ok(URL_SAFE_NO_PAD.encode([id.as_slice(), &code].concat()).into())
}

fn parts<'a>(id: &'a BrowserId, user: &'a str) -> [&'a [u8]; 3] {
    [b"known browser", id, user.as_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_known_for_one_user() {
        let mac = MacKey::of(b"key");
        let shown = cookie(&mac, "ada").unwrap();
        assert!(id_in(&mac, &shown, "ada").is_some());
        assert_eq!(id_in(&mac, &shown, "ben"), None);
        assert_eq!(id_in(&MacKey::of(b"other"), &shown, "ada"), None);
        let other = cookie(&mac, "ada").unwrap();
        let mixed = [&URL_SAFE_NO_PAD.decode(other.expose_secret()).unwrap()[..16], &[0; 32]].concat();
        for text in ["", "x", &URL_SAFE_NO_PAD.encode(mixed), &shown.expose_secret()[..40]] {
            assert_eq!(id_in(&mac, &text.into(), "ada"), None, "{text}");
        }
    }
}
