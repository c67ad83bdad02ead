//! Examples in front of real calls: the statements of their READMEs, checked over the wire.

use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup};
use witgate_tests::wire::{Answer, Request};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The limit is on time that passes, also while others have the processors.
const PATIENT: &str = "timeout_ms = 20000";

/// Witgate's own tools behind `policies`.
fn serve(setup: Setup, policies: &str) -> Running {
    configure(&setup, policies);
    setup.serve()
}

/// The same for callers with keys, and the key of one with the role `developer`.
fn serve_keyed(setup: Setup, policies: &str) -> (Running, String) {
    let keys = "[policies.keys]\nkind = \"api-key\"\nconfig = { store = \"keys.toml\" }\n";
    configure(&setup, &format!("{keys}{policies}"));
    let key = setup.key(&["ada", "--allow", "*", "--role", "developer"]);
    (setup.serve(), key)
}

fn configure(setup: &Setup, policies: &str) {
    setup.config("", &format!("[upstreams.own]\nown_tools = true\n{policies}"));
}

fn call(running: &Running, tool: &str, arguments: &Value) -> Request {
    let params = json!({ "name": tool, "arguments": arguments });
    Request::stateless(&running.address(), "/mcp", "tools/call", params)
}

/// Adds the headers of a sender of webhooks.
fn signed(request: Request, id: &str, tool: &str, arguments: &Value) -> Request {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let text = format!("{id}.{timestamp}.tools/call\n{tool}\n{arguments}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
    request
        .with("webhook-sender", "shop")
        .with("webhook-id", id)
        .with("webhook-timestamp", &timestamp.to_string())
        .with("webhook-signature", &format!("v1,{signature}"))
}

#[test]
fn a_signed_webhook_is_valid_once_and_only_for_its_content() {
    let setup = Setup::new().env("SHOP_SECRET", SECRET);
    setup.component("examples/webhook-signature");
    let running = serve(
        setup,
        &format!(
            "[policies.webhooks]\nkind = \"custom\"\ncomponent = \"plugins/webhook-signature.wasm\"\n\
             config = {{ senders = {{ shop = {{ key = \"shop\", roles = [\"shipping\"] }} }} }}\n\
             grants = {{ cache = true }}\nlimits = {{ instances = 1, {PATIENT} }}\n\
             [keys.shop]\nsecret = {{ env = \"SHOP_SECRET\" }}\n\
             [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {{ shipping = {{ allow = [\"add\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"webhooks\"]\nauthorize = [\"rules\"]\n"
        ),
    );
    let three = json!({ "a": 1, "b": 2 });
    let first = signed(call(&running, "add", &three), "msg_1", "add", &three);
    assert_eq!(first.send().status, 200, "{:?}", first.send());
    assert_eq!(first.send().refusal().2, "replayed");

    let other = signed(call(&running, "add", &json!({ "a": 1, "b": 3 })), "msg_2", "add", &three);
    assert_eq!(other.send().refusal().2, "bad-signature");
    let unsigned = call(&running, "add", &three);
    assert_eq!(unsigned.send().status, 401);
    let echo = json!({ "message": "hello" });
    let beyond = signed(call(&running, "echo", &echo), "msg_3", "echo", &echo);
    assert_eq!(beyond.send().refusal(), (403, 403, "not-allowed".to_owned()));
}

/// With one instance the count is exact, however many call at once.
#[test]
fn a_quota_is_counted_exactly_by_one_instance() {
    let setup = Setup::new();
    setup.component("examples/quota");
    let (running, key) = serve_keyed(
        setup,
        &format!(
            "[policies.quota]\nkind = \"custom\"\ncomponent = \"plugins/quota.wasm\"\n\
             config = {{ calls = 10, window_s = 86400 }}\ngrants = {{ cache = true, crypto = true }}\n\
             limits = {{ instances = 1, wait_ms = 60000, {PATIENT} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"quota\"]\n"
        ),
    );
    let request = call(&running, "echo", &json!({ "message": "hello" })).bearer(&key);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let callers: Vec<_> = (0..30).map(|_| scope.spawn(|| request.send())).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 10);
    for denied in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(denied.refusal(), (429, 429, "quota".to_owned()));
        assert!(denied.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()), "{denied:?}");
    }
    let list = Request::stateless(&running.address(), "/mcp", "tools/list", json!({})).bearer(&key).send();
    assert!(list.names("tools", "name").contains(&"echo".to_owned()), "{list:?}");
}

/// Two components in one file: the freeze of the one, and the rules of the other.
#[test]
fn two_composed_components_work_as_one_plugin() {
    let setup = Setup::new();
    setup.component("examples/composed");
    let (running, key) = serve_keyed(
        setup,
        &format!(
            "[policies.rules]\nkind = \"custom\"\ncomponent = \"plugins/composed.wasm\"\n\
             limits = {{ {PATIENT} }}\n[policies.rules.config]\n\
             freeze = {{ from = \"2020-01-01T00:00:00Z\", until = \"2100-01-01T00:00:00Z\", except = [\"echo\", \"get_*\"] }}\n\
             inner = {{ roles = {{ developer = {{ allow = [\"*\"], deny = [\"get_time\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n"
        ),
    );
    let reason = |tool, arguments| call(&running, tool, &arguments).bearer(&key).send().refusal().2;
    let echo = call(&running, "echo", &json!({ "message": "hello" })).bearer(&key).send();
    assert_eq!(echo.status, 200, "{echo:?}");
    assert_eq!(reason("add", json!({ "a": 1, "b": 2 })), "frozen");
    assert_eq!(reason("get_time", json!({})), "denied");
    let list = Request::stateless(&running.address(), "/mcp", "tools/list", json!({})).bearer(&key).send();
    assert_eq!(list.names("tools", "name"), ["echo"]);
    let plugins = running.plugins();
    assert_eq!(plugins["policies"].as_array().map(Vec::len), Some(2), "{plugins}");
}

/// An engine of another language, with a file that is swapped while it runs.
#[test]
fn cedar_decides_and_its_policies_are_swapped() {
    let setup = Setup::new();
    setup.component("examples/cedar");
    let policy = |tool: &str| {
        format!(
            "permit (principal in Role::\"developer\", action == Action::\"call\", resource == Tool::\"{tool}\");"
        )
    };
    setup.file("team.cedar", policy("echo"));
    let (running, key) = serve_keyed(
        setup,
        &format!(
            "[policies.cedar]\nkind = \"custom\"\ncomponent = \"plugins/cedar.wasm\"\n\
             config = {{ policy_file = \"team.cedar\" }}\nlimits = {{ {PATIENT} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"cedar\"]\n"
        ),
    );
    let echo = call(&running, "echo", &json!({ "message": "hello" })).bearer(&key);
    let add = call(&running, "add", &json!({ "a": 1, "b": 2 })).bearer(&key);
    assert_eq!(echo.send().status, 200, "{:?}", echo.send());
    assert_eq!(add.send().refusal().2, "not-permitted");

    running.setup().file("team.cedar", "permit (principal);");
    running.await_log("line 1");
    let denied = || (echo.send().status == 503).then_some(());
    witgate_tests::gateway::await_some("that rules which nobody can read allow nothing", denied);
    assert_eq!(echo.send().refusal().2, "config");

    running.setup().file("team.cedar", policy("add"));
    witgate_tests::gateway::await_some("the other policy", || (add.send().status == 200).then_some(()));
    assert_eq!(echo.send().refusal().2, "not-permitted");
}
