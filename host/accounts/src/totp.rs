//! Codes of authenticator apps (RFC 6238): six digits, which change every 30 seconds.

use secrecy::SecretString;
use totp_rs::{Builder, Secret, Totp};

use crate::error::AccountsError;
use crate::random;

/// The number of bytes of a secret: those of the hash SHA-1 (RFC 4226, section 4).
const LENGTH: usize = 20;

/// The steps before and after the present one whose codes are accepted, because clocks differ and people are slow.
const DRIFT: u16 = 1;

/// The digits of a code.
const DIGITS: usize = 6;

/// A secret that a person shares with their authenticator app. The parameters are the defaults of RFC 6238, which all
/// apps know: SHA-1, six digits, 30 seconds.
pub struct TotpSecret(Totp);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(****)")
    }
}

impl TotpSecret {
    /// A new secret.
    ///
    /// # Errors
    /// `Randomness`.
    pub(crate) fn new() -> Result<Self, AccountsError> {
        Self::with(Builder::new().with_secret(random::bytes::<LENGTH>()?))
    }

    /// The secret with this text.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn of(text: &str) -> Result<Self, AccountsError> {
        let secret = Secret::try_from_base32(text);
        let secret = secret.map_err(|error| AccountsError::Unavailable(error.to_string()))?;
        Self::with(Builder::new().with_secret(secret))
    }

    fn with(builder: Builder) -> Result<Self, AccountsError> {
        let built = builder.with_skew(DRIFT).build();
        built.map(Self).map_err(|error| AccountsError::Unavailable(error.to_string()))
    }

    /// The secret in base 32, as people enter it in an app.
    pub fn text(&self) -> SecretString {
        self.0.secret().to_base32().into()
    }

    /// The address of the secret for apps, with the host and the user by which people know it. None: there is no such
    /// address.
    pub fn address(&self, host: &str, user: &str) -> Option<SecretString> {
        // A colon is between the two.
        let [host, user] = [host, user].map(|text| text.replace(':', "_"));
        let builder = Builder::new().with_secret(self.0.secret().clone());
        let totp = builder.with_issuer(Some(host)).with_account_name(user).build().ok()?;
        totp.to_url().ok().map(SecretString::from)
    }

    /// The step of a code. None: it is wrong, of another time, or not of a later step than `last`.
    pub(crate) fn step_of(&self, code: &str, now_ms: i64, last: i64) -> Option<i64> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if code.len() != DIGITS || !code.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let step = self.0.check(&code, u64::try_from(now_ms / 1_000).ok()?)?;
        i64::try_from(step).ok().filter(|step| *step > last)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    /// RFC 6238, appendix B, in six digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = TotpSecret::of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let step = seconds / 30;
            assert_eq!(secret.step_of(code, seconds * 1_000, 0), Some(step));
            for drift in [-30, 30] {
                assert_eq!(secret.step_of(code, (seconds + drift) * 1_000, 0), Some(step), "{drift}");
            }
            for drift in [-60, 60] {
                assert_eq!(secret.step_of(code, (seconds + drift) * 1_000, 0), None, "{drift}");
            }
            assert_eq!(secret.step_of(code, seconds * 1_000, step), None, "it was used");
        }
        for other in ["", "28708", "2870820", "28708x", "287083"] {
            assert_eq!(secret.step_of(other, 59_000, 0), None, "{other}");
        }
        assert_eq!(secret.step_of("287 082", 59_000, 0), Some(1));
    }

    #[test]
    fn an_address_names_host_and_user() {
        let secret = TotpSecret::new().unwrap();
        let text = secret.text();
        let address = secret.address("mcp.example.com", "a:da l").unwrap();
        let expected = format!(
            "otpauth://totp/mcp.example.com:a_da%20l?secret={}&issuer=mcp.example.com",
            text.expose_secret()
        );
        assert_eq!(address.expose_secret(), expected);
        assert_eq!(
            TotpSecret::of(text.expose_secret()).unwrap().text().expose_secret(),
            text.expose_secret()
        );
        assert!(TotpSecret::of("no").is_err());
    }
}
