//! Rollbacks: they are immediate, survive a restart, hold until a file changes, and never make a revoked key valid.

use std::fs;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, component};

use super::{rename_over, user, with_components};
use crate::caller::{Caller, Upstream, until};

/// A gateway whose `rbac` was replaced by `read-only`, under which nobody may greet.
async fn regretted() -> (Upstream, Running, Caller) {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.component("api-key");
    let rules = setup.component("rbac");
    setup.config("", &with_components(&upstream));
    let key = user(&setup);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert!(greets(&caller).await.is_none());
    rename_over(&rules, &fs::read(component("examples/read-only")).unwrap());
    until("the other component", async || greets(&caller).await.filter(|reason| reason == "not-read-only"))
        .await;
    (upstream, running, caller)
}

/// The reason why the caller may not greet. None: they may.
async fn greets(caller: &Caller) -> Option<String> {
    let answer = caller.call("greet", json!({ "name": "you" })).await;
    answer.reason().map(str::to_owned)
}

fn roll_back(running: &Running, arguments: &[&str]) -> Value {
    let output = running.setup().run(&[&["plugin", "rollback", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_immediate_and_survives_a_restart_until_a_file_changes() {
    let (_upstream, mut running, caller) = regretted().await;
    let done = roll_back(&running, &[]);
    assert_eq!(done, json!({ "rolled_back_to": 1, "generation": 3, "unkept": null }));
    assert_eq!(greets(&caller).await, None, "no waiting: it is live when the command is done");
    let list = running.plugins();
    assert_eq!(list["rolled_back_to"], 1);
    assert_eq!(list["generations"][2]["repeats"], 1);
    assert_eq!(list["generations"][2]["policies"], list["generations"][0]["policies"]);

    // The file is written again, with the same content.
    let rules = running.setup().dir().join("plugins/rbac.wasm");
    rename_over(&rules, &fs::read(&rules).unwrap());
    running.restart();
    running.await_log("ROLLBACK: the inputs of generation 1 are in force");
    assert_eq!(greets(&caller).await, None, "the restarted one continues with the target of the rollback");
    assert_eq!(running.plugins()["rolled_back_to"], 1);

    // A faulty component or configuration does not end the rollback.
    rename_over(&rules, b"half a fi");
    running.await_log("the live generation stays");
    running.restart();
    assert_eq!(greets(&caller).await, None);
    let text = fs::read_to_string(running.setup().dir().join("witgate.toml")).unwrap();
    running.setup().file("witgate.toml", format!("{text}\n[["));
    running.await_log("the live generation stays");
    running.restart();
    assert_eq!(greets(&caller).await, None);
    running.setup().file("witgate.toml", text);

    rename_over(&rules, &fs::read(component("examples/read-only")).unwrap());
    until("the end of the rollback", async || greets(&caller).await).await;
    assert_eq!(running.plugins()["rolled_back_to"], json!(null));
    running.restart();
    assert_eq!(greets(&caller).await.as_deref(), Some("not-read-only"), "over is over");
}

/// A rollback's component differs from the one in the file, even if nobody has changed that file for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_ends_a_rollback_and_loads_the_file() {
    for restarts in [false, true] {
        let (_upstream, mut running, caller) = regretted().await;
        roll_back(&running, &[]);
        if restarts {
            running.restart();
        }
        assert_eq!(greets(&caller).await, None);
        let text = fs::read_to_string(running.setup().dir().join("witgate.toml")).unwrap();
        running.setup().file("witgate.toml", format!("{text}\n# Another.\n"));
        until("the end of the rollback", async || greets(&caller).await).await;
        assert_eq!(running.plugins()["rolled_back_to"], json!(null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_revoked_since_stays_revoked_after_a_rollback() {
    let (_upstream, running, caller) = regretted().await;
    let second = running.setup().key(&["second", "--allow", "*", "--role", "user"]);
    let second = Caller::new(running.url(), Some(&second));
    until("the second key", async || greets(&second).await.filter(|reason| reason == "not-read-only")).await;
    assert!(running.setup().run(&["key", "revoke", "user"]).status.success());
    until("the revocation", async || greets(&caller).await.filter(|reason| reason == "revoked")).await;

    roll_back(&running, &["--to", "1"]);
    assert_eq!(greets(&second).await, None, "a key that came since is good");
    assert_eq!(greets(&caller).await.as_deref(), Some("revoked"), "and one that went is not");

    // Keys can still change while the rollback is in force.
    assert!(running.setup().run(&["key", "revoke", "second"]).status.success());
    until("the second revocation", async || greets(&second).await).await;
    assert_eq!(running.plugins()["rolled_back_to"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_revoked_while_a_component_is_broken() {
    let (_upstream, running, caller) = regretted().await;
    rename_over(&running.setup().dir().join("plugins/rbac.wasm"), b"half a fi");
    running.await_log("the live generation stays");
    assert!(running.setup().run(&["key", "revoke", "user"]).status.success());
    until("the revocation", async || greets(&caller).await.filter(|reason| reason == "revoked")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_an_unknown_generation_is_refused() {
    let (_upstream, running, caller) = regretted().await;
    let refused = |arguments: &[&str]| {
        let output = running.setup().run(&[&["plugin", "rollback"], arguments].concat());
        assert_eq!(output.status.code(), Some(69));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = refused(&["--to", "7"]);
    assert!(message.contains("generation 7 is not kept; there are 1, 2"), "{message}");
    roll_back(&running, &[]);
    let message = refused(&[]);
    assert!(message.contains("no earlier generation"), "{message}");
    assert_eq!(greets(&caller).await, None);
}
