//! Challenges for passkeys. They are not stored: each has a code for its ceremony, its browser and its time, and counts
//! once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::database::users::AccountUser;
use crate::error::AccountsError;
use crate::random;
use witgate_base::seal::MacKey;

/// The time for an answer, in milliseconds.
const LIFETIME_MS: i64 = 5 * 60_000;

/// The random bytes, and those of the time.
const RANDOM: usize = 16;
const HEAD: usize = RANDOM + 8;

/// The ceremony that a challenge is for. A challenge of one is of no use in another.
#[derive(Clone, Copy, Debug)]
pub(super) enum PasskeyCeremony<'a> {
    /// The login of somebody who is not known yet.
    LogIn,
    /// A new passkey of this user, who has shown the password that they have.
    Add(&'a AccountUser),
}

/// A challenge for the browser with this secret.
pub(super) fn challenge(
    mac: &MacKey,
    ceremony: PasskeyCeremony<'_>,
    secret: &SecretString,
    now: i64,
) -> Result<String, AccountsError> {
    let head = [&random::bytes::<RANDOM>()?[..], &now.to_be_bytes()].concat();
    let code = mac.code(&parts(ceremony, secret, &head));
    Ok(URL_SAFE_NO_PAD.encode([head.as_slice(), &code].concat()))
}

/// True if this is a challenge for the browser with this secret that may be answered now.
pub(super) fn is_open(
    mac: &MacKey,
    ceremony: PasskeyCeremony<'_>,
    secret: &SecretString,
    text: &str,
    now: i64,
) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(text) else { return false };
    let Some((head, code)) = bytes.split_first_chunk::<HEAD>() else { return false };
    let Some(time) = head.last_chunk::<8>() else { return false };
    let age = now.saturating_sub(i64::from_be_bytes(*time));
    let is_genuine = code.len() == 32 && mac.is_code_of(&parts(ceremony, secret, head), code);
    is_genuine && (0..LIFETIME_MS).contains(&age)
}

/// The parts of the message whose code a challenge has.
fn parts<'a>(ceremony: PasskeyCeremony<'a>, secret: &'a SecretString, head: &'a [u8]) -> [&'a [u8]; 6] {
    let (name, user, hash): (&[u8], _, _) = match ceremony {
        PasskeyCeremony::LogIn => (b"log in", "", ""),
        PasskeyCeremony::Add(user) => (b"add", &*user.id, user.hash.as_str()),
    };
    let secret = secret.expose_secret().as_bytes();
    [b"passkey challenge", name, user.as_bytes(), hash.as_bytes(), secret, head]
}

#[cfg(test)]
mod tests {
    use witgate_basic::hash::PasswordHash;

    use super::PasskeyCeremony::{Add, LogIn};
    use super::*;

    #[test]
    fn a_challenge_is_for_one_browser_and_its_time() {
        let (mac, secret) = (MacKey::of(b"key"), SecretString::from("browser"));
        let text = challenge(&mac, LogIn, &secret, 1_000).unwrap();
        let is_open =
            |mac: &MacKey, secret: &SecretString, text: &str, now| is_open(mac, LogIn, secret, text, now);
        assert!(is_open(&mac, &secret, &text, 1_000) && is_open(&mac, &secret, &text, LIFETIME_MS + 999));
        for now in [999, LIFETIME_MS + 1_000] {
            assert!(!is_open(&mac, &secret, &text, now), "{now}");
        }
        assert!(!is_open(&mac, &"other".into(), &text, 1_000));
        assert!(!is_open(&MacKey::of(b"other"), &secret, &text, 1_000));
        for other in ["", "x", &text[1..], &text[..text.len() - 1], &format!("{text}AAAA")] {
            assert!(!is_open(&mac, &secret, other, 1_000), "{other}");
        }
        assert_ne!(text, challenge(&mac, LogIn, &secret, 1_000).unwrap());
    }

    #[test]
    fn a_challenge_is_for_one_ceremony_user_and_password() {
        let (mac, secret) = (MacKey::of(b"key"), SecretString::from("the same"));
        let user = |id: &str, hash: PasswordHash| AccountUser {
            id: id.to_owned(),
            name: "ada".to_owned(),
            hash,
            roles: Vec::new(),
            created: 0,
            disabled: None,
        };
        let [ada, ben] = ["a", "b"].map(|id| user(id, PasswordHash::nobody()));
        let hash = PasswordHash::nobody().as_str().replacen("$AAAA", "$BBBB", 1);
        let changed = user("a", PasswordHash::try_from(hash).unwrap());
        let ceremonies = [LogIn, Add(&ada), Add(&ben), Add(&changed)];
        for (number, own) in ceremonies.iter().enumerate() {
            let text = challenge(&mac, *own, &secret, 1_000).unwrap();
            for (other, ceremony) in ceremonies.iter().enumerate() {
                assert_eq!(
                    is_open(&mac, *ceremony, &secret, &text, 1_000),
                    other == number,
                    "{own:?} {ceremony:?}"
                );
            }
        }
    }
}
