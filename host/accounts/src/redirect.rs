//! Redirect URIs: which are accepted, and which are the same (RFC 8252, sections 7 and 8).

use url::{Host, Url};

/// The longest redirect URI, in bytes.
const LONGEST: usize = 2_048;

/// Schemes that a browser or the system runs or reads itself, or that lead elsewhere than to the app that has asked.
const REFUSED_SCHEMES: &[&str] = &[
    "about",
    "acap",
    "android-app",
    "blob",
    "chrome",
    "chrome-extension",
    "cid",
    "content",
    "data",
    "dav",
    "dict",
    "facetime",
    "feed",
    "file",
    "filesystem",
    "ftp",
    "ftps",
    "git",
    "gopher",
    "hcp",
    "imap",
    "intent",
    "irc",
    "itms-services",
    "jar",
    "javascript",
    "ldap",
    "ldaps",
    "magnet",
    "mailto",
    "market",
    "mhtml",
    "mid",
    "mk",
    "moz-extension",
    "news",
    "nfs",
    "resource",
    "res",
    "rtsp",
    "search",
    "search-ms",
    "shell",
    "sip",
    "smb",
    "sms",
    "ssh",
    "steam",
    "svn",
    "tel",
    "telnet",
    "vbscript",
    "view-source",
    "ws",
    "wss",
    "xmpp",
];

/// The beginning of the schemes of Microsoft's programs, some of which run what the address names.
const REFUSED_BEGINNING: &str = "ms-";

/// Parameters of the answer, which a client's own query must not have.
const ANSWERED: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];

/// An acceptable redirect URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    url: Url,
}

/// The place where a redirect leads, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectTarget {
    /// A site.
    Site(String),
    /// A program on the computer of the browser.
    ThisComputer,
    /// An app that has registered this scheme.
    App(String),
}

impl RedirectUri {
    /// The URI in a text. None: it is not accepted.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>'));
        if text.len() > LONGEST || !is_plain || text.contains('#') {
            return None;
        }
        let url = Url::parse(text).ok()?;
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let is_fine = match url.scheme() {
            "https" => url.host().is_some() && is_absolute(text, "https://"),
            "http" => is_loopback(&url) && has_plain_host(text, &url),
            scheme => !REFUSED_SCHEMES.contains(&scheme) && !scheme.starts_with(REFUSED_BEGINNING),
        };
        let answers = url.query_pairs().any(|(name, _)| ANSWERED.contains(&&*name));
        (is_fine && !answers).then(|| Self { text: text.to_owned(), url })
    }

    /// The text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that is compared. The port of a loopback address does not count, because a program takes any free one.
    pub fn compared(&self) -> String {
        if self.url.scheme() != "http" {
            return self.text.clone();
        }
        let mut url = self.url.clone();
        // This fails only for URLs without a host.
        let _ = url.set_port(None);
        url.into()
    }

    /// The place where the redirect leads.
    pub fn target(&self) -> RedirectTarget {
        match (self.url.scheme(), self.url.host_str()) {
            ("http", _) => RedirectTarget::ThisComputer,
            ("https", Some(host)) => RedirectTarget::Site(match self.url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            }),
            (scheme, _) => RedirectTarget::App(scheme.to_owned()),
        }
    }

    /// The address with further parameters. The client's own query stays.
    pub fn with(&self, answer: &[(&str, &str)]) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(answer).finish();
        let glue = match self.text.find('?') {
            None => "?",
            Some(at) if at + 1 == self.text.len() || self.text.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{glue}{query}", self.text)
    }
}

/// True if the host is written as it is read: the number of an address has other forms.
fn has_plain_host(text: &str, url: &Url) -> bool {
    let rest = text.strip_prefix("http://").zip(url.host_str());
    let rest = rest.and_then(|(rest, host)| rest.strip_prefix(host));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
}

/// True if the text has its host where it seems to be. A browser reads `https:a.example/cb` on an https page as a path.
fn is_absolute(text: &str, beginning: &str) -> bool {
    text.strip_prefix(beginning).is_some_and(|rest| !rest.starts_with('/'))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_redirects_are_refused() {
        for text in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "blob:https://a/b",
            "about:blank",
            "http://example.com/cb",
            "http://127.0.0.1.example.com/cb",
            "http://localhost.evil.com/",
            "https://user@example.com/cb",
            "https://user:p@example.com/cb",
            "https://example.com/cb#f",
            "http://localhost@evil.com/",
            "https://example.com/\\evil",
            "//example.com/cb",
            "/cb",
            "",
            "https://example.com/cb?code=1",
            "https://example.com/cb?state=a",
            "https://exa mple.com/",
            "http:///cb",
            "JAVASCRIPT:alert(1)",
            "java\tscript:alert(1)",
            "http://127.1/cb",
            "http://2130706433/cb",
            "http://0x7f.0.0.1/cb",
            "http://[0:0:0:0:0:0:0:1]/cb",
            "http://LOCALHOST/cb",
            "http:127.0.0.1/cb",
            "HTTP://127.0.0.1/cb",
            "https:evil.com",
            "https:/evil.com/cb",
            "https:///evil.com/cb",
            "HTTPS://example.com/cb",
            "intent://scan/#Intent;scheme=zxing;end",
            "intent:x",
            "ms-msdt:/id",
            "search-ms:query=x",
            "market://details?id=x",
            "tel:112",
            "android-app://com.example",
        ] {
            assert_eq!(RedirectUri::parse(text), None, "{text}");
        }
    }

    #[test]
    fn redirects_of_real_clients_are_accepted() {
        for text in [
            "https://claude.ai/api/mcp/auth_callback",
            "http://127.0.0.1/",
            "http://127.0.0.1:33418/",
            "https://vscode.dev/redirect",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "http://localhost:8787/callback",
            "http://[::1]:9/cb",
            "com.example.app:/oauth",
            "https://a.example/cb?tenant=1",
        ] {
            assert!(RedirectUri::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn only_the_port_of_a_loopback_address_does_not_count() {
        let same = |a: &str, b: &str| {
            RedirectUri::parse(a).unwrap().compared() == RedirectUri::parse(b).unwrap().compared()
        };
        assert!(same("http://127.0.0.1/cb", "http://127.0.0.1:1234/cb"));
        assert!(same("http://localhost:1/cb?a=1", "http://localhost:2/cb?a=1"));
        for (a, b) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1/other"),
            ("http://127.0.0.1/cb", "http://localhost/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1/cb?x"),
            ("https://a.example/cb", "https://a.example:8443/cb"),
            ("https://a.example/cb", "https://a.example/cb/"),
            ("https://a.example/cb", "https://A.example/cb"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_site_is_shown_with_its_port() {
        let target = |text: &str| RedirectUri::parse(text).unwrap().target();
        assert_eq!(target("https://a.example/cb"), RedirectTarget::Site("a.example".to_owned()));
        assert_eq!(target("https://a.example:8443/cb"), RedirectTarget::Site("a.example:8443".to_owned()));
    }

    #[test]
    fn the_answer_is_added_to_the_own_query() {
        let with = |text: &str| RedirectUri::parse(text).unwrap().with(&[("code", "a b"), ("state", "&x")]);
        assert_eq!(with("https://a.example/cb"), "https://a.example/cb?code=a+b&state=%26x");
        assert_eq!(with("https://a.example/cb?t=1"), "https://a.example/cb?t=1&code=a+b&state=%26x");
        assert_eq!(with("https://a.example/cb?"), "https://a.example/cb?code=a+b&state=%26x");
        assert_eq!(with("com.example.app:/cb"), "com.example.app:/cb?code=a+b&state=%26x");
    }
}
