//! Patterns that cannot match anything: the parse of messages refuses names and resource URIs that are not in
//! normal form, so a pattern with such a part matches no valid call. As a deny pattern it would deny nothing.
//!
//! The check finds only patterns that certainly match nothing, and not all of these.

use crate::TargetKind;

/// The reason why the pattern `glob` for things of a kind matches nothing. None: it may match.
pub(super) fn never_matches(kind: TargetKind, glob: &str) -> Option<&'static str> {
    match kind {
        TargetKind::Resource => of_uri(glob),
        TargetKind::Tool | TargetKind::Prompt | TargetKind::Method => of_name(glob),
    }
}

/// The fault of a name that is not in normal form C. Components are built without the tables of Unicode, and do not
/// find this fault.
fn of_name(glob: &str) -> Option<&'static str> {
    #[cfg(not(target_family = "wasm"))]
    // Every part of a composed text is composed.
    if !glob.is_ascii() && !glob.split('*').all(unicode_normalization::is_nfc) {
        return Some("names are in Unicode normal form C, and the pattern is not; write it in that form");
    }
    let _ = glob;
    None
}

fn of_uri(glob: &str) -> Option<&'static str> {
    let Some(glob) = without_expressions(glob) else { return Some(CHARACTER) };
    let mut parts = glob.split('*').peekable();
    let head = parts.peek().copied().unwrap_or_default();
    let is_whole = head.len() == glob.len();
    while let Some(part) = parts.next() {
        let fault = of_characters(part).or_else(|| of_escapes(part, parts.peek().is_none()));
        if fault.is_some() {
            return fault;
        }
    }
    of_head(head, is_whole)
}

const CHARACTER: &str = "a URI never has this character unescaped; write `%` and two digits";
const ESCAPE: &str =
    "URIs in normal form have `%` with two capital digits, never for letters, digits, `-._~` or controls";
const SCHEME: &str = "a URI in normal form begins with its scheme in lower case and `:`";
const HOST: &str = "a URI in normal form has its host in lower case";
const AUTHORITY: &str = "a URI of this scheme has `//`, a host without its default port, and `/` after it";
const DOTS: &str = "a URI in normal form has no segments `.` and `..`";
const FILE: &str =
    "a file URI has `///` or a host other than localhost, and no empty segments or encoded separators";

/// A pattern may name a template (RFC 6570): an expression is any text.
fn without_expressions(glob: &str) -> Option<String> {
    let mut parts = glob.split('{');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (_, literal) = part.split_once('}')?;
        plain.push('*');
        plain.push_str(literal);
    }
    (!plain.contains('}')).then_some(plain)
}

fn of_characters(part: &str) -> Option<&'static str> {
    let is_of_uri = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()+,;=%".contains(&byte);
    (!part.bytes().all(is_of_uri)).then_some(CHARACTER)
}

fn of_escapes(part: &str, is_last: bool) -> Option<&'static str> {
    part.split('%').skip(1).find_map(|after| {
        let digits: Vec<u8> = after.bytes().take(2).collect();
        let is_digit = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'A'..=b'F');
        let is_cut = digits.len() < 2 && !is_last && part.ends_with(after);
        let is_good = digits.iter().all(is_digit) && (is_cut || digits.len() == 2);
        let text = std::str::from_utf8(&digits).unwrap_or_default();
        let byte = u8::from_str_radix(text, 16).unwrap_or(u8::MAX);
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || byte.is_ascii_control();
        (!is_good || (!is_cut && is_plain)).then_some(ESCAPE)
    })
}

/// Checks the part before the first `*`, or the whole pattern if it has none.
fn of_head(head: &str, is_whole: bool) -> Option<&'static str> {
    let (scheme, rest) = match head.split_once(':') {
        Some((scheme, rest)) => (scheme, Some(rest)),
        None => (head, None),
    };
    let is_of_scheme = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.');
    let begins = scheme.bytes().next().map_or(rest.is_none(), |byte| byte.is_ascii_lowercase());
    if !begins || !scheme.bytes().all(is_of_scheme) || (is_whole && rest.is_none()) {
        return Some(SCHEME);
    }
    let rest = rest?;
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => match rest.find(['/', '?', '#']) {
            Some(end) => rest.split_at_checked(end).map_or((None, rest), |(host, path)| (Some(host), path)),
            None if is_whole => (Some(rest), ""),
            // The host may continue after the part, and user names before the host may have capitals.
            None => return None,
        },
        None => (None, rest),
    };
    of_authority(scheme, authority, path, is_whole).or_else(|| of_path(path, scheme == "file", is_whole))
}

