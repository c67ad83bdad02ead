//! Attacks by headers, targets and framing.

use serde_json::json;
use witgate_tests::gateway::PATIENCE;
use witgate_tests::wire::{Answer, Request, STATEFUL, STATELESS, exchange, read_answer};

use super::testbed::{ENDPOINTS, Findings, MARK, Testbed};

const CHALLENGE: &str = "Bearer realm=\"mcp\"";
const INVALID_TOKEN: &str = "Bearer error=\"invalid_token\", realm=\"mcp\"";
const INVALID_REQUEST: &str = "Bearer error=\"invalid_request\", realm=\"mcp\"";
const MISMATCH: (u16, i64, &str) = (400, -32020, "header-mismatch");
const CREDENTIAL: (u16, i64, &str) = (400, 400, "bad-credential");

/// A good call of either era, marked.
fn call(testbed: &Testbed, path: &str) -> Request {
    testbed.stateless("all", path, "tools/call", json!({ "name": "greet", "arguments": { "name": MARK } }))
}

#[test]
fn ambiguous_senders_and_credentials_are_refused() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let port = testbed.gateway.address().rsplit_once(':').unwrap().1.to_owned();
    let (key, other) = (testbed.key("all"), testbed.key("other"));
    for path in ENDPOINTS {
        let good = call(&testbed, path);
        let mut expect = |what: &str, request: &Request, expected: (u16, i64, &str)| {
            findings.expect(&format!("{path}: {what}"), &request.send(), expected);
        };
        let origin = (403, 403, "forbidden-origin");
        for value in [
            "https://evil.example",
            "null",
            "",
            "https://app.example.com.evil.example",
            "http://app.example.com",
            "https://app.example.com:8443",
            "file://",
            "http://localhost",
            "http://127.0.0.1:1",
            "https://app.example.com, https://evil.example",
        ] {
            expect(&format!("Origin: {value}"), &good.clone().with("Origin", value), origin);
        }
        let two =
            good.clone().with("Origin", "https://app.example.com").with("Origin", "https://evil.example");
        expect("two origins", &two, origin);

        let host = (403, 403, "forbidden-host");
        for value in [
            "evil.example",
            &format!("evil.example:{port}"),
            &format!("localhost.evil.example:{port}"),
            &format!("localhost:{port}@evil.example"),
            "127.0.0.1.nip.io",
            "8.8.8.8",
            "[2001:db8::1]",
            "0.0.0.0",
            "",
        ] {
            expect(&format!("Host: {value}"), &good.clone().set("Host", value), host);
        }
        expect("two hosts", &good.clone().with("Host", "evil.example"), host);
        let absolute = good.clone().target(&format!("http://evil.example{path}"));
        expect("another host in the target", &absolute, host);
        // The counterpart: valid requests pass.
        let both = good.clone().set("Host", &format!("localhost:{port}"));
        let both = both.with("Origin", &format!("http://localhost:{port}")).body("[").send();
        findings.expect("its own origin", &both, (400, -32600, "invalid-request"));

        let mut expect = |what: &str, request: &Request, expected, challenge: Option<&str>| {
            findings.expect_challenge(&format!("{path}: {what}"), &request.send(), expected, challenge);
        };
        let bare = good.clone().without("Authorization");
        for query in [
            format!("access_token={key}"),
            format!("token={key}"),
            format!("api_key={key}"),
            format!("apiKey={key}"),
            format!("X-API-Key={key}"),
            format!("a=b&Access%5FToken={key}"),
            "authorization=".to_owned(),
        ] {
            let target = format!("{path}?{query}");
            expect(&format!("?{query}"), &bare.clone().target(&target), CREDENTIAL, Some(INVALID_REQUEST));
            // Nor beside a good one.
            expect(
                &format!("?{query} and a header"),
                &good.clone().target(&target),
                CREDENTIAL,
                Some(INVALID_REQUEST),
            );
        }
        let bearer = format!("Bearer {key}");
        for (what, request) in [
            ("Authorization twice", good.clone().with("Authorization", &bearer)),
            ("two credentials", good.clone().with("authorization", &format!("Bearer {other}"))),
            ("two in one", bare.clone().with("Authorization", &format!("{bearer}, Bearer {other}"))),
            ("a key twice", bare.clone().with("X-API-Key", key).with("x-api-key", other)),
            ("no text", bare.clone().with_bytes("Authorization", b"Bearer \xff\xfe")),
            ("empty", bare.clone().with("Authorization", "")),
            ("two tokens", bare.clone().with("Authorization", &format!("{bearer} {other}"))),
            ("too long", bare.clone().with("Authorization", &format!("Bearer {}", "a".repeat(17 << 10)))),
        ] {
            expect(what, &request, CREDENTIAL, Some(INVALID_REQUEST));
        }
        let wrong = format!("{}x", &key[..key.len() - 1]);
        for (what, request, reason, challenge) in [
            ("nothing", bare.clone(), "no-credential", CHALLENGE),
            ("no token", bare.clone().with("Authorization", "Bearer"), "no-credential", CHALLENGE),
            (
                "no token beside a key",
                bare.clone().with("Authorization", "Bearer").with("X-API-Key", key),
                "no-credential",
                CHALLENGE,
            ),
            ("a cookie", bare.clone().with("Cookie", &format!("token={key}")), "no-credential", CHALLENGE),
            ("for a proxy", bare.clone().with("Proxy-Authorization", &bearer), "no-credential", CHALLENGE),
            ("a wrong key", good.clone().bearer(&wrong), "", INVALID_TOKEN),
            ("a key in capitals", good.clone().bearer(&key.to_uppercase()), "", INVALID_TOKEN),
            ("a part of the key", good.clone().bearer(&key[..key.len() - 1]), "", INVALID_TOKEN),
            ("a wrong key in its header", bare.clone().with("X-API-Key", &wrong), "", INVALID_TOKEN),
            (
                "another scheme",
                bare.clone().with("Authorization", &format!("Digest {key}")),
                "unsupported-scheme",
                INVALID_TOKEN,
            ),
            ("no scheme", bare.clone().with("Authorization", key), "unsupported-scheme", INVALID_TOKEN),
            ("Basic", bare.clone().with("Authorization", "Basic dTpw"), "unrecognised", INVALID_TOKEN),
        ] {
            let answer = request.send();
            let (status, code, found_reason) = answer.refusal();
            let is_right = (status, code) == (401, 401)
                && (found_reason == reason || reason.is_empty() && found_reason != "no-credential")
                && answer.header("www-authenticate") == Some(challenge);
            findings.check(&format!("{path}: {what}"), is_right, &answer);
        }
    }
    testbed.nothing_forged_arrived();
    // A valid credential beside a refused one does not help.
    let call = || testbed.stateless("all", "/stateless/mcp", "tools/call", json!({ "name": "greet" }));
    let answer = call().with("X-API-Key", "wg_wrong").send();
    let is_refused = answer.status == 401 && answer.header("www-authenticate") == Some(INVALID_TOKEN);
    findings.check("a wrong key beside a good token", is_refused, &answer);
    findings.report();
}

