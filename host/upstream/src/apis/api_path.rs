//! The path of a request to an API. It never leaves the path of the API, however a server decodes it.

use std::borrow::Cow;

use ::http::Uri;
use percent_encoding::percent_decode;

/// The most rounds of decoding in which a server might find a dot segment. Proxies and frameworks decode once each.
const MOST_ROUNDS: usize = 4;

/// The secret of a path, and the rest of the path. None: it is no path.
pub(super) fn split(uri: &Uri) -> Option<(&str, &str)> {
    // A target with a host is for a proxy, and `*` for the server itself.
    if uri.authority().is_some() {
        return None;
    }
    let path = uri.path().strip_prefix('/')?;
    let end = path.find('/').unwrap_or(path.len());
    path.split_at_checked(end)
}

/// The path and the query for the API, whose own path is `base`. None: some server could read another path in it.
pub(super) fn joined(base: &str, rest: &str, query: Option<&str>) -> Option<String> {
    if !is_within(rest) {
        return None;
    }
    let path = format!("{}{rest}", base.trim_end_matches('/'));
    let path = if path.is_empty() { "/".to_owned() } else { path };
    Some(match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

/// True if no segment is `.` or `..`, also after decoding, with `\` in place of `/`, or with parameters, and if all servers
/// decode the path alike.
fn is_within(path: &str) -> bool {
    let mut text = Cow::Borrowed(path.as_bytes());
    for _ in 0..MOST_ROUNDS {
        if text.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots) || !is_plain(&text) {
            return false;
        }
        let decoded: Vec<u8> = percent_decode(&text).collect();
        if decoded == *text {
            return true;
        }
        text = Cow::Owned(decoded);
    }
    false
}

/// True for UTF-8 without control characters, in which servers might see an end, and without `%u`, an old encoding that
/// some of them decode. Bytes that are not UTF-8 may be a long form of another character.
fn is_plain(text: &[u8]) -> bool {
    let is_old = |pair: &[u8]| matches!(pair, b"%u" | b"%U");
    std::str::from_utf8(text).is_ok_and(|text| !text.contains(char::is_control))
        && !text.windows(2).any(is_old)
}

/// True for a dot segment, whatever parameters it has.
fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_split_after_its_first_segment() {
        for (uri, expected) in [
            ("/secret/v1/x?q", Some(("secret", "/v1/x"))),
            ("/secret", Some(("secret", ""))),
            ("/secret//x", Some(("secret", "//x"))),
            ("/", Some(("", ""))),
            ("http://host/secret/x", None),
            ("*", None),
        ] {
            assert_eq!(split(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn a_path_is_added_to_that_of_the_api() {
        for (base, rest, query, expected) in [
            ("/", "/v1/x", None, "/v1/x"),
            ("/", "", Some("a=b"), "/?a=b"),
            ("/v2", "", None, "/v2"),
            ("/v2/", "/x", Some(""), "/v2/x?"),
            ("/v2", "/", None, "/v2/"),
            ("/v2", "/a%2Fb/...", Some("../.."), "/v2/a%2Fb/...?../.."),
            ("/v2", "/caf%C3%A9/50%25", None, "/v2/caf%C3%A9/50%25"),
            ("/v2", "//example.com/x", None, "/v2//example.com/x"),
        ] {
            assert_eq!(joined(base, rest, query).as_deref(), Some(expected), "{base} {rest}");
        }
    }

    #[test]
    fn a_path_that_servers_read_in_several_ways_is_refused() {
        for rest in [
            "/..",
            "/../x",
            "/x/../..",
            "/x/.",
            "/./x",
            "/%2e%2e/x",
            "/.%2E/x",
            "/x%2f..%2fy",
            "/x%2F%2e%2e",
            "/%252e%252e/x",
            "/%25252e%25252e/x",
            "/..%5cx",
            "/x\\..\\y",
            "/..;/x",
            "/..;a=b/x",
            "/%2e%2e%3b/x",
            "/x%00/y",
            "/x%0d%0ay",
            "/x%257f",
            "/%u002e%u002e/x",
            "/%25U002e/x",
            "/%c0%ae%c0%ae/x",
            "/x%ff",
            "/%2525252525252e",
        ] {
            assert_eq!(joined("/v2", rest, None), None, "{rest}");
        }
    }

    #[test]
    fn reading_paths_is_linear() {
        let read = |path: String| assert!(is_within(&path));
        witgate_testing::growth::assert_linear("segments", 40_000, |n| "/a%25b".repeat(n), read);
    }

    proptest! {
        /// `url` resolves dot segments as browsers and many clients do.
        #[test]
        fn a_joined_path_stays_below_the_path_of_the_api(
            rest in prop::collection::vec("(/|%2f|\\.|%2e|%252e|;|a|%5c|%41){0,3}", 0..6)
        ) {
            let rest = format!("/{}", rest.concat());
            if let Some(path) = joined("/v2/base", &rest, None) {
                let decoded = percent_decode_str(&path).decode_utf8().unwrap().into_owned();
                for path in [path, decoded] {
                    let url = url::Url::parse(&format!("https://api.example.com{path}")).unwrap();
                    prop_assert_eq!(url.host_str(), Some("api.example.com"));
                    prop_assert!(url.path().starts_with("/v2/base/"), "{}", url);
                }
            }
        }
    }
}
