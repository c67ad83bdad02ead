//! Checks of resource URIs. A URI is accepted if it is in the normal form of both standards that servers use, and
//! means the same path to servers that decode it.

use std::borrow::Cow;

use fluent_uri::Uri;
use fluent_uri::normalize::Normalizer;
use percent_encoding::percent_decode_str;
use url::Url;

use super::{NameFault, check_length, is_composed};

/// Checks the URI of a resource.
///
/// # Errors
/// If it is not a URI (RFC 3986), is not in the normal form of RFC 3986, section 6.2.2, and of WHATWG URL, or hides a
/// character behind `%`.
pub fn check_uri(text: &str) -> Result<(), NameFault> {
    check_length(text)?;
    let uri = Uri::parse(text).map_err(|_| NameFault::NoUri)?;
    // WHATWG URL removes the default ports of the schemes that it knows.
    let normal = Normalizer::new().default_port_with(|_| None).normalize(&uri);
    let is_normal = normal.is_ok_and(|normal| normal.as_str() == text);
    if !is_normal || Url::parse(text).map_err(|_| NameFault::NotNormal)?.as_str() != text {
        return Err(NameFault::NotNormal);
    }
    check_decoded(text)?;
    let is_file = uri.scheme().as_str() == "file";
    let behind = [uri.query().map(|query| query.as_str()), uri.fragment().map(|fragment| fragment.as_str())];
    // RFC 8089 has neither query nor fragment; a server that cuts off the scheme reads them as parts of a path.
    if is_file && behind.iter().any(Option::is_some) {
        return Err(NameFault::OddFile);
    }
    // Such a server reads a host as the first segment of a path.
    if let Some(authority) = uri.authority() {
        check_segments(&decode(authority.as_str())?)?;
    }
    for part in behind.into_iter().flatten() {
        check_segments(&decode(part)?)?;
    }
    check_path(uri.path().as_str(), is_file)
}

/// Checks the form in which servers with templates read a URI: decoded once.
fn check_decoded(text: &str) -> Result<(), NameFault> {
    if !text.contains('%') {
        return Ok(());
    }
    let decoded = decode(text)?;
    if decoded.chars().any(char::is_control) {
        return Err(NameFault::Hidden);
    }
    if is_composed(&decoded) { Ok(()) } else { Err(NameFault::NotComposed) }
}

/// The normal forms keep dot segments in a path without a root (`memo:a/../b`), and those that appear only after `%2F`
/// is decoded.
fn check_path(path: &str, is_file: bool) -> Result<(), NameFault> {
    let decoded = decode(path)?;
    check_segments(&decoded)?;
    let separators = |text: &str| text.matches(['/', '\\']).count();
    if is_file && (path.contains("//") || separators(path) != separators(&decoded)) {
        return Err(NameFault::OddFile);
    }
    Ok(())
}

/// Refuses dot segments, also in a query and a fragment, because not every server recognises the end of a path.
fn check_segments(decoded: &str) -> Result<(), NameFault> {
    match decoded.split(['/', '\\']).any(|segment| matches!(without_parameters(segment), "." | "..")) {
        true => Err(NameFault::Hidden),
        false => Ok(()),
    }
}

/// A segment without its parameters after `;`, which some servers cut off (RFC 2396, section 3.3).
fn without_parameters(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

fn decode(text: &str) -> Result<Cow<'_, str>, NameFault> {
    percent_decode_str(text).decode_utf8().map_err(|_| NameFault::Hidden)
}

