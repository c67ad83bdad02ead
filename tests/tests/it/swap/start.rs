//! A component that is missing at the start: the fallback, and the reasons for refusing it.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use witgate_tests::gateway::{Running, Setup, await_some, component, unframed};

use super::{PATIENT, ROLES, config, policy, rename_over, user};
use crate::caller::{Caller, Upstream, metric, until};

fn rules(more: &str) -> String {
    format!("component = \"plugins/rbac.wasm\"\nconfig = {{ roles = {ROLES} }}\n{PATIENT}\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_component_is_replaced_by_the_built_in_with_a_warning() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.config("", &config(&upstream, "", &rules("fallback = \"builtin\"")));
    fs::create_dir(setup.dir().join("plugins")).unwrap();
    let key = user(&setup);
    let running = setup.serve();
    let log = running.await_log("FALLBACK to the built-in");
    let warning =
        log.lines().find(|line| line.contains("WARN") && line.contains("FALLBACK")).expect("a warning");
    assert!(warning.contains("rbac.wasm") && warning.contains("rules"), "{warning}");
    let policy_of_rules = policy(&running, "rules");
    assert_eq!(
        (&policy_of_rules["state"], &policy_of_rules["source"]),
        (&json!("fallback"), &json!("fallback"))
    );
    assert!(policy_of_rules["error"].as_str().unwrap().contains("there is no file"), "{policy_of_rules}");

    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("greet", json!({})).await.is_result());
    assert_eq!(caller.call("test_error_handling", json!({})).await.reason(), Some("denied"));
    let fallbacks = metric(&running.admin_url(), "witgate_policy_fallbacks_total", "policy=\"rules\"").await;
    assert_eq!(fallbacks, 2.0, "each decision of the stand-in is counted");
    let audited = |line: &&str| line.contains("witgate::audit") && line.contains("fallback=\"rules\"");
    let both = || (running.log().lines().filter(audited).count() == 2).then_some(());
    await_some("it in the records of both calls", both);
    assert!(caller.stateless("tools/list", None, json!({})).await.unwrap().is_result());
    let is_list = |line: &&str| audited(line) && line.contains("method=\"tools/list\"");
    await_some("it in the record of a list", || {
        running.log().lines().any(|line| is_list(&line)).then_some(())
    });

    // The missing component does not keep other changes from going live.
    revoked_at_once(&running).await;

    // Once the file exists, the component goes live.
    let file = running.setup().dir().join("plugins/rbac.wasm");
    rename_over(&file, &fs::read(component("rbac")).unwrap());
    until("the component", async || (policy(&running, "rules")["source"] == "component").then_some(())).await;
    assert_eq!(policy(&running, "rules")["state"], "live");
    assert!(caller.call("greet", json!({})).await.is_result());

    // The file is removed again: the loaded component stays, and so does everything else.
    fs::remove_file(&file).unwrap();
    revoked_at_once(&running).await;
    assert_eq!(policy(&running, "rules")["source"], "component");
    assert!(caller.call("greet", json!({})).await.is_result());

    // But not as what the configuration says it must not be.
    let other = format!("fallback = \"builtin\"\ndigest = \"sha256:{}\"", "0".repeat(64));
    running.setup().config("", &config(&upstream, "", &rules(&other)));
    let refused = "there is no file";
    until(refused, async || policy(&running, "rules")["error"].as_str()?.contains(refused).then_some(()))
        .await;
    assert_eq!(policy(&running, "rules")["state"], "candidate-refused");
}

/// A key made and revoked while a component's file is missing.
async fn revoked_at_once(running: &Running) {
    let name = format!("brief-{}", policy(running, "rules")["source"].as_str().unwrap());
    let key = running.setup().key(&[&name, "--role", "user", "--allow", "*"]);
    let brief = Caller::new(running.url(), Some(&key));
    until("the new key", async || brief.call("greet", json!({})).await.is_result().then_some(())).await;
    assert!(running.setup().run(&["key", "revoke", &name]).status.success());
    let refused = async || (brief.call("greet", json!({})).await.reason() == Some("revoked")).then_some(());
    until("the revocation", refused).await;
}

/// Each start ends by itself, with one clear line and its own exit code, before anything listens.
#[test]
fn faults_that_prevent_a_start_are_explained() {
    let upstream = Upstream::start();
    let wrong = format!("digest = \"sha256:{}\"", "0".repeat(64));
    let builtin = "fallback = \"builtin\"";
    let cases: [(&str, Option<&str>, String, &[&str]); 6] = [
        (
            "missing",
            None,
            String::new(),
            &["witgate.toml:13:13", "there is no component", "plugins/rbac.wasm", "help:"],
        ),
        ("missing, deny", None, "fallback = \"deny\"".into(), &["there is no component"]),
        ("not the pinned one", Some("rbac"), wrong.clone(), &["the config pins sha256:0000"]),
        (
            "nor with a fallback",
            Some("rbac"),
            format!("{wrong}\n{builtin}"),
            &["the config pins sha256:0000"],
        ),
        (
            "not shipped",
            Some("examples/read-only"),
            builtin.into(),
            &["`fallback = \"builtin\"` is for the shipped"],
        ),
        ("truncated, with a fallback", Some(""), builtin.into(), &["is not a component"]),
    ];
    for (name, put, more, messages) in cases {
        let setup = Setup::new();
        let config = setup.config("", &config(&upstream, "", &rules(&more)));
        user(&setup);
        match put {
            Some("") => drop(setup.file("plugins/rbac.wasm", b"\0asm\x0d\0\x01")),
            Some(put) => drop(fs::copy(component(put), setup.file("plugins/rbac.wasm", "")).unwrap()),
            None => {}
        }
        let mut child =
            setup.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("{name}: it serves");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code().unwrap() >= 64, "{name}: {:?}\n{text}", output.status);
        for message in messages {
            assert!(unframed(&text).contains(message), "{name}: no `{message}` in\n{text}");
        }
        assert!(!text.contains("FALLBACK") && !text.contains("panicked"), "{name}: {text}");
        assert!(!config.with_file_name("witgate.sock").exists(), "{name}: a socket was left");
    }
}
