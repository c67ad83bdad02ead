//! A revocation waits for nothing: neither for a compiler, nor for a faulty component, nor for a shortage on the
//! machine.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::json;
use witgate_tests::gateway::{Running, Setup, component};

use super::{PATIENT, ROLES, config, policy, rename_over, user};
use crate::caller::{Caller, Upstream, until};

async fn greets(caller: &Caller) -> Option<String> {
    let answer = caller.call("greet", json!({ "name": "you" })).await;
    answer.reason().map(str::to_owned)
}

async fn until_says(caller: &Caller, reason: &str) {
    until(reason, async || greets(caller).await.filter(|code| code == reason)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_does_not_wait_for_the_compiler() {
    let upstream = Upstream::start();
    // Nothing is compiled yet.
    let cache = tempfile::tempdir().unwrap();
    let setup = Setup::new().env("WITGATE_CACHE", cache.path().to_str().unwrap());
    let rules = setup.component("examples/read-only");
    let settings = format!("kind = \"custom\"\ncomponent = \"plugins/read-only.wasm\"\n{PATIENT}\n");
    let text = config(&upstream, "", &format!("config = {{ roles = {ROLES} }}"))
        .replace("authorize = [\"rules\"]", "authorize = [\"rules\", \"extra\"]");
    setup.config("", &format!("{text}[policies.extra]\n{settings}config = {{ roles = {ROLES} }}\n"));
    let key = user(&setup);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    until_says(&caller, "not-read-only").await;
    let before = policy(&running, "extra")["digest"].clone();

    // In the same change: a component that takes seconds to compile, and a revocation.
    fs::copy(component("examples/hello-authorizer-python"), rules.with_extension("new")).unwrap();
    fs::rename(rules.with_extension("new"), &rules).unwrap();
    assert!(running.setup().run(&["key", "revoke", "user"]).status.success());
    until_says(&caller, "revoked").await;
    assert_eq!(policy(&running, "extra")["digest"], before, "the compiler is still at it");
    running.await_log("is being compiled");
    until("the outcome of the other change", async || {
        let extra = policy(&running, "extra");
        (extra["digest"] != before || extra["state"] == "candidate-refused").then_some(())
    })
    .await;
}

/// A store with this number of keys besides those in `text`.
fn with_more_keys(text: &str, count: u32) -> String {
    let mut text = text.to_owned();
    for number in 0..count {
        write!(
            text,
            "\n[[keys]]\nname = \"more-{number}\"\nid = \"{number:08x}\"\nsha256 = \"{number:064x}\"\n\
             created = 2026-01-01T00:00:00Z\nroles = [\"user\"]\n"
        )
        .unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_too_large_for_its_component_admits_no_revoked_key() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.component("api-key");
    let keys = "component = \"plugins/api-key.wasm\"";
    let limits = format!("config = {{ roles = {ROLES} }}");
    let text = config(&upstream, keys, &limits);
    let small = "limits = { timeout_ms = 20000, memory_mib = 2 }";
    setup.config("", &text.replace(PATIENT, small));
    let key = user(&setup);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert_eq!(greets(&caller).await, None);

    assert!(running.setup().run(&["key", "revoke", "user"]).status.success());
    let store = running.setup().dir().join("keys.toml");
    let revoked = fs::read_to_string(&store).unwrap();
    rename_over(&store, with_more_keys(&revoked, 60_000).as_bytes());
    until("the revocation", async || greets(&caller).await).await;
    until("the broken policy", async || (policy(&running, "keys")["state"] == "broken").then_some(())).await;
    assert_eq!(greets(&caller).await.as_deref(), Some("config"));

    rename_over(&store, revoked.as_bytes());
    until_says(&caller, "revoked").await;
}

/// Sets the soft limit of descriptors of a running process.
fn limit_descriptors(running: &Running, to: usize) {
    let pid = running.pid().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={to}:")]).status().unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_in_force_after_a_moment_without_descriptors() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.config("", &config(&upstream, "", &format!("config = {{ roles = {ROLES} }}")));
    let key = user(&setup);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert_eq!(greets(&caller).await, None);

    // Its connections are open, and it can open no other file.
    limit_descriptors(&running, 1);
    assert!(running.setup().run(&["key", "revoke", "--help"]).status.success());
    let output = running.setup().run(&["key", "revoke", "user"]);
    assert!(output.status.success() || output.status.code() == Some(75), "{output:?}");
    running.await_log("Too many open files");
    limit_descriptors(&running, 1024);
    until_says(&caller, "revoked").await;
}
