//! The configured bounds of messages.

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, workspace};
use witgate_tests::wire::Request;

const MIB: usize = 1 << 20;

/// A call whose message has about so many bytes.
fn call(gateway: &Running, size: usize) -> (u16, Value) {
    let params = json!({ "name": "echo", "arguments": { "text": "x".repeat(size) } });
    let answer = Request::stateless(&gateway.address(), "/mcp", "tools/call", params).send();
    (answer.status, answer.message())
}

#[test]
fn the_limit_of_requests_is_configurable() {
    for (server, passing, refused) in [
        ("max_request_mib = 1", MIB / 2, MIB + 1),
        ("", 3 * MIB, 4 * MIB + 1),
        ("max_request_mib = 9", 8 * MIB, 9 * MIB + 1),
    ] {
        let setup = Setup::new();
        setup.config(
            server,
            "[upstreams.own]\nown_tools = true\n[policies.roles]\nkind = 'rbac'\n\
             [policies.roles.config.roles]\nguest = { allow = ['*'] }\n\
             [pipeline]\nanonymous = { roles = ['guest'] }\nauthorize = ['roles']\n",
        );
        let gateway = setup.serve();
        let (status, message) = call(&gateway, passing);
        assert_ne!((status, message["error"].is_null()), (413, false), "{server}");
        assert!(message.get("result").is_some() || message.get("error").is_some());
        let (status, message) = call(&gateway, refused);
        assert_eq!((status, &message["error"]["data"]["reason"]), (413, &json!("too-large")), "{server}");
    }
}

#[test]
fn the_limit_of_server_messages_is_configurable() {
    let script = workspace().join("tests/tests/it/swap/environment_server.py");
    for (setting, reason) in [("max_message_mib = 1", json!("upstream-flood")), ("", Value::Null)] {
        let setup = Setup::new();
        setup.file("text", "x".repeat(2 * MIB));
        setup.config(
            "",
            &format!(
                "[upstreams.env]\ncommand = ['python3', {script:?}]\neras = ['stateful']\n\
                 env = {{ TOKEN_FILE = '{}' }}\n{setting}\n[policies.roles]\nkind = 'rbac'\n\
                 [policies.roles.config.roles]\nguest = {{ allow = ['*'] }}\n\
                 [pipeline]\nanonymous = {{ roles = ['guest'] }}\nauthorize = ['roles']\n",
                setup.dir().join("text").display()
            ),
        );
        let gateway = setup.serve();
        let params = json!({ "name": "tell", "arguments": {} });
        let answer = Request::stateless(&gateway.address(), "/mcp", "tools/call", params).send();
        assert_eq!(answer.message()["error"]["data"]["reason"], reason, "{setting}");
    }
}
