//! Tests of credentials in the arguments of tools.

use std::io::Read as _;
use std::os::fd::OwnedFd;

use super::sessions::{open, with_sessions};
use super::*;
use witgate_config::AuditOverflow;
use witgate_flow::Arrival;
use witgate_flow::audit::Audit;
use witgate_runtime::lines::{LineWriter, SharedOutput};
use witgate_runtime::log::entry::LogFormat;

/// A policy for keys in `auth_token`, whose holders see the tools `get_*` before they have shown a key.
const ARGUMENT: &str = "[policies.keys]\nkind = 'api-key'\nargument = 'auth_token'\nconfig = { store = 'keys.toml' }\n\
    [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\nanonymous = { lists = ['get_*'] }\n";

async fn guarded<F>(respond: F) -> TestGateway
where
    F: Fn(&Received) -> StubAnswer + Send + Sync + 'static,
{
    gateway_guarded("", ARGUMENT, respond).await
}

/// POSTs a message of the stateful era without a credential in a header.
async fn post(gateway: &TestGateway, lines: &[(&str, &str)], body: impl Into<Bytes>) -> Got {
    gateway.send(Method::POST, &[&[JSON_BODY, BOTH], lines].concat(), body).await
}

fn stateless(request: &Received) -> StubAnswer {
    let answer = || result(request, json!({ "resultType": "complete", "content": [] }));
    discovers(request).unwrap_or_else(answer)
}