#[test]
fn wrong_media_types_methods_and_framing_are_refused() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    for path in ENDPOINTS {
        let good = call(&testbed, path);
        let media = (415, 415, "unsupported-media-type");
        for value in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json-rpc",
            "application/jsonx",
            "application/json; charset=utf-16",
            "application/json; charset=latin1",
            "text/plain, application/json",
            "",
        ] {
            let answer = good.clone().set("Content-Type", value).send();
            findings.expect(&format!("{path}: Content-Type: {value}"), &answer, media);
        }
        let answer = good.clone().without("Content-Type").send();
        findings.expect(&format!("{path}: no Content-Type"), &answer, media);
        let answer = good.clone().with("Content-Type", "application/json").send();
        findings.expect(&format!("{path}: two Content-Types"), &answer, media);
        for coding in ["gzip", "br", "identity"] {
            let answer = good.clone().with("Content-Encoding", coding).send();
            findings.expect(&format!("{path}: Content-Encoding: {coding}"), &answer, media);
        }
        for value in ["text/html", "text/event-stream", "application/json;q=0, text/event-stream"] {
            let answer = good.clone().set("Accept", value).send();
            findings.expect(&format!("{path}: Accept: {value}"), &answer, (406, 406, "not-acceptable"));
        }
        for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "HEAD", "post"] {
            let answer = Request::new(method, &testbed.gateway.address(), path)
                .bearer(testbed.key("all"))
                .with("Content-Length", "0")
                .send();
            findings.check(&format!("{path}: {method}"), answer.status == 405, &answer);
        }
        for method in ["GET", "DELETE"] {
            let answer = Request::new(method, &testbed.gateway.address(), path)
                .with("Accept", "text/event-stream")
                .with("MCP-Protocol-Version", STATELESS)
                .bearer(testbed.key("all"))
                .send();
            let expected = (405, 405, "method-not-allowed");
            findings.expect(&format!("{path}: {method} of the stateless era"), &answer, expected);
            findings.check("Allow", answer.header("allow") == Some("POST"), &answer);
        }
        let too_large = (413, 413, "too-large");
        let large = vec![b' '; (4 << 20) + 1];
        let answer = good.clone().body(large.clone()).send();
        findings.expect(&format!("{path}: 4 MiB and a byte"), &answer, too_large);
        let answer = good.clone().body(large).chunked().send();
        findings.expect(&format!("{path}: 4 MiB and a byte in chunks"), &answer, too_large);
        // Refused by its length, before it is sent.
        let announced = good.clone().body("").with("Content-Length", "99999999999");
        let answer = announced.send();
        findings.check(&format!("{path}: two lengths"), answer.status == 400, &answer);
        let answer = raw(&testbed, path, "Content-Length: 99999999999\r\n", "");
        findings.expect(&format!("{path}: an announced giant"), &answer, too_large);
        smuggle(&testbed, path, &mut findings);
    }
    for path in [
        "/record/mcp//",
        "/record/mcp/%2F",
        "/record/mcp%2F",
        "//record/mcp",
        "/x/../record/mcp",
        "/record/%6dcp",
        "/RECORD/mcp",
        "/record/mcp;x",
    ] {
        let answer = call(&testbed, path).send();
        findings.check(path, answer.status == 404, &answer);
    }
    testbed.nothing_forged_arrived();
    findings.report();
}

