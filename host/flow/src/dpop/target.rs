//! URLs in proofs (`htu`), normalised so that URLs that RFC 3986 calls equivalent are equal.

use url::Url;

/// The target of a request, without query and fragment, normalised: the case of scheme and host, the default
/// port, dot segments, and percent-encoding (RFC 3986, sections 6.2.2 and 6.2.3).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProofTarget(String);

impl ProofTarget {
    /// None: it is not an absolute http or https URL.
    pub(super) fn of(text: &str) -> Option<Self> {
        // A text that only browsers accept, such as `https:\\host` and `https:///host`, is not a URI.
        let (scheme, rest) = text.split_once("://")?;
        let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if !is_http || !is_plain || rest.starts_with('/') {
            return None;
        }
        // Refuses user names, even an empty one, which the parser drops.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Some(Self(format!("{}://{}{port}{}", url.scheme(), url.host_str()?, same_encoding(url.path()))))
    }
}

/// Percent-encoding with digits in upper case, and only where it is needed (RFC 3986, section 2.3).
fn same_encoding(path: &str) -> String {
    let mut same = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        same.push_str(before);
        let digits = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                same.push(char::from(byte));
            }
            Some(byte) => same.push_str(&format!("%{byte:02X}")),
            None => {
                same.push('%');
                rest = after;
                continue;
            }
        }
        rest = after.get(2..).unwrap_or_default();
    }
    same + rest
}

#[cfg(test)]
mod tests {
    use super::ProofTarget;

    const OWN: &str = "https://mcp.example.com/mcp";

    #[test]
    fn urls_equal_by_rfc_3986_are_equal() {
        for same in [
            OWN,
            "HTTPS://mcp.example.com/mcp",
            "https://MCP.Example.COM/mcp",
            "https://mcp.example.com:443/mcp",
            "https://mcp.example.com:/mcp",
            "https://mcp.example.com/mcp?session=1",
            "https://mcp.example.com/mcp#part",
            "https://mcp.example.com/%6dcp",
            "https://mcp.example.com/%6Dcp",
            "https://mcp.example.com/other/../mcp",
            "https://mcp.example.com/./mcp",
        ] {
            assert_eq!(ProofTarget::of(same), ProofTarget::of(OWN), "{same}");
        }
        assert_eq!(ProofTarget::of("https://mcp.example.com"), ProofTarget::of("https://mcp.example.com/"));
        assert_eq!(ProofTarget::of("http://[::1]:80/a%2fb"), ProofTarget::of("http://[0:0::1]/a%2Fb"));
    }

    #[test]
    fn different_urls_are_different() {
        for other in [
            "http://mcp.example.com/mcp",
            "https://mcp.example.com/mcp/",
            "https://mcp.example.com/MCP",
            "https://mcp.example.com:8443/mcp",
            "https://mcp.example.com./mcp",
            "https://mcp.example.com/",
            "https://mcp.example.com//mcp",
            "https://mcp.example.com/mcp%2F",
            "https://mcp.example.com/mcp;a=b",
            "https://evil.example.com/mcp",
            "https://mcp.example.com@evil.example.com/mcp",
            "https://user@mcp.example.com/mcp",
            "https://@mcp.example.com/mcp",
            "https://user:word@mcp.example.com/mcp",
            "https:mcp.example.com/mcp",
            "https:\\\\mcp.example.com\\mcp",
            "https:///mcp.example.com/mcp",
            "//mcp.example.com/mcp",
            "/mcp",
            "mcp",
            "",
            " https://mcp.example.com/mcp",
            "https://mcp.exa\tmple.com/mcp",
            "https://mcp.example.com/mcp ",
            "https://mcp.example.com/mcp\u{ff0f}",
            "wss://mcp.example.com/mcp",
        ] {
            assert_ne!(ProofTarget::of(other), ProofTarget::of(OWN), "{other}");
        }
    }
}
