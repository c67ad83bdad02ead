//! A broken policy holds back its own pipelines, and does not keep any rule from being tightened.

use std::fs;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, component, unframed};

use super::{PATIENT, ROLES, policy, rename_over, user};
use crate::caller::{Caller, Upstream, metric, until};

const OPEN: &str = r#"{ user = { allow = ["*"] } }"#;

/// Two upstreams, `a` with the rules `rules`, `b` with the component `extra` beside.
fn two(upstream: &Upstream, rules: &str, b: &str) -> String {
    format!(
        "[upstreams.a]\nurl = \"{url}\"\n[upstreams.a.pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n\
         [upstreams.b]\n{b}\n[upstreams.b.pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\", \"extra\"]\n{}",
        policies(rules),
        url = upstream.url
    )
}

fn at(upstream: &Upstream) -> String {
    format!("url = \"{}\"", upstream.url)
}

fn policies(rules: &str) -> String {
    format!(
        "[policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
         [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {rules} }}\n\
         [policies.extra]\nkind = \"rbac\"\ncomponent = \"plugins/rbac.wasm\"\n{PATIENT}\nconfig = {{ roles = {OPEN} }}\n"
    )
}

/// One upstream whose authorizers are `rules` and the component `extra`.
fn one(upstream: &Upstream, rules: &str) -> String {
    format!(
        "[upstreams.fixture]\n{}\n[pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\", \"extra\"]\n{}",
        at(upstream),
        policies(rules)
    )
}

fn caller(running: &Running, upstream: &str, key: &str) -> Caller {
    Caller::new(format!("http://{}/{upstream}/mcp", running.address()), Some(key))
}

/// The reason why a tool may not be called. None: the call is allowed.
async fn denied(caller: &Caller, tool: &str) -> Option<String> {
    let answer = caller.call(tool, json!({})).await;
    answer.reason().map(str::to_owned)
}

async fn until_denied(caller: &Caller, tool: &str, reason: &str) {
    until(reason, async || denied(caller, tool).await.filter(|code| code == reason)).await;
}

