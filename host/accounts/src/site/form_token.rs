//! Tokens in forms, against requests that other sites make a browser send. A token is bound to the secret of the browser
//! and to what the form is about, so that a form cannot be used for something else than what was shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use super::params::OauthParams;
use witgate_base::seal::MacKey;

/// The name of the field.
pub(super) const FIELD: &str = "form";

/// The effect of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormPurpose {
    Login,
    Consent,
    Logout,
    Account,
    Password,
    SecondFactor,
    Code,
    Link,
    PasskeyLogin,
    Passkeys,
    OwnKeys,
}

impl FormPurpose {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Consent => "consent",
            Self::Logout => "logout",
            Self::Account => "account",
            Self::Password => "password",
            Self::SecondFactor => "second factor",
            Self::Code => "code",
            Self::Link => "link",
            Self::PasskeyLogin => "passkey login",
            Self::Passkeys => "passkeys",
            Self::OwnKeys => "own-keys",
        }
    }
}

/// The token of a form about `content`, for the browser with this secret.
pub(super) fn token(mac: &MacKey, purpose: FormPurpose, secret: &SecretString, content: &str) -> String {
    URL_SAFE_NO_PAD.encode(mac.code(&parts(purpose, secret, content)))
}

/// True if a form has the token for `content` and this browser.
pub(super) fn is_genuine(
    mac: &MacKey,
    purpose: FormPurpose,
    secret: &SecretString,
    content: &str,
    form: &OauthParams,
) -> bool {
    let shown = form.get(FIELD).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    shown.is_some_and(|code| code.len() == 32 && mac.is_code_of(&parts(purpose, secret, content), &code))
}

fn parts<'a>(purpose: FormPurpose, secret: &'a SecretString, content: &'a str) -> [&'a [u8]; 3] {
    [purpose.name().as_bytes(), secret.expose_secret().as_bytes(), content.as_bytes()]
}
