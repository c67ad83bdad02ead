//! Features for users of other servers, with a gateway in front of them.

use std::fs;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some, program};
use witgate_tests::wire::{Answer, Request};

/// A gateway in front of the fixture server, as a child process.
fn before_fixture(server: &str, upstream: &str, policies: &str) -> (Running, String) {
    let setup = Setup::new().env("API_TOKEN", "x");
    let fixture = program("fixture-upstream");
    setup.config(
        server,
        &format!(
            "[upstreams.fixture]\ncommand = [{fixture:?}, '--stdio']\nenv = {{ API_TOKEN = {{ env = 'API_TOKEN' }} }}\n{upstream}\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml', header = ['X-API-Key', 'api-key'] }}\n\
             {policies}[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
        ),
    );
    let key = setup.key(&["user", "--allow", "greet", "--allow", "health_check"]);
    (setup.serve(), key)
}

fn request(running: &Running, method: &str, params: Value) -> Request {
    Request::stateless(&running.address(), "/mcp", method, params)
}

fn call(running: &Running, key: &str, tool: &str) -> Answer {
    request(running, "tools/call", json!({ "name": tool, "arguments": {} })).with("X-API-Key", key).send()
}

#[test]
fn own_tools_beside_a_server_are_listed_as_they_can_be_called() {
    let (running, key) = before_fixture("", "own_tools = ['health_check', 'auth_status']", "");
    let listed = request(&running, "tools/list", json!({})).with("X-API-Key", &key).send();
    let names = listed.names("tools", "name");
    assert_eq!(names, ["greet", "health_check"], "nothing allows `auth_status`");
    let health = call(&running, &key, "health_check").result();
    assert_eq!(health["structuredContent"]["auth_config"], json!({ "API_TOKEN": "configured" }), "{health}");
    assert_eq!(call(&running, &key, "auth_status").refusal().2, "not-allowed");

    let overview = running.setup().run(&["status", "--json"]);
    let overview: Value = serde_json::from_slice(&overview.stdout).unwrap();
    assert_eq!((&overview["auth_enabled"], &overview["api_key_configured"]), (&json!(true), &json!(true)));
    assert_eq!(overview["upstreams"][0]["authenticate"], json!(["keys"]), "{overview}");
}

#[test]
fn a_key_comes_in_one_of_several_headers() {
    let (running, key) = before_fixture("", "", "");
    let list = || request(&running, "tools/list", json!({}));
    assert_eq!(list().with("api-key", &key).send().status, 200);
    assert_eq!(list().with("api-key", &key).with("X-API-Key", &key).send().status, 200);
    let refused = list().with("api-key", &key).with("X-API-Key", "another").send();
    assert_eq!(refused.refusal(), (400, 400, "bad-credential".to_owned()));
    assert!(!refused.text().contains(&key));
}

#[test]
fn clients_are_told_how_to_authenticate_and_that_a_tool_is_denied() {
    let (running, key) = before_fixture("advertise_auth = true", "denials = 'result'", "");
    let discovered = request(&running, "server/discover", json!({})).with("X-API-Key", &key).send().result();
    let told = &discovered["capabilities"]["experimental"]["authentication"];
    assert_eq!(told, &json!({ "required": true, "types": ["api_key"] }), "{discovered}");
    let denied = call(&running, &key, "test_simple_text");
    assert_eq!((denied.status, &denied.result()["isError"]), (200, &json!(true)), "{denied:?}");
    assert_eq!(denied.result()["_meta"]["witgate/refusal"]["reason"], "not-allowed");
}

#[test]
fn a_revocation_holds_while_the_file_of_variables_is_broken() {
    let setup = Setup::new();
    let extra = "0123456789abcdef0123456789abcdef";
    setup.config(
        "env_file = '.env'",
        "[upstreams.own]\nown_tools = true\n[policies.keys]\nkind = 'api-key'\n[policies.keys.config]\n\
         store = 'keys.toml'\nkeys = [{ name = 'extra', key = { env = 'EXTRA_KEY' }, allow = ['*'] }]\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
    );
    setup.file(".env", format!("EXTRA_KEY={extra}\n"));
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    assert_eq!(call(&running, &key, "get_time").status, 200);
    fs::write(running.setup().dir().join(".env"), "EXTRA_KEY").unwrap();
    running.await_log("there is no `=` after the name");
    let revoked = running.setup().run(&["key", "revoke", "user"]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let refused = await_some("the revocation", || {
        let answer = call(&running, &key, "get_time");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.refusal(), (401, 401, "revoked".to_owned()));
    assert_eq!(call(&running, extra, "get_time").status, 200, "the last variables count");
}
