//! The browser of a person, which a cookie recognises for some minutes.

use ::http::header::COOKIE;
use ::http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use witgate_credentials::connect::browser_secret;

/// The name over HTTPS: browsers take it only from this host, and send it only to this host (RFC 6265bis).
const SECURE: &str = "__Host-witgate-connect";

/// The name over HTTP, which only this machine uses.
const LOCAL: &str = "witgate-connect";

/// The length of a secret: 256 bits in base64.
const LENGTH: usize = 43;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A browser.
pub(super) struct Browser {
    secret: Box<str>,
    /// The cookie to be set.
    cookie: Option<HeaderValue>,
}

impl Browser {
    /// The browser that has sent these headers to `page`. None: it has no cookie, or several.
    pub(super) fn of(headers: &HeaderMap, page: &Url) -> Option<Self> {
        let name = name_at(page);
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(other, _)| *other == name).map(|(_, value)| value);
        let secret = values.next().filter(|secret| is_secret(secret))?;
        values.next().is_none().then(|| Self { secret: secret.into(), cookie: None })
    }

    /// The same, or a new one. None: there are no random numbers.
    pub(super) fn of_or_new(headers: &HeaderMap, page: &Url) -> Option<Self> {
        if let Some(known) = Self::of(headers, page) {
            return Some(known);
        }
        let secret = browser_secret()?;
        let secure = if page.scheme() == "https" { "; Secure" } else { "" };
        let name = name_at(page);
        // A provider leads back from another site, which `Strict` would forbid.
        let text = format!("{name}={secret}; Path=/; Max-Age=900; HttpOnly; SameSite=Lax{secure}");
        let mut cookie = HeaderValue::try_from(text).ok()?;
        cookie.set_sensitive(true);
        Some(Self { secret, cookie: Some(cookie) })
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        self.cookie.clone()
    }
}

fn name_at(page: &Url) -> &'static str {
    if page.scheme() == "https" { SECURE } else { LOCAL }
}

fn is_secret(text: &str) -> bool {
    text.len() == LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// False if a browser says that another site has sent a form. `Origin` says nothing here, because these pages send no
/// referrer.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    headers.get_all(FETCH_SITE).iter().all(|site| site == "same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(cookie).unwrap())])
    }

    #[test]
    fn a_cookie_belongs_to_this_host_alone() {
        let page = Url::parse("https://gate.example.com/connect/hub").unwrap();
        let new = Browser::of_or_new(&HeaderMap::new(), &page).unwrap();
        let cookie = new.cookie().unwrap().to_str().unwrap().to_owned();
        for part in ["__Host-witgate-connect=", "; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let pair = cookie.split(';').next().unwrap();
        let again = Browser::of(&headers(&format!("a=b; {pair}")), &page).unwrap();
        assert_eq!((again.secret(), again.cookie()), (new.secret(), None));
        // Another host of the domain can set a cookie with the other name, or a second one.
        let planted = pair.trim_start_matches("__Host-");
        let local = Url::parse("http://127.0.0.1:8788/connect/hub").unwrap();
        for wrong in [planted, &format!("{pair}; {pair}"), "__Host-witgate-connect=short", ""] {
            assert!(Browser::of(&headers(wrong), &page).is_none(), "{wrong}");
        }
        assert!(Browser::of(&headers(planted), &local).is_some());
        assert!(Browser::of(&headers(pair), &local).is_none());
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let from = |site: &str| {
            is_same_origin(&HeaderMap::from_iter([(FETCH_SITE, HeaderValue::try_from(site).unwrap())]))
        };
        assert!(from("same-origin") && is_same_origin(&HeaderMap::new()));
        assert!(!from("cross-site") && !from("same-site") && !from("none"));
    }
}