fn of_authority(scheme: &str, authority: Option<&str>, path: &str, is_whole: bool) -> Option<&'static str> {
    let port = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        "ftp" => ":21",
        "file" => "",
        _ => return authority.filter(|authority| !is_lower(host(authority))).map(|_| HOST),
    };
    match authority {
        None if !is_whole && "//".starts_with(path) => None,
        None => Some(AUTHORITY),
        Some(authority) if !is_lower(host(authority)) => Some(HOST),
        Some("localhost") if scheme == "file" => Some(FILE),
        Some(authority) => {
            let is_host = port.is_empty() || !(authority.is_empty() || authority.ends_with(port));
            (!is_host || !path.starts_with('/')).then_some(AUTHORITY)
        }
    }
}

fn host(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or(authority)
}

/// True if the text has no capitals except in the digits of escapes.
fn is_lower(host: &str) -> bool {
    let mut parts = host.split('%');
    let first = parts.next().unwrap_or_default();
    let plain = parts.map(|part| part.get(2..).unwrap_or_default());
    std::iter::once(first).chain(plain).all(|part| !part.bytes().any(|byte| byte.is_ascii_uppercase()))
}

fn of_path(rest: &str, is_file: bool, is_whole: bool) -> Option<&'static str> {
    let end = rest.find(['?', '#']);
    let path = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
    let decoded = path.replace("%2F", "/").replace("%5C", "/");
    if is_file && (path.contains("//") || decoded != path) {
        return Some(FILE);
    }
    let mut segments: Vec<&str> = decoded.split('/').collect();
    // The last segment may continue after the part.
    if end.is_none() && !is_whole {
        segments.pop();
    }
    segments.iter().any(|segment| matches!(*segment, "." | "..")).then_some(DOTS)
}

#[cfg(test)]
mod tests {
    use super::never_matches;
    use crate::TargetKind::{Prompt, Resource, Tool};

    #[test]
    fn resource_patterns_that_can_match_are_accepted() {
        for glob in [
            "*",
            "*:*",
            "ht*",
            "http*",
            "http:*",
            "http:/*",
            "http://*",
            "http://h/*",
            "http://h*",
            "http://H*@h/",
            "https://h:8443/a",
            "http://h/",
            "file:///docs/*",
            "file:*",
            "file://*",
            "file://server/*",
            "file:///docs/..*",
            "file:///docs/.*",
            "file:///a..b/*",
            "*/../*",
            "x://h/?a=/../b",
            "x:/a?/../*",
            "demo://resource/static/*",
            "demo://resource/dynamic/text/{resourceId}",
            "file:///{path}",
            "{scheme}://a",
            "memo:a",
            "memo:",
            "urn:isbn:*",
            "x:%C3%BC",
            "x:%*",
            "x:%2*",
            "x:a%20*b",
            "repo://{owner}/{repo}{/path*}",
            "test://static-*",
            "*.md",
            "x://h//a",
        ] {
            assert_eq!(never_matches(Resource, glob), None, "{glob}");
        }
    }

    #[test]
    fn resource_patterns_that_match_nothing_are_refused() {
        for glob in [
            "FILE:///docs/*",
            "File:*",
            "docs",
            "/docs/*",
            "docs/a*",
            ":a",
            "file:///docs/../secret/*",
            "file:///docs/./*",
            "file:///docs/..",
            "file:///docs/%2e%2e/*",
            "file:///docs/%2E%2E/*",
            "file:///%64ocs/*",
            "x:%2f*",
            "x:*%zz",
            "x:%2",
            "x:%",
            "x:*%a*",
            "file:/docs/*",
            "file:docs*",
            "file://localhost/docs/*",
            "file:///docs//a*",
            "file:///docs%2Fa*",
            "file:////docs/*",
            "http://h",
            "http:/h/*",
            "http://H/*",
            "http://h:80/*",
            "http:///a*",
            "http://h?*",
            "demo://Resource/*",
            "demo://u@H/*",
            "x:a b",
            "x:*\u{fc}*",
            "x:\\a",
            "x:{a",
            "x:a}",
            "x://h/..%2Fa",
            "file:",
        ] {
            assert!(never_matches(Resource, glob).is_some(), "{glob}");
        }
    }

    #[test]
    fn name_patterns_have_to_be_composed() {
        for kind in [Tool, Prompt] {
            assert_eq!(never_matches(kind, "caf\u{e9}*"), None);
            assert_eq!(never_matches(kind, "b\u{301}*"), None);
            assert_eq!(never_matches(kind, "*\u{301}x"), None);
            assert!(never_matches(kind, "cafe\u{301}*").is_some());
        }
    }
}
