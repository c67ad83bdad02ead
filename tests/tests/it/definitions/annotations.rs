//! Conditions of `rbac` on the approved annotations of tools.

use serde_json::{Value, json};
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{Setup, workspace};

use super::{define, names, text, tool};
use crate::caller::Caller;

/// A set-up with one upstream, which has this command and these settings. Its callers may use tools with this annotation.
fn setup(command: &Value, settings: &str, annotation: &str, equals: bool) -> (Setup, String) {
    let setup = Setup::new();
    let settings = settings.replace("{dir}", &setup.dir().display().to_string());
    setup.config(
        "",
        &format!(
            "[upstreams.files]\ncommand = {command}\neras = ['stateful']\n{settings}\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [policies.rules]\nkind = 'rbac'\n[policies.rules.config.roles.user]\nallow = ['*']\n\
             conditions = [{{ on = '*', annotation = '{annotation}', equals = {equals} }}]\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n"
        ),
    );
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    (setup, key)
}

fn approve(setup: &Setup, arguments: &[&str]) {
    let approved = setup.run(&[&["upstream", "approve", "files"], arguments].concat());
    assert_eq!(approved.status.code(), Some(0), "{}", text(&approved));
}

fn hinting(name: &str, annotations: Value) -> Value {
    let mut tool = tool(name, "A tool.");
    tool["annotations"] = annotations;
    tool
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_changes_an_annotation_changes_the_decision() {
    let script = workspace().join("tests/tests/it/definitions/changing_server.py");
    let settings = "pins = 'hold'\nenv = { DEFINITIONS = '{dir}/files.json' }";
    let (setup, key) = setup(&json!(["python3", script]), settings, "destructiveHint", false);
    let silent = tool("silent", "A tool without annotations.");
    let listing = |is_destructive: bool| {
        let drop = hinting("drop", json!({ "destructiveHint": is_destructive }));
        json!([[[drop, hinting("read", json!({ "destructiveHint": false })), silent]]])
    };
    define(&setup, "files", &listing(false));
    approve(&setup, &["--live"]);
    let mut running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("drop", json!({})).await.is_result());
    assert_eq!(names(&caller).await, ["drop", "read"]);
    let refused = caller.call("silent", json!({})).await;
    assert_eq!((refused.status, refused.reason()), (403, Some("condition")), "the default of MCP is true");

    for (is_destructive, listed) in [(true, vec!["read"]), (false, vec!["drop", "read"])] {
        define(running.setup(), "files", &listing(is_destructive));
        running.restart();
        // What the server says counts only after the approval.
        let before = caller.call("drop", json!({})).await;
        assert_eq!(before.status, 403, "{before:?}");
        assert_eq!(names(&caller).await, ["read"]);
        approve(running.setup(), &["drop"]);
        let after = caller.call("drop", json!({})).await;
        let expected = if is_destructive { Some("condition") } else { None };
        assert_eq!((after.is_result(), after.reason()), (!is_destructive, expected), "{after:?}");
        assert_eq!(names(&caller).await, listed);
        if is_destructive {
            let explained = running.setup().run(&["explain", "--key", "user", "--call", "drop"]);
            assert_eq!(explained.status.code(), Some(1), "{}", text(&explained));
            for part in [
                "`destructiveHint` of `drop` is true in its approved definition",
                r#"request.annotations("drop") = readOnlyHint false, destructiveHint true"#,
                "actual value: true",
                "No single change",
            ] {
                assert!(text(&explained).contains(part), "{part}: {}", text(&explained));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_annotations_of_a_real_server_decide_about_lists_and_calls() {
    let command = json!(Clients::installed().unwrap().everything_command());
    let (setup, key) = setup(&command, "pins = 'hold'", "readOnlyHint", true);
    approve(&setup, &["--live"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let listed = names(&caller).await;
    for (name, is_read_only) in [("echo", true), ("get-sum", true), ("toggle-simulated-logging", false)] {
        assert_eq!(listed.iter().any(|listed| listed == name), is_read_only, "{name} {listed:?}");
        let answer = caller.call(name, json!({ "message": "hi", "a": 1, "b": 2 })).await;
        let reason = if is_read_only { None } else { Some("condition") };
        assert_eq!((answer.is_result(), answer.reason()), (is_read_only, reason), "{name} {answer:?}");
    }
}

#[test]
fn a_condition_on_what_nobody_approves_is_refused_with_its_line() {
    for (pins, now) in [("pins = 'warn'", "has `pins = \"warn\"`"), ("", "has no `pins`")] {
        let (setup, _) = setup(&json!(["true"]), pins, "destructiveHint", false);
        let check = setup.run(&["check"]);
        assert_eq!(check.status.code(), Some(1), "{}", text(&check));
        for part in
            ["a condition on `destructiveHint` needs approved definitions", now, "─────", "annotation = "]
        {
            assert!(text(&check).contains(part), "{part}: {}", text(&check));
        }
    }
}

#[test]
fn the_guard_of_access_knows_approved_prompts_that_nobody_has_listed() {
    let command = json!(Clients::installed().unwrap().everything_command());
    let (setup, _) = setup(&command, "pins = 'hold'", "readOnlyHint", true);
    approve(&setup, &["--live"]);
    let file = setup.dir().join("witgate.toml");
    let narrow = std::fs::read_to_string(&file).unwrap() + "[reload]\nno_new_access = true\n";
    std::fs::write(&file, narrow.replace("allow = ['*']", "allow = ['get-*']")).unwrap();
    let running = setup.serve();
    let wide = narrow.replace("allow = ['*']", "allow = ['get-*', 'prompt:*']");
    std::fs::write(&file, wide.replace("on = '*'", "on = 'get-*'")).unwrap();
    let log = running.await_log("the change widens access");
    assert!(log.contains("prompt:completable-prompt"), "{log}");
}
