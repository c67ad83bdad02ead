//! Commands that revoke report whether the change is in force, instead of expecting it.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup};

use super::{ROLES, config, policy, user};
use crate::caller::{Answer, Caller, Upstream};

const NOT_IN_FORCE: i32 = 75;

fn set_up(upstream: &Upstream, keys: &str) -> (Setup, String) {
    let setup = Setup::new();
    let rules = format!("config = {{ roles = {ROLES} }}");
    setup.config("", &config(upstream, "", &rules).replace("keys.toml", keys));
    let key = user(&setup);
    (setup, key)
}

async fn greet(running: &Running, key: &str) -> Answer {
    Caller::new(running.url(), Some(key)).call("greet", json!({ "name": "you" })).await
}

fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The digest as `sha256sum` writes it.
fn sha256_of(file: &std::path::Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256:{}", text.split(' ').next().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reported_as_in_force_holds_for_the_next_call() {
    let upstream = Upstream::start();
    let (setup, key) = set_up(&upstream, "keys.toml");
    let keys: Vec<_> =
        (0..5).map(|number| setup.key(&[&format!("k{number}"), "--role", "user", "--allow", "*"])).collect();
    let running = setup.serve();
    assert!(greet(&running, &key).await.is_result());
    for (number, key) in keys.iter().enumerate() {
        let output = running.setup().run(&["key", "revoke", &format!("k{number}")]);
        assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
        assert!(
            output_text(&output).contains("The running Witgate uses it (generation "),
            "{}",
            output_text(&output)
        );
        assert_eq!(greet(&running, key).await.reason(), Some("revoked"));
    }
    // Whatever bounds were lowered at the start: nothing of [server] was edited.
    assert!(!running.log().contains("change with a restart only"), "{}", running.log());
    let output = running.setup().run(&["key", "revoke", "user", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["in_force"], true, "{answer}");
    assert_eq!(greet(&running, &key).await.reason(), Some("revoked"));
    // A new key and a new secret are valid as soon as the command has ended.
    let new = running.setup().key(&["new", "--role", "user", "--allow", "*"]);
    assert!(greet(&running, &new).await.is_result());
    let output = running.setup().run(&["key", "rotate", "new", "--overlap", "0s", "--json"]);
    let rotated: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(greet(&running, rotated["key"].as_str().unwrap()).await.is_result());
    assert_eq!(greet(&running, &new).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_policy_are_shown_by_digest_but_not_secrets() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.file("secret", "a secret that is long enough to sign with");
    let tokens = "[policies.tokens]\nkind = \"jwt\"\n\
        config = { keys = [{ secret = { file = \"secret\" } }], algorithms = [\"HS256\"] }\n[pipeline]";
    let rules = format!("config = {{ roles = {ROLES} }}");
    let text = config(&upstream, "", &rules);
    setup.config("", &text.replace("[pipeline]", tokens).replace("[\"keys\"]", "[\"keys\", \"tokens\"]"));
    let _key = user(&setup);
    let running = setup.serve();
    let store = running.setup().dir().join("keys.toml");
    let files = policy(&running, "keys")["files"].clone();
    assert_eq!(files[0]["digest"], sha256_of(&store), "{files}");
    let secret = policy(&running, "tokens")["files"].clone();
    assert!(secret[0]["file"].as_str().unwrap().ends_with("secret"), "{secret}");
    assert_eq!(secret[0]["digest"], Value::Null, "it could be guessed by its digest");
    let before = running.plugins()["digest"].clone();
    assert!(before.as_str().unwrap().starts_with("sha256:"));
    assert!(running.setup().run(&["key", "revoke", "user"]).status.success());
    assert_ne!(running.plugins()["digest"], before, "it is the digest of all that is in force");
    let metrics =
        reqwest::get(format!("{}/metrics", running.admin_url())).await.unwrap().text().await.unwrap();
    let line =
        metrics.lines().find(|line| line.starts_with("witgate_policy_file_info{policy=\"keys\"")).unwrap();
    assert!(line.contains(&sha256_of(&store)), "{line}");
    assert!(metrics.contains("witgate_generation_info{digest=\"sha256:"), "{metrics}");
    assert!(!metrics.contains(&sha256_of(&running.setup().dir().join("secret"))));
}

#[test]
fn a_revocation_without_a_gateway_is_reported() {
    let upstream = Upstream::start();
    let (setup, _) = set_up(&upstream, "keys.toml");
    let output = setup.run(&["key", "revoke", "user"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output_text(&output).contains("No running Witgate could be asked"), "{}", output_text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_gateway_is_not_reported_as_refusing() {
    let upstream = Upstream::start();
    let (setup, _) = set_up(&upstream, "keys.toml");
    let running = setup.serve();
    running.signal("STOP");
    let output = running.setup().run(&["key", "revoke", "user", "--wait", "1s"]);
    running.signal("CONT");
    assert_eq!(output.status.code(), Some(NOT_IN_FORCE), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("NOT IN FORCE") && output_text(&output).contains("does not answer"),
        "{}",
        output_text(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_use_the_store_is_not_reported_as_refusing() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let rules = format!("config = {{ roles = {ROLES} }}");
    let text = config(&upstream, "", &rules);
    let unused = "[policies.unused]\nkind = \"api-key\"\nconfig = { store = \"unused.toml\" }\n[pipeline]";
    setup.config("", &text.replace("[pipeline]", unused));
    for policy in ["keys", "unused"] {
        setup.key(&["user", "--role", "user", "--allow", "*", "--policy", policy]);
    }
    let running = setup.serve();
    let output = running.setup().run(&["key", "revoke", "user", "--policy", "unused", "--wait", "1s"]);
    assert_eq!(output.status.code(), Some(NOT_IN_FORCE), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("unused.toml for none of its policies"),
        "{}",
        output_text(&output)
    );
    // A command with `--wait 0s` reports nothing.
    let output = running.setup().run(&["key", "revoke", "user", "--policy", "unused", "--wait", "0s"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output_text(&output).contains("No running Witgate was asked"), "{}", output_text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_beside_a_broken_component_is_in_force_and_reported() {
    let upstream = Upstream::start();
    let (setup, key) = set_up(&upstream, "keys.toml");
    let running = setup.serve();
    assert!(greet(&running, &key).await.is_result());
    let setup = running.setup();
    let broken = setup.file("broken.wasm", "no component");
    let text = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let component = format!("kind = \"rbac\"\ncomponent = \"{}\"", broken.display());
    setup.file("witgate.toml", text.replace("kind = \"rbac\"", &component));
    running.await_log("is not a component");
    let output = running.setup().run(&["key", "revoke", "user"]);
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    assert_eq!(greet(&running, &key).await.reason(), Some("revoked"));
}