#[tokio::test]
async fn the_tool_gets_everything_but_the_credential() {
    let gateway = guarded(|request| result(request, json!({ "content": [] }))).await;
    let body = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id": 1,"method":"tools/call","params":{{"arguments":{arguments},"name":"get_a"}}}}"#
        )
    };
    let sent = body(&format!(r#"{{ "a":1.50, "auth_token":"{ALICE}" , "b":[ ]}}"#));
    let got = post(&gateway, &[], sent).await;
    assert_eq!(got.status, 200, "{got:?}");
    let received = gateway.received();
    let last = received.last().unwrap();
    assert_eq!(last.body, body(r#"{ "a":1.50 , "b":[ ]}"#));
    assert!(!format!("{received:?}").contains(ALICE));
}

#[tokio::test]
async fn a_header_that_repeats_the_credential_is_not_forwarded() {
    let gateway = guarded(stateless).await;
    let params = json!({ "name": "get_a", "arguments": { "auth_token": ALICE, "region": "west" } });
    let mut lines = modern_lines("", "tools/call", &params);
    lines.retain(|(name, _)| *name != "x-api-key");
    lines.extend([("mcp-param-token", ALICE), ("mcp-param-auth-token", "x"), ("mcp-param-region", "west")]);
    let got = gateway.send(Method::POST, &lines, modern("tools/call", params.clone()).to_string()).await;
    assert_eq!(got.status, 200, "{got:?}");
    let received = gateway.received();
    let last = received.last().unwrap();
    assert_eq!(last.json()["params"]["arguments"], json!({ "region": "west" }));
    assert_eq!(last.headers["mcp-param-region"], "west");
    assert!(
        !last.headers.contains_key("mcp-param-token") && !last.headers.contains_key("mcp-param-auth-token")
    );
    assert!(!format!("{received:?}").contains(ALICE));
}

#[tokio::test]
async fn calls_without_a_good_credential_are_refused() {
    let gateway = guarded(|request| result(request, json!({ "content": [] }))).await;
    let with =
        |arguments: Value| call("tools/call", json!({ "name": "get_a", "arguments": arguments })).to_string();
    let long = "x".repeat((16 << 10) + 1);
    for (arguments, status, reason) in [
        (json!({}), 401, "no-credential"),
        (json!({ "deep": { "auth_token": "another-key-of-nobody" } }), 401, "no-credential"),
        (json!({ "auth_token": "another-key-of-nobody" }), 401, "unrecognised"),
        (json!({ "auth_token": "wgk_nobody" }), 401, "unknown-key"),
        (json!({ "auth_token": 7 }), 400, "bad-credential"),
        (json!({ "auth_token": "" }), 400, "bad-credential"),
        (json!({ "auth_token": null }), 400, "bad-credential"),
        (json!({ "auth_token": long }), 400, "bad-credential"),
        (json!({ "Auth_Token": ALICE }), 400, "bad-credential"),
    ] {
        let got = post(&gateway, &[], with(arguments.clone())).await;
        assert_eq!((got.status, got.reason().as_str()), (status, reason), "{arguments}");
        assert_eq!(got.json()["id"], 1);
        assert!(!String::from_utf8_lossy(&got.body).contains("another-key"), "{got:?}");
    }
    let other_tool = call("tools/call", json!({ "name": "drop_a", "arguments": { "auth_token": ALICE } }));
    assert_eq!(post(&gateway, &[], other_tool.to_string()).await.status, 403);
    assert_eq!(gateway.received().len(), 0);
}

#[tokio::test]
async fn a_call_shows_one_credential() {
    let gateway = guarded(|request| result(request, json!({ "content": [] }))).await;
    let sent =
        call("tools/call", json!({ "name": "get_a", "arguments": { "auth_token": ALICE } })).to_string();
    for (line, status) in [
        (("x-api-key", ALICE), 200),
        (("x-api-key", BOB), 400),
        (("authorization", &*format!("Bearer {ALICE}")), 200),
        (("authorization", "Bearer another"), 400),
    ] {
        let got = post(&gateway, &[line], sent.clone()).await;
        assert_eq!(got.status, status, "{line:?}: {got:?}");
    }
    assert_eq!(gateway.received().len(), 2);
    assert!(!format!("{:?}", gateway.received()).contains(ALICE));
}

#[tokio::test]
async fn a_credential_at_another_place_reaches_no_server() {
    let gateway = guarded(|request| result(request, json!({ "content": [] }))).await;
    let escaped: String = ALICE.bytes().map(|byte| format!("\\u{byte:04X}")).collect();
    let large = "x".repeat(200 << 10);
    for params in [
        format!(r#"{{"name":"get_a","arguments":{{"text":"my key is {ALICE}"}}}}"#),
        format!(r#"{{"name":"get_a","arguments":{{"text":"{escaped}"}}}}"#),
        format!(r#"{{"name":"get_a","arguments":{{"{ALICE}":1}}}}"#),
        format!(r#"{{"name":"get_a","arguments":{{}},"_meta":{{"x/key":["{ALICE}"]}}}}"#),
        format!(r#"{{"name":"get_a","arguments":{{"text":"{large} {ALICE}"}}}}"#),
    ] {
        let sent = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        for line in [("x-api-key", ALICE), ("authorization", &*format!("Bearer {ALICE}"))] {
            let got = post(&gateway, &[line], sent.clone()).await;
            assert_eq!((got.status, got.reason().as_str()), (400, "credential-in-arguments"));
        }
    }
    let twice =
        call("tools/call", json!({ "name": "get_a", "arguments": { "auth_token": ALICE, "b": [ALICE] } }));
    assert_eq!(post(&gateway, &[], twice.to_string()).await.reason(), "credential-in-arguments");
    let auth = json!({ "name": "get_a", "auth": { "type": "api_key", "api_key": ALICE } });
    let got = post(&gateway, &[("x-api-key", ALICE)], call("tools/call", auth).to_string()).await;
    assert_eq!((got.status, got.reason().as_str()), (400, "bad-credential"));
    assert_eq!(gateway.received().len(), 0);
}

#[tokio::test]
async fn a_key_of_witgate_reaches_no_server_whoever_sends_it() {
    let key = "wgk_0123456789abcdefghijklmnopqrstuvwxyz0123456";
    let digest: String = sha256(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let gateway = guarded(|request| result(request, json!({ "content": [] }))).await;
    let store = gateway.folder.path().join("keys.toml");
    let more = format!(
        "[[keys]]\nname = 'dave'\nid = 'dave'\nsha256 = '{digest}'\ncreated = 2026-01-01T00:00:00Z\nrevoked = 2026-01-02T00:00:00Z\n"
    );
    std::fs::write(&store, std::fs::read_to_string(&store).unwrap() + &more).unwrap();
    let candidate =
        gateway.factory.candidate(&gateway.config, Some(&gateway.generations.live())).await.unwrap();
    gateway.generations.flip(candidate);
    let with = |text: &str| {
        call("tools/call", json!({ "name": "get_a", "arguments": { "text": text } })).to_string()
    };
    let got = post(&gateway, &[("x-api-key", ALICE)], with(&format!("x {key}"))).await;
    assert_eq!((got.status, got.reason().as_str()), (400, "credential-in-arguments"));
    let got = post(&gateway, &[], with(key)).await;
    assert_eq!((got.status, got.reason().as_str()), (400, "credential-in-arguments"));
    let got = post(&gateway, &[("x-api-key", "not-a-key-of-anybody")], with(key)).await;
    assert_eq!(
        (got.status, got.reason().as_str()),
        (401, "unknown-key"),
        "strangers do not learn whether it is a key"
    );
    assert_eq!(gateway.received().len(), 0);
    let got =
        post(&gateway, &[("x-api-key", ALICE)], with("wgk_0123456789abcdefghijklmnopqrstuvwxyz0123457"))
            .await;
    assert_eq!(got.status, 200);
}

/// A message in which `text` is the name of its target.
fn naming(method: &str, member: &str, text: &str) -> String {
    call(method, json!({ member: text })).to_string()
}

#[tokio::test]
async fn no_record_shows_a_credential() {
    let gateway = guarded(|request| result(request, json!({ "content": [] }))).await;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let output = Arc::new(SharedOutput::new(OwnedFd::from(writer)));
    let lines = Arc::new(LineWriter::start("test", output, 64, |_| "lost\n".into()).unwrap());
    let TestGateway { config, generations, metrics, stop, factory, .. } = &gateway;
    let mut flows = flows(config, generations, metrics, stop, factory.ways());
    let audit = Audit::lines(Arc::clone(&lines), LogFormat::Json, AuditOverflow::Count);
    let flow = flows.remove(0).with_audit(audit);
    let uri = format!("https://docs.example/x?api_key={ALICE}");
    for (key, body, status) in [
        (ALICE, naming("resources/read", "uri", &uri), 400),
        (ALICE, naming("tools/call", "name", ALICE), 400),
        (ALICE, naming(ALICE, "x", "y"), 400),
        ("a-key-of-nobody", naming("tools/call", "name", "a-key-of-nobody"), 401),
        ("a-key-of-nobody", naming("a-key-of-nobody", "x", "y"), 401),
        ("a-key-of-nobody", naming("tools/call", "name", "get_stranger"), 401),
        (ALICE, naming("tools/call", "name", "drop_all"), 403),
    ] {
        let headers = [("x-api-key", key), JSON_BODY, BOTH].into_iter();
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let (transport, body) = (witgate_plugin::Transport::Http, body.into());
        let (peer, certificate, shown, session, known, under_way) = Default::default();
        let arrival =
            Arrival { transport, peer, certificate, headers, body, shown, session, known, under_way };
        let rejected = flow.handle(arrival).await.err().unwrap();
        assert_eq!(rejected.rejection.wire().status.as_u16(), status);
    }
    drop((flow, lines));
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    assert_eq!(all.lines().count(), 7, "{all}");
    assert!(!all.contains(ALICE) && !all.contains("a-key-of-nobody"), "{all}");
    assert!(all.contains("credential-in-arguments") && all.contains("resources/read"), "{all}");
    assert!(all.contains("get_stranger") && all.contains("drop_all"), "{all}");
}

const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_a","inputSchema":{"type":"object", "properties":{"a":{"type":"number"}},"required":["a"]}},{"name":"drop_a","inputSchema":{"type":"object"}},{"name":"get_b","inputSchema":{"properties":{ "auth_token":{"type":"string"},"b":{} },"required":["auth_token"]}}],"x": 1.0}}"#;

#[tokio::test]
async fn callers_without_a_credential_see_where_it_belongs() {
    let gateway = guarded(|_| answer_as(200, "application/json", TOOLS)).await;
    let list = call("tools/list", json!({})).to_string();
    let anonymous = post(&gateway, &[], list.clone()).await;
    let text = String::from_utf8(anonymous.body.to_vec()).unwrap();
    assert!(text.starts_with(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_a","inputSchema":{"type":"object", "properties":{"auth_token":{"#), "{text}");
    assert!(text.contains(r#","a":{"type":"number"}},"required":["auth_token","a"]}}"#), "{text}");
    assert!(text.ends_with(r#",{"name":"get_b","inputSchema":{"properties":{ "auth_token":{"type":"string"},"b":{} },"required":["auth_token"]}}],"x": 1.0}}"#), "{text}");
    let with_key = post(&gateway, &[("x-api-key", ALICE)], list).await;
    let expected = TOOLS.replace(r#"{"name":"drop_a","inputSchema":{"type":"object"}},"#, "").replace(
        r#"{ "auth_token":{"type":"string"},"b":{} },"required":["auth_token"]"#,
        r#"{"b":{} },"required":[]"#,
    );
    assert_eq!(String::from_utf8(with_key.body.to_vec()).unwrap(), expected);
}

#[tokio::test]
async fn a_session_belongs_to_the_first_principal_that_a_call_proves() {
    let gateway = guarded(with_sessions).await;
    let initialize = call("initialize", json!({ "protocolVersion": "2025-11-25" })).to_string();
    let opened = post(&gateway, &[], initialize).await;
    let session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
    let line = ("mcp-session-id", session.as_str());
    let with = |key: &str| {
        call("tools/call", json!({ "name": "get_a", "arguments": { "auth_token": key } })).to_string()
    };
    assert_eq!(post(&gateway, &[line], with(ALICE)).await.status, 200);
    let other = post(&gateway, &[line], with(BOB)).await;
    assert_eq!((other.status, other.reason().as_str()), (404, "session-not-found"));
    let ping = call("ping", json!({})).to_string();
    assert_eq!(post(&gateway, &[line], ping.clone()).await.status, 200);
    assert_eq!(post(&gateway, &[line, ("x-api-key", ALICE)], ping.clone()).await.status, 200);
    assert_eq!(post(&gateway, &[line, ("x-api-key", BOB)], ping).await.status, 404);
    let of_bob = open(&gateway, BOB).await;
    let stolen = post(&gateway, &[("mcp-session-id", &of_bob)], with(ALICE)).await;
    assert_eq!(stolen.status, 404);
}
