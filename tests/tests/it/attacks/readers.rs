//! Resources of a real server under a rule. server-everything uses the official SDK, which normalises URIs, so that it
//! would read another resource than the named one.

use serde_json::{Value, json};
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{Running, Setup};
use witgate_tests::wire::{Answer, Request};

const STATIC: &str = "demo://resource/static/";

/// server-everything behind a Witgate, and a key under the rules.
fn guarded(rules: &[&str]) -> (Running, String) {
    let command = Clients::installed().unwrap().everything_command();
    let setup = Setup::new();
    setup.config(
        "",
        &format!(
            "[upstreams.everything]\ncommand = {}\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
            json!(command)
        ),
    );
    let key = setup.key(&[&["reader", "--policy", "keys"], rules].concat());
    (setup.serve(), key)
}

fn ask(gateway: &Running, key: &str, method: &str, params: Value) -> Answer {
    Request::stateless(&gateway.address(), "/mcp", method, params).bearer(key).send()
}

#[test]
fn a_rule_for_some_resources_allows_no_others_in_any_spelling() {
    let (gateway, key) = guarded(&["--allow", "resource:demo://resource/static/*"]);
    let uris = ask(&gateway, &key, "resources/list", json!({})).names("resources", "uri");
    assert!(uris.len() >= 3 && uris.iter().all(|uri| uri.starts_with(STATIC)), "{uris:?}");
    for uri in &uris {
        let read = ask(&gateway, &key, "resources/read", json!({ "uri": uri }));
        assert!(read.result()["contents"].is_array(), "{uri}: {read:?}");
    }
    let denied = ask(&gateway, &key, "resources/read", json!({ "uri": "demo://resource/dynamic/text/1" }));
    assert_eq!(denied.refusal(), (403, 403, "not-allowed".to_owned()));
    for uri in [
        "demo://resource/static/../dynamic/text/1",
        "demo://resource/static/%2e%2e/dynamic/text/1",
        "demo://resource/static/%2E./dynamic/text/1",
        "demo://resource/static/./../dynamic/text/1",
        "demo://resource/static/.\t./dynamic/text/1",
        "demo://resource/static/..%2Fdynamic%2Ftext%2F1",
    ] {
        let answer = ask(&gateway, &key, "resources/read", json!({ "uri": uri }));
        assert_eq!(answer.refusal(), (400, -32602, "invalid-params".to_owned()), "{uri}: {answer:?}");
    }
}

#[test]
fn a_deny_rule_cannot_be_evaded_with_another_spelling() {
    let deny = "resource:demo://resource/dynamic/*";
    let (gateway, key) = guarded(&["--allow", "resource:*", "--deny", deny]);
    for uri in [
        "demo://resource/static/../dynamic/text/1",
        "DEMO://resource/dynamic/text/1",
        "demo://RESOURCE/dynamic/text/1",
        " demo://resource/dynamic/text/1",
        "demo://resource/./dynamic/text/1",
        "demo://resource/%64ynamic/text/1",
        "demo://resource/dynamic",
    ] {
        let answer = ask(&gateway, &key, "resources/read", json!({ "uri": uri }));
        assert!(answer.result()["contents"].is_null(), "{uri}: {answer:?}");
    }
    let denied = ask(&gateway, &key, "resources/read", json!({ "uri": "demo://resource/dynamic/text/1" }));
    assert_eq!(denied.refusal(), (403, 403, "denied".to_owned()));
}