/// Checks a template of URIs (RFC 6570), of which only the text outside of expressions is known. A URI without
/// expressions is a template as well.
///
/// # Errors
/// As [`check_uri`], if no expansion could be an accepted URI.
pub fn check_template(text: &str) -> Result<(), NameFault> {
    check_length(text)?;
    if !text.contains('{') {
        return check_uri(text);
    }
    let literals = literals(text).ok_or(NameFault::NoUri)?;
    // Possible values of an expression: a word, a number, a path with its slash, a part of a host.
    let expand = |first: &str, others: &str| match literals.split_first() {
        Some((start, [next, rest @ ..])) => {
            rest.iter().fold(format!("{start}{first}{next}"), |uri, literal| uri + others + literal)
        }
        _ => String::new(),
    };
    let examples = ["x", "0", "/x", "x/", ""];
    let mut outcome = Err(NameFault::NotNormal);
    for (first, others) in examples.iter().map(|one| (*one, *one)).chain(examples.map(|other| ("x", other))) {
        outcome = check_uri(&expand(first, others));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The literals before, between and after the expressions. None: the braces are not expressions.
fn literals(text: &str) -> Option<Vec<&str>> {
    let (start, rest) = text.split_once('{')?;
    let mut literals = vec![start];
    for part in rest.split('{') {
        let (expression, literal) = part.split_once('}')?;
        if !expression.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        literals.push(literal);
    }
    Some(literals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_uris_in_normal_form_are_accepted() {
        for uri in [
            "file:///docs/a.md",
            "file:///docs/",
            "file:///C:/Users/a%20b/x.txt",
            "file:///docs/%C3%BCber.md",
            "file:///docs/..a/...b/c..",
            "file://server/share/a",
            "http://example.com/",
            "https://example.com/a//b?q=../c#d/e",
            "https://user@example.com:8443/a;v=1/b,c",
            "demo://resource/static/document/a.md",
            "demo://resource/dynamic/text/1",
            "memo://insights",
            "test://static-text",
            "urn:isbn:0451450523",
            "memo:a",
            "postgres://u@localhost:5432/db/users/schema",
            "ui://get-time/mcp-app.html",
            "k8s://default/pods",
            "repo://a/b/contents/c%2Fd",
            "video://-",
            "data:text/plain,hello",
            "x:/",
            "x:",
            "x://",
            "note:///a",
        ] {
            assert_eq!(check_uri(uri), Ok(()), "{uri}");
        }
    }

    /// URIs that servers from npm and PyPI list. Each was read under exactly the listed URI, if that was possible
    /// without a network or a cluster.
    #[test]
    fn the_resources_of_real_servers_are_accepted() {
        let listed = include_str!("servers.tsv").lines().filter_map(|line| line.split_once('\t'));
        let mut servers = std::collections::BTreeSet::new();
        for (server, uri) in listed {
            servers.insert(server);
            assert_eq!(check_template(uri), Ok(()), "{server}: {uri}");
            assert_eq!(check_uri(uri).is_ok(), !uri.contains('{'), "{server}: {uri}");
        }
        assert!(servers.len() >= 10, "{servers:?}");
    }

    #[test]
    fn ambiguous_uris_are_refused() {
        use NameFault::{Hidden, NoUri, NotComposed, NotNormal, OddFile};
        for (uri, fault) in [
            ("file:///docs/../secret/key", NotNormal),
            ("file:///docs/./a", NotNormal),
            ("file:///docs/..", NotNormal),
            ("file:///docs/%2e%2e/secret/key", NotNormal),
            ("file:///docs/.%2E/secret/key", NotNormal),
            ("file:///docs/%2E%2E/secret/key", NotNormal),
            ("file:///%64ocs/a", NotNormal),
            ("file:///docs/a%2fb", NotNormal),
            ("FILE:///docs/a", NotNormal),
            ("File:///docs/a", NotNormal),
            ("file:/docs/a", NotNormal),
            ("file://docs", NotNormal),
            ("file:docs", NotNormal),
            ("file://localhost/docs/a", NotNormal),
            ("http:example.com/", NotNormal),
            ("http:/example.com/", NotNormal),
            ("http://example.com", NotNormal),
            ("http://example.com:80/", NotNormal),
            ("http://example.com:/", NotNormal),
            ("http://example.com:080/", NotNormal),
            ("http://EXAMPLE.com/", NotNormal),
            ("http://0x7f.1/", NotNormal),
            ("http://ex%61mple.com/", NotNormal),
            ("http://@example.com/", NotNormal),
            ("http://example.com/?a='b'", NotNormal),
            ("demo://Resource/static", NotNormal),
            ("demo://resource/static/../dynamic/text/1", NotNormal),
            ("demo://h:/x", NotNormal),
            ("memo:/.//a", Hidden),
            ("memo:a/../b", Hidden),
            ("file:///docs/\t../secret", NoUri),
            ("file:///do\ncs/a", NoUri),
            (" file:///docs/a", NoUri),
            ("file:///docs/a ", NoUri),
            ("file:///docs/a b", NoUri),
            ("file:\\\\\\docs\\a", NoUri),
            ("file:///docs/\u{fc}ber.md", NoUri),
            ("file:///docs/{x}", NoUri),
            ("file:///docs/%zz", NoUri),
            ("file:///docs/%2", NoUri),
            ("docs/a", NoUri),
            ("", NoUri),
            ("demo://x/..%2F..%2Fsecret", Hidden),
            ("demo://x/a%5C..%5Cb", Hidden),
            ("demo://x/a%00b", Hidden),
            ("demo://x/a%0Ab", Hidden),
            ("demo://x/%FF", Hidden),
            ("demo://x/%C0%AE%C0%AE/", Hidden),
            ("demo://x/u%CC%88ber", NotComposed),
            ("file:///docs/?/../../secret/key", OddFile),
            ("file:///docs/#/../../secret/key", OddFile),
            ("file:///docs/a?x", OddFile),
            ("file:///docs/a#x", OddFile),
            ("demo://docs/?/../../secret/key", Hidden),
            ("demo://docs/#/../../secret/key", Hidden),
            ("demo://docs/?../secret", Hidden),
            ("file://../secret", Hidden),
            ("file://./secret", Hidden),
            ("http://h/pub/..;x", Hidden),
            ("http://h/pub/..;x/a", Hidden),
            ("http://h/pub/.;/a", Hidden),
            ("demo://docs/?a/%2E%2E/b", NotNormal),
            ("demo://docs/#a%2F..%2Fb", Hidden),
            ("file:///docs//secret/key", OddFile),
            ("file:////docs/a", NotNormal),
            ("file:///docs%2Fsecret/key", OddFile),
            ("file:///docs%5Csecret", OddFile),
        ] {
            assert_eq!(check_uri(uri), Err(fault), "{uri}");
        }
    }

    #[test]
    fn the_text_of_a_template_outside_expressions_has_to_be_normal() {
        for template in [
            "demo://resource/dynamic/text/{resourceId}",
            "file:///{path}",
            "file://{path}",
            "file://{+path}",
            "{scheme}://{host}/x",
            "http://{host}",
            "http://localhost:{port}/a{?b,c}",
            "svelte://{/slug*}.md",
            "repo://{owner}/{repo}/contents{/path*}",
            "users://{id}/profile",
            "memo://insights",
            "search:{query}",
        ] {
            assert_eq!(check_template(template), Ok(()), "{template}");
        }
        for template in
            ["file:///docs/../{x}", "FILE:///{x}", "a{b}", "x://{", "x://}{", "x://{a b}", "x://\u{fc}/{a}"]
        {
            assert!(check_template(template).is_err(), "{template}");
        }
    }
}
