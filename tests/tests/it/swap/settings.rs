//! Edits of the key store and of the configuration are in force without a restart.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::json;
use witgate_tests::gateway::{Running, await_some};

use super::{ROLES, config, policy, user, with_components};
use crate::caller::{Caller, Upstream, metric, until};
use witgate_tests::gateway::Setup;

/// One connection, kept alive.
struct Connection(BufReader<TcpStream>, String);

impl Connection {
    fn open(running: &Running) -> Self {
        Self(BufReader::new(TcpStream::connect(running.address()).unwrap()), running.address())
    }

    /// The status of a call of `greet` with a key.
    fn greet(&mut self, key: &str) -> u16 {
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {} });
        let params = json!({ "name": "greet", "arguments": { "name": "you" }, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: tools/call\r\nMcp-Name: greet\r\nContent-Length: {}\r\n\r\n{body}",
            self.1,
            body.len()
        );
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the connection was closed");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
        status
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_store_holds_on_an_open_connection() {
    for keys in ["", "component = \"plugins/api-key.wasm\""] {
        let upstream = Upstream::start();
        let setup = Setup::new();
        setup.component("api-key");
        setup.config("", &config(&upstream, keys, &format!("config = {{ roles = {ROLES} }}")));
        let first = user(&setup);
        let running = setup.serve();
        let mut connection = Connection::open(&running);
        assert_eq!(connection.greet(&first), 200);

        let second = running.setup().key(&["second", "--allow", "*", "--role", "user"]);
        await_some("the new key", || match connection.greet(&second) {
            401 => None,
            status => {
                assert_eq!(status, 200);
                Some(())
            }
        });
        let revoked = running.setup().run(&["key", "revoke", "user"]);
        assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
        await_some("the revocation", || match connection.greet(&first) {
            200 => None,
            status => {
                assert_eq!(status, 401);
                Some(())
            }
        });
        assert_eq!(connection.greet(&second), 200, "the other key is unharmed");

        let whole = std::fs::read_to_string(running.setup().dir().join("keys.toml")).unwrap();
        let damaged = whole.clone() + "\n[[[";
        running.setup().file("keys.toml", damaged);
        await_some("that nobody is let in by a store that says nothing", || {
            match connection.greet(&second) {
                200 => None,
                status => {
                    assert_eq!(status, 503);
                    Some(())
                }
            }
        });
        assert_eq!(connection.greet(&first), 503);
        let policy_status = policy(&running, "keys");
        assert_eq!(policy_status["state"], "broken", "{policy_status}");
        assert!(policy_status["error"].as_str().unwrap().contains("keys.toml"), "{policy_status}");

        running.setup().file("keys.toml", whole);
        await_some("the mended store", || (connection.greet(&second) == 200).then_some(()));
        assert_eq!(connection.greet(&first), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_takes_effect() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.component("api-key");
    setup.component("rbac");
    let good = with_components(&upstream);
    setup.config("", &good);
    let key = user(&setup);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("greet", json!({})).await.is_result());

    // A rule.
    let without = good.replace("deny = [\"test_error_handling\"]", "deny = [\"greet\"]");
    running.setup().config("", &without);
    until("the new rule", async || {
        (caller.call("greet", json!({})).await.reason() == Some("denied")).then_some(())
    })
    .await;
    assert!(caller.call("test_error_handling", json!({})).await.is_result());

    // A faulty configuration changes nothing, and is reported.
    let bad = [
        ("a typo", without.replace("authorize = ", "autorize = "), "authorize"),
        ("no TOML", format!("{without}\n[["), "witgate.toml"),
        ("an empty list", without.replace("[\"rules\"]", "[]"), "authorize"),
        ("an unknown policy", without.replace("[\"rules\"]", "[\"rule\"]"), "rules"),
        ("a rule that is none", without.replace("[\"greet\"]", "[\"\"]"), "deny"),
    ];
    for (number, (name, text, why)) in (1_u32..).zip(bad) {
        running.setup().config("", &text);
        until(name, async || {
            let refused = metric(&running.admin_url(), "witgate_reloads_total", "refused").await;
            (refused >= f64::from(number)).then_some(())
        })
        .await;
        let list = running.plugins();
        assert_eq!(list["generation"], 2, "{name}: {list}");
        let errors = list["last_change"]["errors"].to_string();
        assert!(errors.contains(why), "{name}: {errors}");
        assert_eq!(caller.call("greet", json!({})).await.reason(), Some("denied"), "{name}");
    }
    // An upstream with another name takes over.
    running.setup().config("", &without.replace("upstreams.fixture", "upstreams.other"));
    running.await_log("serving it at /mcp");
    assert_eq!(caller.call("greet", json!({})).await.reason(), Some("denied"));
    assert!(caller.call("test_error_handling", json!({})).await.is_result());
    running.setup().config("", &good);
    until("the mended one", async || caller.call("greet", json!({})).await.is_result().then_some(())).await;
    assert_eq!(running.plugins()["last_change"]["errors"], json!(null));
}