async fn until_refused(running: &Running) -> Value {
    until("a refusal", async || {
        let list = running.plugins();
        (!list["last_change"]["errors"].is_null()).then_some(list)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_component_does_not_delay_tighter_rules_of_another_upstream() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let extra = setup.component("rbac");
    setup.config("", &two(&upstream, OPEN, &at(&upstream)));
    let key = user(&setup);
    let running = setup.serve();
    let (a, b) = (caller(&running, "a", &key), caller(&running, "b", &key));
    assert_eq!((denied(&a, "greet").await, denied(&b, "greet").await), (None, None));

    rename_over(&extra, b"half a fi");
    let list = until_refused(&running).await;
    assert_eq!((&list["generation"], &list["whole"]), (&json!(1), &json!(true)), "nothing else was new");
    let closed = r#"{ user = { allow = ["*"], deny = ["greet"] } }"#;
    running.setup().config("", &two(&upstream, closed, &at(&upstream)));
    until_denied(&a, "greet", "denied").await;
    assert_eq!(denied(&a, "test_error_handling").await, None, "the rest of the rules is as it was");
    assert_eq!(denied(&b, "greet").await.as_deref(), Some("denied"), "the same rule decides at the other");
    assert_eq!(denied(&b, "test_error_handling").await, None, "whose last good component goes on");
    assert_eq!(running.plugins()["whole"], false);

    rename_over(&extra, &fs::read(component("rbac")).unwrap());
    until("the mended whole", async || (running.plugins()["whole"] == true).then_some(())).await;
    assert_eq!(running.plugins()["last_change"]["errors"], json!(null));
    assert_eq!(denied(&b, "greet").await.as_deref(), Some("denied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_beside_a_broken_component_tighten_at_once_and_widen_after_its_repair() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let extra = setup.component("rbac");
    setup.config("", &one(&upstream, ROLES));
    let key = user(&setup);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert_eq!(denied(&caller, "greet").await, None);
    assert_eq!(denied(&caller, "test_error_handling").await.as_deref(), Some("denied"));

    rename_over(&extra, b"half a fi");
    until_refused(&running).await;
    let other = r#"{ user = { allow = ["*"], deny = ["greet"] } }"#;
    running.setup().config("", &one(&upstream, other));
    until_denied(&caller, "greet", "denied").await;
    assert_eq!(
        denied(&caller, "test_error_handling").await.as_deref(),
        Some("denied"),
        "what the change would allow waits for all of it"
    );
    let answer = caller.stateless("tools/list", None, json!({})).await.unwrap();
    let names: Vec<_> =
        answer.body["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert!(!names.contains(&json!("greet")) && !names.contains(&json!("test_error_handling")), "{names:?}");
    running.await_log("allow no more than before");

    // Keys are made and revoked meanwhile.
    let second = running.setup().key(&["second", "--allow", "*", "--role", "user"]);
    let second = Caller::new(running.url(), Some(&second));
    until("the second key", async || denied(&second, "greet").await.filter(|code| code == "denied")).await;
    assert!(running.setup().run(&["key", "revoke", "second"]).status.success());
    until_denied(&second, "greet", "revoked").await;

    rename_over(&extra, &fs::read(component("rbac")).unwrap());
    until("what the change allows", async || {
        denied(&caller, "test_error_handling").await.is_none().then_some(())
    })
    .await;
    assert_eq!(denied(&caller, "greet").await.as_deref(), Some("denied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_upstream_does_not_delay_tighter_rules_of_another() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.component("rbac");
    setup.config("", &two(&upstream, OPEN, &at(&upstream)));
    let key = user(&setup);
    let running = setup.serve();
    let (a, b) = (caller(&running, "a", &key), caller(&running, "b", &key));
    let bad = [
        ("no URL", "url = \"nowhere\"".to_owned()),
        ("no secret", format!("{}\nheaders = {{ X-Token = {{ env = \"NOT_SET\" }} }}", at(&upstream))),
        ("a typo", format!("{}\ntimeout = 3", at(&upstream))),
    ];
    for (number, (name, content)) in (1..).zip(bad) {
        let tool = format!("tool-{number}");
        let rules = format!(r#"{{ user = {{ allow = ["*"], deny = ["greet", "{tool}"] }} }}"#);
        running.setup().config("", &two(&upstream, &rules, &content));
        until_denied(&a, &tool, "denied").await;
        until_denied(&b, &tool, "denied").await;
        let errors = running.plugins()["last_change"]["errors"].to_string();
        assert!(errors.contains("witgate.toml"), "{name}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_closes_the_pipelines_of_a_broken_component_and_serves_the_others() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.file("plugins/rbac.wasm", b"half a fi");
    setup.config("", &two(&upstream, OPEN, &at(&upstream)));
    let key = user(&setup);
    let running = setup.serve();
    running.await_log("the upstreams whose pipelines ask it are closed");
    let (a, b) = (caller(&running, "a", &key), caller(&running, "b", &key));
    assert_eq!(denied(&a, "greet").await, None);
    let answer = b.call("greet", json!({})).await;
    assert_eq!((answer.status, answer.reason()), (503, Some("config")));
    assert_eq!(policy(&running, "extra")["state"], "broken");
    let broken = metric(&running.admin_url(), "witgate_policies_broken", "").await;
    assert_eq!(broken, 1.0);

    rename_over(&running.setup().dir().join("plugins/rbac.wasm"), &fs::read(component("rbac")).unwrap());
    until("the mended one", async || denied(&b, "greet").await.is_none().then_some(())).await;
    assert_eq!(policy(&running, "extra")["state"], "live");
}

#[test]
fn a_start_without_any_good_pipeline_exits_with_78() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.file("plugins/rbac.wasm", b"half a fi");
    setup.config("", &one(&upstream, OPEN));
    user(&setup);
    let output = setup.run(&["serve"]);
    assert_eq!(output.status.code(), Some(78));
    let text = unframed(&String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("is not a component"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_rollback_does_not_restore_the_rolled_back_policies() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let extra = setup.component("rbac");
    setup.config("", &one(&upstream, OPEN));
    let key = user(&setup);
    let mut running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    rename_over(&extra, &fs::read(component("examples/read-only")).unwrap());
    until_denied(&caller, "greet", "not-read-only").await;
    assert!(running.setup().run(&["plugin", "rollback"]).status.success());
    assert_eq!(denied(&caller, "greet").await, None);
    running.kill();

    let file = running.setup().dir().join("witgate.state/rollback.json");
    let whole = fs::read_to_string(&file).unwrap();
    let damaged =
        [whole.replace("allow", "allov"), whole.get(..whole.len() / 2).unwrap().to_owned(), String::new()];
    for content in damaged {
        fs::write(&file, content).unwrap();
        let output = running.setup().run(&["serve"]);
        assert_eq!(output.status.code(), Some(78));
        let text = unframed(&String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("a rollback is in force") && text.contains("rollback.json"), "{text}");
    }
    fs::write(&file, whole).unwrap();
    running.start_again();
    assert_eq!(denied(&caller, "greet").await, None, "the good one is still in force");
}
