//! A faulty component does not go live, its reason is visible everywhere, and its repair goes live.

use std::fs;

use serde_json::json;
use witgate_tests::gateway::{Setup, await_some, component};

use super::{PATIENT, ROLES, another, config, policy, rename_over, user};
use crate::caller::{Caller, Upstream, metric, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_component_is_refused() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    // `read-only` has no setting `default`.
    let rules = format!(
        "component = \"plugins/rbac.wasm\"\n{PATIENT}\nconfig = {{ roles = {ROLES}, default = \"deny\" }}"
    );
    setup.config("", &config(&upstream, "component = \"plugins/api-key.wasm\"", &rules));
    setup.component("api-key");
    let file = setup.component("rbac");
    let key = user(&setup);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let good = fs::read(component("rbac")).unwrap();
    let digest = policy(&running, "rules")["digest"].clone();

    let half = good[..good.len() / 2].to_vec();
    let bad: [(&str, Vec<u8>, &str); 8] = [
        ("empty", Vec::new(), "is not a component"),
        ("truncated", half, "is not a component"),
        ("no wasm at all", b"#!/bin/sh\n".to_vec(), "is not a component"),
        ("a core module", b"\0asm\x01\0\0\0".to_vec(), "is not a component"),
        ("no exports", b"\0asm\x0d\0\x01\0".to_vec(), "not of a world of `witgate:auth@0.1.0`"),
        ("an authenticator", fs::read(component("jwt")).unwrap(), "config"),
        ("refuses its settings", fs::read(component("examples/read-only")).unwrap(), "default"),
        ("wants secrets", fs::read(component("tests/secretive")).unwrap(), "`witgate:auth/secrets@0.1.0`"),
    ];
    for (number, (name, content, why)) in (1_u32..).zip(bad) {
        rename_over(&file, &content);
        let refused = until(name, async || {
            let refused = metric(&running.admin_url(), "witgate_reloads_total", "outcome=\"refused\"").await;
            (refused >= f64::from(number)).then_some(refused)
        })
        .await;
        assert_eq!(refused, f64::from(number), "{name}");
        let policy = policy(&running, "rules");
        assert_eq!((&policy["state"], &policy["digest"]), (&json!("candidate-refused"), &digest), "{name}");
        let error = policy["error"].as_str().unwrap();
        assert!(error.contains(why), "{name}: {error}");
        let logged = error.replace('"', "\\\"");
        let log = running.await_log(&logged);
        let line = log.lines().find(|line| line.contains(&logged)).unwrap();
        assert!(line.contains("ERROR") && line.contains("the live generation stays"), "{name}: {line}");
        let answer = caller.call("greet", json!({})).await;
        assert!(answer.is_result(), "{name}: {answer:?}");
        let denied = caller.call("test_error_handling", json!({})).await;
        assert_eq!(denied.reason(), Some("denied"), "{name}: {denied:?}");
        assert_eq!(running.plugins()["generation"], 1, "{name}");
    }

    rename_over(&file, &another(&good, b'm'));
    until("the mended one", async || (policy(&running, "rules")["digest"] != digest).then_some(())).await;
    let mended = policy(&running, "rules");
    assert_eq!((&mended["state"], &mended["error"]), (&json!("live"), &json!(null)));
    assert!(caller.call("greet", json!({})).await.is_result());
    assert_eq!(metric(&running.admin_url(), "witgate_reloads_total", "outcome=\"flipped\"").await, 1.0);
}

/// An authenticator under `authorize`: its settings are valid, but it lacks the hook. For shipped kinds the
/// configuration knows that; for others, the component does.
#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_among_the_authorizers_is_refused() {
    let upstream = Upstream::start();
    let cases = [
        ("jwt", "`tokens` is of the kind `jwt`, which never says what a caller may do"),
        ("custom", "policy `tokens`: the pipeline lists it under `authorize`, but it has no such hook"),
    ];
    for (kind, why) in cases {
        let setup = Setup::new().env("KEY", "0123456789abcdef0123456789abcdef");
        let rules = format!(
            "config = {{ roles = {ROLES} }}\n[keys.session]\nsecret = {{ env = \"KEY\" }}\n\
             [policies.tokens]\nkind = \"{kind}\"\ncomponent = \"plugins/jwt.wasm\"\n\
             grants = {{ keys = [\"session\"] }}\n\
             config = {{ keys = [\"session\"], algorithms = [\"HS256\"] }}"
        );
        let good = config(&upstream, "", &rules);
        setup.config("", &good);
        setup.component("jwt");
        let key = user(&setup);
        let running = setup.serve();
        // At once: the watcher sees changes from the moment at which the file was read.
        running.setup().config("", &good.replace("[\"rules\"]", "[\"rules\", \"tokens\"]"));
        let log = running.await_log("the change was not applied");
        assert!(log.contains(why), "{kind}: {log}");
        let reason = await_some("the reason", || {
            running.plugins()["last_change"]["errors"][0].as_str().map(str::to_owned)
        });
        assert!(reason.contains(why), "{kind}: {reason}");
        let caller = Caller::new(running.url(), Some(&key));
        assert!(caller.call("greet", json!({})).await.is_result());
        running.setup().config("", &good.replace("[\"keys\"]", "[\"keys\", \"tokens\"]"));
        until("the mended one", async || {
            let list = running.plugins();
            (list["last_change"]["errors"].is_null() && list["whole"] == true).then_some(())
        })
        .await;
        assert_eq!(policy(&running, "tokens")["state"], "live");
    }
}

/// A policy with a kind that does not exist cannot be made at all. The former one stays live, and the fault is
/// reported.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_is_reported_and_the_former_policy_stays() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let good = config(&upstream, "", &format!("config = {{ roles = {ROLES} }}"));
    setup.config("", &good);
    let key = user(&setup);
    let running = setup.serve();
    running.setup().config("", &good.replace("kind = \"rbac\"", "kind = \"rbca\""));
    let reason = await_some("the reason", || {
        running.plugins()["last_change"]["errors"][0].as_str().map(str::to_owned)
    });
    assert!(reason.contains("`policies.rules.kind` cannot be `rbca`"), "{reason}");
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("greet", json!({})).await.is_result());
    assert_eq!(caller.call("test_error_handling", json!({})).await.reason(), Some("denied"));
    running.setup().config("", &good);
    until("the mended one", async || {
        let list = running.plugins();
        (list["last_change"]["errors"].is_null() && list["whole"] == true).then_some(())
    })
    .await;
}
