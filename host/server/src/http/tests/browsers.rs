//! Tests of the access by pages in browsers (Fetch, "CORS protocol").

use super::*;

const PAGE: &str = "https://page.example";
const ALLOWED: &str =
    "allowed_origins = ['https://page.example']\nauthorization_servers = ['https://as.example']";

const DOCUMENT: &str = "/.well-known/oauth-protected-resource/mcp";

async fn open_gateway() -> TestGateway {
    gateway_with(ALLOWED, |request| result(request, json!({"content": []}))).await
}

fn origin(got: &Got) -> Option<&str> {
    got.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

fn line<'a>(got: &'a Got, name: &str) -> &'a str {
    got.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

async fn preflight(gateway: &TestGateway, path: &str, origin: &str) -> Got {
    let asked = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,mcp-param-region,x-other,x-api-key"),
    ];
    gateway.send_to(path, Method::OPTIONS, &asked, "").await
}

#[tokio::test]
async fn a_preflight_is_answered_before_any_credential() {
    let gateway = open_gateway().await;
    let got = preflight(&gateway, "", PAGE).await;
    assert_eq!((got.status, origin(&got), line(&got, "vary")), (204, Some(PAGE), "origin"), "{got:?}");
    assert_eq!(line(&got, "access-control-allow-methods"), "GET, POST, DELETE");
    let headers: Vec<_> = line(&got, "access-control-allow-headers").split(", ").collect();
    for name in [
        "content-type",
        "accept",
        "authorization",
        "dpop",
        "mcp-session-id",
        "mcp-protocol-version",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "traceparent",
        "x-api-key",
        "mcp-param-region",
    ] {
        assert!(headers.contains(&name), "{name}: {headers:?}");
    }
    assert!(!headers.contains(&"x-other"), "{headers:?}");
    assert_eq!(line(&got, "access-control-max-age"), "600");
    assert!(!got.headers.contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn a_preflight_of_another_origin_is_refused() {
    let gateway = open_gateway().await;
    for other in ["https://page.example.evil.example", "http://page.example", "null"] {
        let got = preflight(&gateway, "", other).await;
        assert_eq!((got.status, origin(&got), line(&got, "vary")), (403, None, "origin"), "{got:?}");
        let called = gateway.post_with(ALICE, &[("origin", other)], &call("tools/list", json!({}))).await;
        assert_eq!((called.status, origin(&called), line(&called, "vary")), (403, None, "origin"));
    }
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn every_answer_has_the_allowed_origin() {
    let gateway = open_gateway().await;
    let [get, post] = [Method::GET, Method::POST];
    let (key, page, long) = (("x-api-key", ALICE), ("origin", PAGE), "x".repeat((4 << 20) + 1));
    let allowed = call("tools/call", json!({"name": "get_it", "arguments": {}})).to_string();
    let denied = call("tools/call", json!({"name": "drop_it", "arguments": {}})).to_string();
    type Lines<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Method, Lines<'_>, &str, u16); 9] = [
        ("", post.clone(), &[key, JSON_BODY, BOTH], &allowed, 200),
        ("", post.clone(), &[JSON_BODY, BOTH], &allowed, 401),
        ("", post.clone(), &[key, JSON_BODY, BOTH], &denied, 403),
        ("", post.clone(), &[key, JSON_BODY, BOTH, ("host", "evil.example")], &allowed, 403),
        ("", post.clone(), &[key, JSON_BODY, BOTH], &long, 413),
        ("", post.clone(), &[key, BOTH], &allowed, 415),
        ("", Method::PUT, &[key], "", 405),
        ("", get.clone(), &[key, ("accept", "text/event-stream")], "", 405),
        ("/nothing", get, &[key], "", 404),
    ];
    for (path, method, lines, body, status) in cases {
        for with in [true, false] {
            let mut lines = lines.to_vec();
            lines.extend(with.then_some(page));
            let got = gateway.send_to(path, method.clone(), &lines, body.to_owned()).await;
            let what = format!("{path} {method} {status} {with}: {got:?}");
            assert_eq!(got.status, status, "{what}");
            assert_eq!((origin(&got), line(&got, "vary")), (with.then_some(PAGE), "origin"), "{what}");
            let exposed = line(&got, "access-control-expose-headers");
            let wanted = "dpop-nonce, mcp-protocol-version, mcp-session-id, ratelimit, ratelimit-policy, retry-after, witgate-decision, www-authenticate";
            assert_eq!(exposed, if with { wanted } else { "" }, "{what}");
        }
    }
}

#[tokio::test]
async fn metadata_documents_are_readable_by_every_origin() {
    let gateway = open_gateway().await;
    for from in [PAGE, "https://other.example"] {
        let asked = preflight(&gateway, DOCUMENT, from).await;
        assert_eq!((asked.status, origin(&asked)), (204, Some("*")), "{asked:?}");
        let got = gateway.send_to(DOCUMENT, Method::GET, &[("origin", from)], "").await;
        assert_eq!((got.status, origin(&got)), (200, Some("*")), "{got:?}");
    }
}