fn raw(testbed: &Testbed, path: &str, framing: &str, body: &str) -> Answer {
    let (address, key) = (testbed.gateway.address(), testbed.key("all"));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{framing}\r\n"
    );
    exchange(&address, format!("{head}{body}").as_bytes())
}

/// Requests hidden in others: no part of the inner one ever counts as a request.
fn smuggle(testbed: &Testbed, path: &str, findings: &mut Findings) {
    let inner = format!("POST {path} HTTP/1.1\r\nHost: x\r\n\r\n{MARK}");
    for (what, framing) in [
        ("both framings", format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", inner.len() + 5)),
        ("a coding that is none", "Transfer-Encoding: xchunked\r\n".to_owned()),
        ("chunked in front", "Transfer-Encoding: chunked, identity\r\n".to_owned()),
        ("two lengths", format!("Content-Length: 5\r\nContent-Length: {}\r\n", inner.len() + 5)),
        ("a negative length", "Content-Length: -1\r\n".to_owned()),
        ("a length with a sign", "Content-Length: +5\r\n".to_owned()),
        ("a folded header", "X-A: 1\r\n Content-Length: 5\r\n".to_owned()),
        ("a blank before the colon", "Content-Length : 5\r\n".to_owned()),
    ] {
        let answer = raw(testbed, path, &framing, &format!("0\r\n\r\n{inner}"));
        findings.check(&format!("{path}: {what}"), answer.status == 400, &answer);
    }
}

#[test]
fn headers_that_contradict_the_body_are_refused() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    for path in ENDPOINTS {
        let good = call(&testbed, path);
        for (what, request) in [
            ("another method", good.clone().set("Mcp-Method", "tools/list")),
            ("the method in capitals", good.clone().set("Mcp-Method", "TOOLS/CALL")),
            ("no method", good.clone().without("Mcp-Method")),
            ("an empty method", good.clone().set("Mcp-Method", "")),
            ("two methods", good.clone().with("Mcp-Method", "tools/call")),
            ("two methods in one", good.clone().set("Mcp-Method", "tools/call, tools/list")),
            (
                "a method that is no text",
                good.clone().without("Mcp-Method").with_bytes("Mcp-Method", b"\xff"),
            ),
            ("another name", good.clone().set("Mcp-Name", "test_simple_text")),
            ("the name in capitals", good.clone().set("Mcp-Name", "GREET")),
            ("no name", good.clone().without("Mcp-Name")),
            ("two names", good.clone().with("Mcp-Name", "greet")),
            ("another name in base64", good.clone().set("Mcp-Name", "=?base64?dGVzdA==?=")),
            ("base64 without its end", good.clone().set("Mcp-Name", "=?base64?Z3JlZXQ=")),
            ("base64 without markers", good.clone().set("Mcp-Name", "Z3JlZXQ=")),
            ("base64 with capital markers", good.clone().set("Mcp-Name", "=?BASE64?Z3JlZXQ=?=")),
            ("base64 without padding", good.clone().set("Mcp-Name", "=?base64?Z3JlZXQ?=")),
            ("base64 with other letters", good.clone().set("Mcp-Name", "=?base64?Z3Jl!XQ=?=")),
            ("base64 with bits left over", good.clone().set("Mcp-Name", "=?base64?Z3JlZXR=?=")),
            ("base64 of no UTF-8", good.clone().set("Mcp-Name", "=?base64?//79?=")),
            ("a name with NUL in base64", good.clone().set("Mcp-Name", "=?base64?Z3JlZXQA?=")),
            ("another version", good.clone().set("MCP-Protocol-Version", STATEFUL)),
            ("no version", good.clone().without("MCP-Protocol-Version")),
            ("two versions", good.clone().with("MCP-Protocol-Version", STATELESS)),
            ("a later version", good.clone().set("MCP-Protocol-Version", "2099-01-01")),
        ] {
            findings.expect(&format!("{path}: {what}"), &request.send(), MISMATCH);
        }
        let stateful = testbed.stateful("all", path, "tools/call", json!({ "name": "greet", "x": MARK }));
        for (what, request, expected) in [
            ("stateful, another method", stateful.clone().with("Mcp-Method", "tools/list"), MISMATCH),
            ("stateful, another name", stateful.clone().with("Mcp-Name", "x"), MISMATCH),
            (
                "stateful, two sessions",
                stateful.clone().with("Mcp-Session-Id", "a").with("Mcp-Session-Id", "b"),
                MISMATCH,
            ),
            ("stateful, two versions", stateful.clone().with("MCP-Protocol-Version", "2025-06-18"), MISMATCH),
            (
                "no metadata",
                stateful.clone().set("MCP-Protocol-Version", STATELESS),
                (400, -32602, "invalid-params"),
            ),
            (
                "a version of no era",
                stateful.clone().set("MCP-Protocol-Version", "1999-01-01"),
                (400, -32022, "unsupported-version"),
            ),
            (
                "a version of letters",
                stateful.clone().set("MCP-Protocol-Version", "draft"),
                (400, -32602, "invalid-params"),
            ),
        ] {
            findings.expect(&format!("{path}: {what}"), &request.send(), expected);
        }
        let body = json!({
            "jsonrpc": "2.0", "id": MARK, "method": "tools/call",
            "params": { "name": "greet", "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2099-01-01",
                "io.modelcontextprotocol/clientCapabilities": {},
            } },
        });
        let later = good.clone().set("MCP-Protocol-Version", "2099-01-01").body(body.to_string()).send();
        findings.expect(
            &format!("{path}: a version of the future"),
            &later,
            (400, -32022, "unsupported-version"),
        );
        let data = &later.message()["error"]["data"];
        let is_said = data["requested"] == "2099-01-01" && data["supported"] == json!([STATELESS]);
        findings.check("the versions", is_said, &later);
        findings.check("the id", later.message()["id"] == MARK, &later);
    }
    testbed.nothing_forged_arrived();
    for path in ["/stateless/mcp", "/stateful/mcp", "/record/mcp"] {
        let good = call(&testbed, path);
        let answer = good.clone().set("Mcp-Name", "=?base64?Z3JlZXQ=?=").send();
        findings.check(&format!("{path}: the name in base64"), answer.status == 200, &answer);
        findings.check(path, good.send().status == 200, &answer);
    }
    findings.report();
}

/// Most clients send all of a body before they read anything (RFC 9112, section 9.6).
#[test]
fn a_client_that_sends_everything_before_reading_gets_the_reason_of_a_refusal() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let body = vec![b' '; 12 << 20];
    let good = call(&testbed, ENDPOINTS[0]).body(body.clone());
    let admin = testbed.gateway.admin_url();
    let admin = admin.strip_prefix("http://").unwrap();
    for (what, request, status) in [
        ("a length", good.clone(), 413),
        ("chunks", good.clone().chunked(), 413),
        ("no media type", good.clone().without("Content-Type"), 415),
        ("another host", good.clone().set("Host", "evil.example"), 403),
        (
            "another method",
            Request::new("PUT", &testbed.gateway.address(), ENDPOINTS[0]).body(body.clone()),
            405,
        ),
        ("nothing there", call(&testbed, "/nothing").body(body.clone()), 404),
        ("a form for the operator", Request::post(admin, "/revoke", body), 413),
    ] {
        let answer = read_answer(&request.open(), PATIENCE, |_| false);
        findings.check(what, answer.status == status, &answer);
    }
    findings.report();
}
