//! `witgate diff`, and the comparison of each change of a running Witgate.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};
use witgate_tests::gateway::{Setup, await_some, component};

use super::config;
use crate::caller::Caller;

fn diff(setup: &Setup, arguments: &[&str]) -> Value {
    let output = setup.run(&[&["--json", "diff"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The changes of keys, each as name and target.
fn of_keys(changes: &Value) -> Vec<(&str, &str)> {
    let all = changes.as_array().unwrap().iter().filter(|change| change["kind"] == "key");
    all.map(|change| (change["principal"].as_str().unwrap(), change["target"].as_str().unwrap())).collect()
}

#[test]
fn a_candidate_is_compared_over_live_lists() {
    let setup = Setup::new();
    config(&setup, "");
    setup.key(&["ada", "--role", "user", "--allow", "*"]);
    let text = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    fs::create_dir(setup.dir().join("next")).unwrap();
    setup.file(
        "next/witgate.toml",
        text.replace("allow = ['echo'],", "allow = ['add'],").replace("math", "sums"),
    );
    fs::copy(setup.dir().join("keys.toml"), setup.dir().join("next/keys.toml")).unwrap();

    let found = diff(&setup, &["live", "next"]);
    assert_eq!(of_keys(&found["lost"]), [("ada", "echo")], "{found}");
    assert_eq!(found["complete"], true, "{found}");
    let echo = &found["lost"].as_array().unwrap().iter().find(|change| change["kind"] == "key").unwrap();
    assert_eq!(echo["arguments"], json!([{ "text": "a" }]));
    // The role may call `add` now, for which callers need a scope.
    let with_scopes =
        |change: &&Value| change["principal"] == "user with all scopes" && change["target"] == "add";
    assert!(found["gained"].as_array().unwrap().iter().any(|change| with_scopes(&change)), "{found}");

    assert_eq!(setup.run(&["diff", "live", "next", "--no-new-access"]).status.code(), Some(1));
    assert_eq!(setup.run(&["diff", "live", "live", "--no-new-access"]).status.code(), Some(0));
    let same = component("rbac");
    let by_component =
        setup.run(&["diff", "live", same.to_str().unwrap(), "--policy", "roles", "--no-new-access"]);
    assert_eq!(by_component.status.code(), Some(0), "{by_component:?}");
    let missing = setup.run(&["diff", "live", "nowhere"]);
    assert!(error(&missing).contains("there is no file nowhere"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_widens_access_waits_for_permission() {
    let setup = Setup::new();
    config(&setup, "[reload]\nno_new_access = true\n[audit]\ndirectory = 'audit'\n");
    let key = setup.key(&["ada", "--role", "user", "--allow", "*"]);
    let file = setup.dir().join("witgate.toml");
    let narrow = fs::read_to_string(&file).unwrap();
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let reason = async |tool: &str| {
        let answer = caller.call(tool, json!({ "text": "abc" })).await;
        answer.reason().map(str::to_owned)
    };
    assert_eq!(reason("get_time").await.as_deref(), Some("not-allowed"));

    let wide = narrow.replace("allow = ['echo']", "allow = ['echo', 'get_time']");
    fs::write(&file, &wide).unwrap();
    running.await_log("the change widens access");
    assert_eq!(reason("get_time").await.as_deref(), Some("not-allowed"));
    let refused = running.plugins()["last_change"]["errors"][0].as_str().unwrap().to_owned();
    assert!(refused.contains("gained: key `ada`: `get_time` at `own`"), "{refused}");
    // Neither may somebody turn the setting off first.
    fs::write(&file, narrow.replace("no_new_access = true", "no_new_access = false")).unwrap();
    running.await_log("the change turns this setting off");
    // What takes access away goes live at once.
    fs::write(&file, narrow.replace("config.roles.admin = { allow = ['*'] }", "")).unwrap();
    await_some("the narrower rules", || (running.plugins()["generation"] == 2).then_some(()));
    let nothing = running.setup().run(&["plugin", "allow-access", "0d8f3b5c1e7a4926"]);
    assert!(error(&nothing).contains("no change waits"), "{nothing:?}");

    fs::write(&file, &wide).unwrap();
    let change = await_some("a refusal", || {
        let error = running.plugins()["last_change"]["errors"][0].as_str()?.to_owned();
        let (_, change) = error.split_once("allow-access ")?;
        Some(change.split_once('`')?.0.to_owned())
    });
    let other = running.setup().run(&["plugin", "allow-access", "0d8f3b5c1e7a4926"]);
    assert!(error(&other).contains(&format!("but `{change}`")), "{other:?}");
    let allowed = running.setup().run(&["plugin", "allow-access", &change]);
    assert!(allowed.status.success(), "{allowed:?}");
    await_some("the wide rules", || (running.plugins()["generation"] == 3).then_some(()));
    assert_eq!(reason("get_time").await, None);
    let access = await_some("the difference", || {
        let access = running.plugins()["access"].clone();
        (access["generation"] == 3).then_some(access)
    });
    assert!(access["gained"].as_u64().unwrap() > 0, "{access}");
    let earlier =
        running.setup().run(&["explain", "--generation", "1", "--key", "ada", "--call", "get_time"]);
    assert!(String::from_utf8_lossy(&earlier.stdout).starts_with("denied: "), "{earlier:?}");
    let between = diff(running.setup(), &["1", "3", "--call", "get_time"]);
    assert_eq!(of_keys(&between["gained"]), [("ada", "get_time")]);
    let log = running.setup().run(&["--json", "audit", "query", "--kind", "access-changed"]);
    assert!(String::from_utf8_lossy(&log.stdout).contains("\"gained\""), "{log:?}");
}
