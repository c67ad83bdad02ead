//! A call whose upstream is silent for a while: proxies in between must not close the connection.

use std::time::Duration;

use serde_json::json;
use witgate_tests::gateway::{Setup, workspace};
use witgate_tests::wire::{Request, meta};

/// The event stream of a call that takes twice as long is open by then.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn the_answer_of_a_slow_call_begins_before_a_proxy_times_out() {
    let setup = Setup::new();
    let script = workspace().join("tests/tests/it/swap/environment_server.py");
    setup.config(
        "",
        &format!(
            "[upstreams.env]\ncommand = ['python3', {script:?}]\neras = ['stateful']\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [policies.rules]\nkind = 'rbac'\nconfig = {{ roles = {{ user = {{ allow = ['*'] }} }} }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n"
        ),
    );
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let running = setup.serve();
    let call = |key: &str| {
        let params = json!({ "name": "tell", "arguments": { "seconds": 30 }, "_meta": meta() });
        Request::stateless(&running.address(), "/mcp", "tools/call", params).bearer(key)
    };
    // A refused call gets its status at once.
    assert_eq!(call("wgk_of-nobody").send().status, 401);
    let head = call(&key).send_until("\r\n\r\n", SOON);
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.header("content-type"), Some("text/event-stream"), "{head:?}");
}
