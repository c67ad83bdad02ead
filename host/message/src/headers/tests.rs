use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri};
use witgate_plugin::Scheme;

use super::credentials::CredentialError;
use super::origin::AllowedNames;
use super::{agree, credentials, media};
use crate::call::Call;
use crate::era::Era;
use crate::fault::MessageFault;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn modern(method: &str, params: &str) -> Call {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    Call::parse(Bytes::from(body)).unwrap()
}

fn plain(body: &'static str) -> Call {
    Call::parse(Bytes::from_static(body.as_bytes())).unwrap()
}

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

#[test]
fn headers_equal_to_the_body_are_accepted() {
    let call = modern("tools/call", r#""name":"get","#);
    for name in ["get", "=?base64?Z2V0?=", "  get  "] {
        let headers = headers(&[VERSION, ("mcp-method", "tools/call"), ("mcp-name", name)]);
        assert_eq!(agree::check(&call, &headers), Ok(Era::Stateless), "{name}");
    }
    let list = modern("tools/list", "");
    assert_eq!(agree::check(&list, &headers(&[VERSION, ("mcp-method", "tools/list")])), Ok(Era::Stateless));
}

#[test]
fn headers_that_differ_from_the_body_are_refused() {
    let call = modern("tools/call", r#""name":"get","#);
    let method = ("mcp-method", "tools/call");
    let name = ("mcp-name", "get");
    let cases: &[&[(&'static str, &str)]] = &[
        &[],
        &[VERSION, method],
        &[VERSION, name],
        &[method, name],
        &[("mcp-protocol-version", "2025-11-25"), method, name],
        &[VERSION, ("mcp-method", "tools/list"), name],
        &[VERSION, ("mcp-method", "TOOLS/CALL"), name],
        &[VERSION, method, ("mcp-name", "other")],
        &[VERSION, method, ("mcp-name", "GET")],
        &[VERSION, method, name, name],
        &[VERSION, VERSION, method, name],
        &[VERSION, method, method, name],
        &[VERSION, method, ("mcp-name", "g\u{e9}t")],
        &[VERSION, method, ("mcp-name", "=?base64?Z2V0")],
        &[VERSION, method, ("mcp-name", "Z2V0")],
        &[VERSION, method, ("mcp-name", "=?base64?Z2V?=")],
        &[VERSION, method, ("mcp-name", "=?base64?Z2!0?=")],
        &[VERSION, method, ("mcp-name", "=?BASE64?Z2V0?=")],
    ];
    for lines in cases {
        let result = agree::check(&call, &headers(lines));
        assert!(matches!(result, Err(MessageFault::HeaderMismatch(_))), "{lines:?}: {result:?}");
    }
}

#[test]
fn headers_are_checked_in_the_order_of_the_sdk() {
    let bare = plain(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#);
    let right = headers(&[VERSION, ("mcp-method", "tools/list")]);
    assert!(matches!(agree::check(&bare, &right), Err(MessageFault::InvalidParams(_))));
    let future = plain(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"v999.0.0","io.modelcontextprotocol/clientCapabilities":{}}}}"#,
    );
    assert!(matches!(agree::check(&future, &right), Err(MessageFault::HeaderMismatch(_))));
    let both = headers(&[("mcp-protocol-version", "v999.0.0"), ("mcp-method", "tools/list")]);
    let unsupported = MessageFault::UnsupportedVersion {
        requested: "v999.0.0".to_owned(),
        supported: vec!["2026-07-28".to_owned()],
    };
    assert_eq!(agree::check(&future, &both), Err(unsupported));
    let half = plain(
        r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
    );
    assert!(matches!(agree::check(&half, &right), Err(MessageFault::InvalidParams(_))));
}

#[test]
fn the_stateful_era_may_omit_headers_but_not_contradict_the_body() {
    let call = plain(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get"}}"#);
    assert_eq!(agree::check(&call, &HeaderMap::new()), Ok(Era::Stateful));
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        assert_eq!(agree::check(&call, &headers(&[("mcp-protocol-version", version)])), Ok(Era::Stateful));
    }
    let unknown = agree::check(&call, &headers(&[("mcp-protocol-version", "1999-01-01")]));
    assert!(matches!(unknown, Err(MessageFault::UnsupportedVersion { .. })));
    for lie in [("mcp-method", "tools/list"), ("mcp-name", "other")] {
        let result = agree::check(&call, &headers(&[lie]));
        assert!(matches!(result, Err(MessageFault::HeaderMismatch(_))), "{lie:?}");
    }
}

#[test]
fn the_stateless_era_has_no_answers_and_no_bodiless_methods() {
    let answer = plain(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(agree::check(&answer, &HeaderMap::new()), Ok(Era::Stateful));
    assert!(matches!(agree::check(&answer, &headers(&[VERSION])), Err(MessageFault::InvalidRequest(_))));
    assert_eq!(agree::check_bodiless(&headers(&[VERSION])), Err(MessageFault::MethodNotAllowed));
    assert_eq!(agree::check_bodiless(&headers(&[("mcp-protocol-version", "2025-11-25")])), Ok(()));
}

#[test]
fn names_survive_their_encoding_in_headers() {
    let cases = [
        ("get_weather", "get_weather"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("a\tb", "=?base64?YQli?="),
    ];
    for (name, header) in cases {
        assert_eq!(agree::encode(name), header);
        let name = serde_json::to_string(name).unwrap();
        let call = modern("prompts/get", &format!(r#""name":{name},"#));
        let headers = headers(&[VERSION, ("mcp-method", "prompts/get"), ("mcp-name", header)]);
        assert_eq!(agree::check(&call, &headers), Ok(Era::Stateless), "{header}");
    }
}

#[test]
fn only_plain_json_is_accepted() {
    for good in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""]
    {
        assert_eq!(media::is_json(&headers(&[("content-type", good)])), Ok(()), "{good}");
    }
    let bad: &[&[(&'static str, &str)]] = &[
        &[],
        &[("content-type", "text/plain")],
        &[("content-type", "application/json-patch+json")],
        &[("content-type", "application/json; charset=utf-16")],
        &[("content-type", "application/json"), ("content-type", "text/plain")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ];
    for lines in bad {
        assert_eq!(media::is_json(&headers(lines)), Err(MessageFault::UnsupportedMediaType), "{lines:?}");
    }
}

#[test]
fn clients_must_accept_json_and_may_accept_event_streams() {
    for (value, json, events) in [
        ("application/json, text/event-stream", true, true),
        ("text/event-stream;q=0.5,application/json;q=0.1", true, true),
        ("*/*", true, true),
        ("application/*, text/*", true, true),
        ("application/json", true, false),
        ("application/json, text/event-stream;q=0", true, false),
        ("application/*", true, false),
        ("text/event-stream", false, true),
        ("*/*, application/json;q=0", false, true),
        ("text/html", false, false),
        ("", false, false),
        ("*/*;q=0", false, false),
    ] {
        let accept = headers(&[("accept", value)]);
        let takes = (media::accepts_json(&accept).is_ok(), media::accepts_events(&accept).is_ok());
        assert_eq!(takes, (json, events), "{value}");
    }
    let none = HeaderMap::new();
    assert_eq!((media::accepts_json(&none), media::accepts_events(&none)), (Ok(()), Ok(())));
}

#[test]
fn only_allowed_hosts_are_accepted() {
    let names = AllowedNames::new(["mcp.example.com", "[2001:db8::1]"], []);
    let check =
        |host: &str| names.check_host(&Uri::from_static("/mcp"), &headers(&[("host", host)]), Some(LOCAL));
    for good in [
        "localhost:8787",
        "127.0.0.1",
        "[::1]:80",
        "MCP.example.com:443",
        "mcp.example.com.",
        "[2001:db8::1]",
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "evil.example.com",
        "localhost.evil.com",
        "mcp.example.com@evil.com",
        "10.0.0.1",
        "",
        "a b",
        "127.0.0.1.nip.io",
    ] {
        assert_eq!(check(bad), Err(MessageFault::ForbiddenHost), "{bad}");
    }
    let two = headers(&[("host", "localhost"), ("host", "evil.example.com")]);
    assert!(names.check_host(&Uri::from_static("/mcp"), &two, Some(LOCAL)).is_err());
    let absolute = Uri::from_static("http://evil.example.com/mcp");
    assert!(names.check_host(&absolute, &headers(&[("host", "localhost")]), Some(LOCAL)).is_err());
    assert!(names.check_host(&Uri::from_static("/mcp"), &HeaderMap::new(), Some(LOCAL)).is_err());
}

#[test]
fn a_star_stands_for_one_label_before_a_zone() {
    let names = AllowedNames::new(["*.Example.com"], []);
    let check = |host: &str| names.check_host(&Uri::from_static("/mcp"), &headers(&[("host", host)]), None);
    for good in ["a.example.com", "A.EXAMPLE.com:443", "a.example.com.", "xn--bcher-kva.example.com"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "example.com",
        ".example.com",
        "a.b.example.com",
        "aexample.com",
        "a.example.com.evil.com",
        "*",
        "a.example.com@evil.com",
        "a.com",
    ] {
        assert_eq!(check(bad), Err(MessageFault::ForbiddenHost), "{bad}");
    }
}

#[test]
fn only_allowed_origins_and_the_servers_own_loopback_origin_may_call() {
    let names = AllowedNames::new([], ["https://app.example.com"]);
    let check =
        |host: &str, origin: &str| names.check_origin(&headers(&[("host", host), ("origin", origin)]));
    assert_eq!(names.check_origin(&headers(&[("host", "localhost")])), Ok(()));
    for (host, origin) in [
        ("mcp.example.com", "https://app.example.com"),
        ("localhost:80", "http://localhost:80"),
        ("127.0.0.1:8787", "http://127.0.0.1:8787"),
    ] {
        assert_eq!(check(host, origin), Ok(()), "{origin}");
    }
    for (host, origin) in [
        ("localhost:80", "http://localhost:81"),
        ("localhost:80", "http://evil.example.com"),
        ("evil.example.com", "http://evil.example.com"),
        ("localhost:80", "null"),
        ("localhost:80", "https://app.example.com.evil.com"),
        ("localhost:80", "http://localhost:80.evil.com"),
    ] {
        assert_eq!(check(host, origin), Err(MessageFault::ForbiddenOrigin), "{origin}");
    }
}

#[test]
fn credentials_are_removed_from_the_headers() {
    let declared = ["x-api-key".parse().unwrap()];
    let mut headers = headers(&[
        ("authorization", "bEaReR  abc.def"),
        ("x-api-key", "k1"),
        ("cookie", "session=1"),
        ("proxy-authorization", "Basic x"),
        ("traceparent", "00-1"),
    ]);
    let shown = credentials::take(&mut headers, &declared).unwrap();
    assert_eq!(headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["traceparent"]);
    assert_eq!(shown.first_of(&[Scheme::Bearer], &[], None).unwrap().value, "abc.def");
    assert_eq!(shown.first_of(&[Scheme::Header], &declared, None).unwrap().value, "k1");
}

#[test]
fn several_headers_of_a_policy_hold_one_credential() {
    let declared = ["x-api-key", "api-key", "x-other"].map(|name| name.parse().unwrap());
    let group = &declared[..2];
    for (values, first, conflict) in [
        (&[("api-key", "k1")][..], Some("k1"), false),
        (&[("api-key", "k1"), ("x-api-key", "k1")], Some("k1"), false),
        (&[("api-key", "k1"), ("x-api-key", "k2")], Some("k2"), true),
        // The header of another policy.
        (&[("api-key", "k1"), ("x-other", "k2")], Some("k1"), false),
        (&[("x-other", "k2")], None, false),
    ] {
        let shown = credentials::take(&mut headers(values), &declared).unwrap();
        let credential = shown.first_of(&[Scheme::Header], group, None);
        assert_eq!(credential.map(|credential| credential.value), first, "{values:?}");
        assert_eq!(shown.conflict(group).is_some(), conflict, "{values:?}");
    }
}

#[test]
fn ambiguous_credentials_are_refused() {
    let declared = ["x-api-key".parse().unwrap()];
    let long = format!("Bearer {}", "a".repeat(16 << 10));
    let bad: &[&[(&'static str, &str)]] = &[
        &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
        &[("authorization", "Bearer a, Bearer b")],
        &[("authorization", "Bearer a b")],
        &[("authorization", "")],
        &[("authorization", &long)],
        &[("authorization", "Bearer \u{e9}")],
        &[("x-api-key", "a"), ("x-api-key", "b")],
        &[("x-api-key", "")],
    ];
    for lines in bad {
        let result = credentials::take(&mut headers(lines), &declared);
        assert!(
            matches!(result, Err(CredentialError::Malformed(MessageFault::BadCredential(_)))),
            "{lines:.80?}"
        );
    }
    for nothing in ["Bearer", "bearer ", "DPoP", "Basic"] {
        let beside = headers(&[("authorization", nothing), ("x-api-key", "good")]);
        for mut lines in [headers(&[("authorization", nothing)]), beside] {
            let result = credentials::take(&mut lines, &declared);
            assert!(matches!(result, Err(CredentialError::NoToken)), "{nothing}");
        }
    }
    let strange = credentials::take(&mut headers(&[("authorization", "Negotiate abc")]), &declared);
    assert!(matches!(strange, Err(CredentialError::UnknownScheme)));
}

#[test]
fn a_credential_in_a_query_is_refused() {
    let declared = ["x-team-key".parse().unwrap()];
    for bad in [
        "access_token=a",
        "x=1&token=a",
        "api_key=a",
        "API-Key=a",
        "apikey=a",
        "%61ccess_token=a",
        "X-Team-Key=a",
        "authorization=Bearer+a",
        "token",
    ] {
        let result = credentials::none_in_query(Some(bad), &declared);
        assert!(matches!(result, Err(MessageFault::BadCredential(_))), "{bad}");
    }
    for good in [None, Some(""), Some("session=1&x=token")] {
        assert_eq!(credentials::none_in_query(good, &declared), Ok(()), "{good:?}");
    }
}
