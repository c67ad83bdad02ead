//! The cookies of browsers: one before the login, to which forms are bound, one between the password and the code, and
//! one of the session.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use super::answers::SiteAnswer;
use witgate_config::accounts::AccountSettings;

/// The longest value of a cookie that counts.
const LONGEST: usize = 128;

/// The names and properties of the cookies.
#[derive(Debug)]
pub(super) struct Cookies {
    is_secure: bool,
}

#[derive(Clone, Copy)]
enum Purpose {
    Browser,
    Login,
    Session,
}

impl Cookies {
    pub(super) fn of(settings: &AccountSettings) -> Self {
        Self { is_secure: settings.issuer.starts_with("https://") }
    }

    pub(super) fn are_secure(&self) -> bool {
        self.is_secure
    }

    /// The secret of the session.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<SecretString> {
        self.value(headers, Purpose::Session)
    }

    /// The secret of the browser before a login.
    pub(super) fn browser(&self, headers: &HeaderMap) -> Option<SecretString> {
        self.value(headers, Purpose::Browser)
    }

    pub(super) fn set_session(&self, answer: &mut SiteAnswer, secret: &SecretString) {
        self.set(answer, Purpose::Session, secret.expose_secret(), "");
    }

    pub(super) fn set_browser(&self, answer: &mut SiteAnswer, secret: &SecretString) {
        self.set(answer, Purpose::Browser, secret.expose_secret(), "");
    }

    /// The secret of a login that waits for a code.
    pub(super) fn login(&self, headers: &HeaderMap) -> Option<SecretString> {
        self.value(headers, Purpose::Login)
    }

    pub(super) fn set_login(&self, answer: &mut SiteAnswer, secret: &SecretString) {
        self.set(answer, Purpose::Login, secret.expose_secret(), "");
    }

    pub(super) fn end_login(&self, answer: &mut SiteAnswer) {
        self.set(answer, Purpose::Login, "", "; Max-Age=0");
    }

    pub(super) fn end_session(&self, answer: &mut SiteAnswer) {
        self.set(answer, Purpose::Session, "", "; Max-Age=0");
    }

    /// The name. With `__Host-`, no other host and no plain HTTP can set the cookie.
    fn name(&self, purpose: Purpose) -> &'static str {
        match (self.is_secure, purpose) {
            (true, Purpose::Browser) => "__Host-witgate-browser",
            (true, Purpose::Login) => "__Host-witgate-login",
            (true, Purpose::Session) => "__Host-witgate-session",
            (false, Purpose::Browser) => "witgate-browser",
            (false, Purpose::Login) => "witgate-login",
            (false, Purpose::Session) => "witgate-session",
        }
    }

    /// The value of a cookie. None: it is missing, or there are two different ones.
    fn value(&self, headers: &HeaderMap, purpose: Purpose) -> Option<SecretString> {
        let name = self.name(purpose);
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(own, _)| *own == name).map(|(_, value)| value);
        let first = values.next().filter(|value| !value.is_empty() && value.len() <= LONGEST)?;
        values.all(|other| other == first).then(|| first.into())
    }

    fn set(&self, answer: &mut SiteAnswer, purpose: Purpose, value: &str, end: &str) {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{end}", self.name(purpose));
        if let Ok(mut value) = HeaderValue::try_from(text) {
            value.set_sensitive(true);
            answer.headers_mut().append(SET_COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_name_and_two_are_none() {
        let cookies = Cookies { is_secure: true };
        let value = |text: &'static str| {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(text))]);
            cookies.session(&headers).map(|value| value.expose_secret().to_owned())
        };
        assert_eq!(value("a=b; __Host-witgate-session=x; c=d").as_deref(), Some("x"));
        assert_eq!(value("witgate-session=x"), None);
        assert_eq!(value("__Host-witgate-session=x; __Host-witgate-session=y"), None);
        assert_eq!(value("__Host-witgate-session="), None);
    }
}
