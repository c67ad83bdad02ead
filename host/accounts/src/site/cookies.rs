//! The cookies of browsers: one before the login, to which forms are bound, one between the password and the code, and
//! one of the session.

use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::answers::SiteAnswer;
use super::known_browser::KNOWN_S;
use witgate_config::accounts::AccountSettings;

/// The longest value of a cookie that counts.
const LONGEST: usize = 128;

/// The names and properties of the cookies.
#[derive(Debug)]
pub(super) struct Cookies {
    is_secure: bool,
    /// The end of each name. Cookies do not tell the ports of a host apart, and on one machine several Witgates may run.
    suffix: String,
}

#[derive(Clone, Copy)]
enum Purpose {
    Browser,
    Login,
    Session,
    Known,
    Remembered,
}

impl Cookies {
    pub(super) fn of(settings: &AccountSettings) -> Self {
        let is_secure = settings.issuer.starts_with("https://");
        let port = Url::parse(&settings.issuer).ok().and_then(|url| url.port_or_known_default());
        let suffix = port.filter(|_| !is_secure).map(|port| format!("-{port}")).unwrap_or_default();
        Self { is_secure, suffix }
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

    /// The cookie of a browser in which somebody has logged in before.
    pub(super) fn known(&self, headers: &HeaderMap) -> Option<SecretString> {
        self.value(headers, Purpose::Known)
    }

    pub(super) fn set_known(&self, answer: &mut SiteAnswer, secret: &SecretString) {
        self.set(answer, Purpose::Known, secret.expose_secret(), &format!("; Max-Age={KNOWN_S}"));
    }

    /// The secret of a browser in which a code was shown.
    pub(super) fn remembered(&self, headers: &HeaderMap) -> Option<SecretString> {
        self.value(headers, Purpose::Remembered)
    }

    pub(super) fn set_remembered(&self, answer: &mut SiteAnswer, secret: &SecretString, time: Duration) {
        let end = format!("; Max-Age={}", time.as_secs());
        self.set(answer, Purpose::Remembered, secret.expose_secret(), &end);
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
    fn name(&self, purpose: Purpose) -> String {
        let prefix = if self.is_secure { "__Host-" } else { "" };
        let name = match purpose {
            Purpose::Browser => "browser",
            Purpose::Login => "login",
            Purpose::Session => "session",
            Purpose::Known => "known",
            Purpose::Remembered => "remembered",
        };
        format!("{prefix}witgate-{name}{}", self.suffix)
    }

    /// The value of a cookie. None: it is missing, or there are two different ones. Other cookies may have any bytes.
    fn value(&self, headers: &HeaderMap, purpose: Purpose) -> Option<SecretString> {
        let name = self.name(purpose);
        let lines = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
        let mut values = lines.filter_map(|pair| {
            let (own, value) = pair.trim_ascii().split_at_checked(name.len())?;
            if own == name.as_bytes() { value.strip_prefix(b"=") } else { None }
        });
        let first = values.next().filter(|value| !value.is_empty() && value.len() <= LONGEST)?;
        if !values.all(|other| other == first) {
            return None;
        }
        std::str::from_utf8(first).ok().map(SecretString::from)
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

    fn session(cookies: &Cookies, text: &[u8]) -> Option<String> {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(text).unwrap())]);
        cookies.session(&headers).map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn a_cookie_is_found_by_its_name_and_two_are_none() {
        let cookies = Cookies { is_secure: true, suffix: String::new() };
        for (text, wanted) in [
            ("a=b; __Host-witgate-session=x; c=d", Some("x")),
            ("__Host-witgate-session=x;__Host-witgate-session=x", Some("x")),
            ("witgate-session=x", None),
            ("__Host-witgate-sessions=x", None),
            ("__Host-witgate-session=x; __Host-witgate-session=y", None),
            ("__Host-witgate-session=", None),
            ("__Host-witgate-session", None),
        ] {
            assert_eq!(session(&cookies, text.as_bytes()).as_deref(), wanted, "{text}");
        }
        let beside = session(&cookies, b"theme=\xe9; __Host-witgate-session=x");
        assert_eq!(beside.as_deref(), Some("x"), "another site on the host wrote other bytes");
    }

    #[test]
    fn two_gateways_on_one_machine_do_not_share_cookies() {
        let of = |port: u16| Cookies { is_secure: false, suffix: format!("-{port}") };
        assert_eq!(session(&of(8787), b"witgate-session-8787=x").as_deref(), Some("x"));
        assert_eq!(session(&of(8788), b"witgate-session-8787=x"), None);
    }
}
