//! Callers who send identity headers, which only Witgate may set.

use serde_json::{Value, json};
use witgate_tests::recorder::Recorder;

use super::{serve, setup};

/// The identity under every name that a server could take for Witgate's.
const FORGED: [&str; 12] = [
    "X-Witgate-Subject",
    "x-witgate-subject",
    "X_Witgate_Subject",
    "X-Witgate_Subject",
    "X.Witgate.Subject",
    "X-Witgate-Subject-",
    "HTTP-X-Witgate-Subject",
    "X-Witgate-Identity",
    "X_Witgate_Identity",
    "X-Forwarded-User",
    "Forwarded",
    "Remote-User",
];

#[tokio::test(flavor = "multi_thread")]
async fn identity_headers_of_callers_are_not_forwarded() {
    let recorder = Recorder::start();
    let config = format!(
        "[signing]\nkey = {{ file = 'signing.pem' }}\n[upstreams.record]\nurl = '{}'\n\
         [upstreams.record.identity]\nheaders = {{ principal = 'X-Witgate-Subject' }}\n\
         token = {{ header = 'X-Witgate-Identity', sub = 'principal' }}",
        recorder.url()
    );
    let (_running, callers) = serve(setup(), &config, &["ada"]);
    let client = reqwest::Client::new();
    let session = callers[0].open_session().await;
    let forged = |mut request: reqwest::RequestBuilder| {
        for name in FORGED {
            request = request.header(name, "root").header(name, "forged");
        }
        // One name is passed on, and one would be removed by a proxy.
        request =
            request.header("Mcp-Param-X-Witgate-Subject", "kept").header("Connection", "X-Witgate-Subject");
        request.header("Accept", "application/json, text/event-stream")
    };
    let meta = json!({ "x-witgate-subject": "in-meta",
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
    let body =
        |meta: &Value| json!({ "jsonrpc": "2.0", "id": 7, "method": "ping", "params": { "_meta": meta } });
    let old = forged(callers[0].request(&client, reqwest::Method::POST));
    old.header("Mcp-Session-Id", &session).json(&body(&json!({}))).send().await.unwrap();
    let mut list = body(&meta);
    list["method"] = "tools/list".into();
    let new = forged(callers[0].request(&client, reqwest::Method::POST)).json(&list);
    let new = new.header("MCP-Protocol-Version", "2026-07-28").header("Mcp-Method", "tools/list");
    assert_eq!(new.send().await.unwrap().status(), 200);
    for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
        forged(callers[0].request(&client, method)).header("Mcp-Session-Id", &session).send().await.unwrap();
    }
    let record = String::from_utf8(recorder.seen()).unwrap();
    assert!(!record.contains("root") && !record.contains("forged"), "{record}");
    assert!(!record.to_lowercase().contains("\r\nconnection: x-"), "{record}");
    let subjects: Vec<_> =
        record.split("\r\n").filter(|line| line.starts_with("x-witgate-subject")).collect();
    assert!(
        subjects.len() >= 6 && subjects.iter().all(|line| *line == "x-witgate-subject: keys||ada"),
        "{subjects:?}"
    );
    let tokens: Vec<_> = record.split("\r\n").filter(|line| line.starts_with("x-witgate-identity")).collect();
    assert!(tokens.len() > subjects.len(), "requests of Witgate's own have one as well");
}
