//! The credentials in headers and queries.
//!
//! The input is lines: the headers that policies have declared, the query, then one header each.
//! What is taken is out of the headers, is what was shown, and prints nowhere.

use std::fmt::Debug;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use witgate_component::output::is_of_the_protocol;
use witgate_flow::reject::Rejection;
use witgate_message::credential::Credentials;
use witgate_message::headers::credentials::{none_in_query, take};
use witgate_plugin::Scheme;

/// The proof that belongs to a token. There may be several; whether they are good is judged later.
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Ends every credential. No header name, and nothing that Witgate says itself, holds it. An input that contains it
/// shows nothing, because other headers may be printed.
const MARK: &str = "{secret}";

/// Takes the credentials of an input, and looks at what is left.
///
/// # Panics
/// Where something of a credential is left, or what was taken is not what was shown.
pub fn check(data: &[u8]) {
    if data.windows(MARK.len()).any(|part| part == MARK.as_bytes()) {
        return;
    }
    let mut lines = data.split(|byte| *byte == b'\n');
    let declared = declared(lines.next().unwrap_or_default());
    let query = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    query_is_judged_without_a_word_of_it(query, &declared);

    let before = headers(lines, &declared);
    let mut after = before.clone();
    match take(&mut after, &declared) {
        Err(not_taken) => {
            silent(&not_taken);
            silent(&String::from_utf8_lossy(&Rejection::from(not_taken).wire().body(None)));
        }
        Ok(credentials) => {
            silent(&credentials);
            silent(&after);
            gone(&after, &declared);
            the_others_stay(&before, &after, &declared);
            what_was_shown(&before, &credentials, &declared);
        }
    }
}

/// Headers of the protocol are refused when a policy declares them.
fn declared(line: &[u8]) -> Vec<HeaderName> {
    let names = line.split(|byte| *byte == b' ').filter_map(|name| HeaderName::from_bytes(name).ok());
    names.filter(|name| !is_of_the_protocol(name.as_str())).collect()
}

fn query_is_judged_without_a_word_of_it(query: Option<&str>, declared: &[HeaderName]) {
    let marked = query.map(|query| format!("{query}&x={MARK}"));
    match none_in_query(marked.as_deref(), declared) {
        Err(rejection) => silent(&rejection),
        Ok(()) => {
            let bears = |part: &str| {
                let name = part.split('=').next().unwrap_or_default();
                name.eq_ignore_ascii_case("access_token")
                    || declared.iter().any(|declared| name.eq_ignore_ascii_case(declared.as_str()))
            };
            assert!(!query.is_some_and(|query| query.split('&').any(bears)), "{query:?} was let through");
        }
    }
}

fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>, declared: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let Ok(name) = HeaderName::from_bytes(&line[..colon]) else { continue };
        let mut value = line[colon + 1..].to_vec();
        if bears_a_credential(&name, declared) && !value.trim_ascii().is_empty() {
            let whole = name != AUTHORIZATION || declared.contains(&name);
            // A scheme's name is no secret.
            if whole || value.trim_ascii().contains(&b' ') {
                value.extend(MARK.bytes());
            }
        }
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(name, value);
        }
    }
    headers
}

fn bears_a_credential(name: &HeaderName, declared: &[HeaderName]) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, DPOP].contains(name) || declared.contains(name)
}

fn silent(what: &impl Debug) {
    let text = format!("{what:?} {what:#?}");
    assert!(!text.contains(MARK), "a credential prints: {text}");
}

fn gone(after: &HeaderMap, declared: &[HeaderName]) {
    for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, DPOP].iter().chain(declared) {
        assert!(!after.contains_key(name), "{name} is still there");
    }
}

fn the_others_stay(before: &HeaderMap, after: &HeaderMap, declared: &[HeaderName]) {
    for name in before.keys().filter(|name| !bears_a_credential(name, declared)) {
        let (was, is) = (before.get_all(name), after.get_all(name));
        assert!(was.iter().eq(is.iter()), "{name} is another now");
    }
    assert!(after.keys().all(|name| before.contains_key(name)), "a header has come in");
}

/// One header, one credential, and none of another value.
fn what_was_shown(before: &HeaderMap, credentials: &Credentials, declared: &[HeaderName]) {
    // Cookies and what is for proxies are dropped, even if somebody declares them.
    let elsewhere = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];
    for name in declared.iter().filter(|name| !elsewhere.contains(name)) {
        let values: Vec<_> = before.get_all(name).iter().collect();
        assert!(values.len() <= 1, "{name} stood there more than once");
        let was = values.first().map(|value| value.to_str().expect("a credential is text").trim());
        assert_eq!(value(credentials, Scheme::Header, Some(name)), was, "{name}");
    }
    let Some(line) = before.get(AUTHORIZATION) else {
        let none = [Scheme::Bearer, Scheme::Basic, Scheme::Dpop];
        assert!(none.iter().all(|scheme| value(credentials, *scheme, None).is_none()), "out of nothing");
        return;
    };
    assert_eq!(before.get_all(AUTHORIZATION).iter().count(), 1);
    let line = line.to_str().expect("a credential is text").trim();
    for (name, scheme) in [("bearer", Scheme::Bearer), ("basic", Scheme::Basic), ("dpop", Scheme::Dpop)] {
        let Some(token) = value(credentials, scheme, None) else { continue };
        let scheme_name = line.split(' ').next().unwrap_or_default();
        assert!(scheme_name.eq_ignore_ascii_case(name), "{scheme_name} was taken for {name}");
        assert!(line.ends_with(token) && !token.contains([' ', ',']) && !token.is_empty());
        let between = &line[scheme_name.len()..line.len() - token.len()];
        assert!(!between.is_empty() && between.trim_matches(' ').is_empty(), "a part of it is lost");
    }
}

fn value<'a>(credentials: &'a Credentials, scheme: Scheme, header: Option<&HeaderName>) -> Option<&'a str> {
    let headers = header.map_or(&[][..], std::slice::from_ref);
    credentials.first_of(&[scheme], headers, None).map(|credential| credential.value)
}
