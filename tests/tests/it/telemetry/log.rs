//! `witgate log level`, and the members of the log's JSON lines.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use witgate_tests::gateway::{Setup, workspace};

use super::{Observed, POLICIES};

#[test]
fn the_level_changes_while_witgate_runs() {
    let setup = Setup::new().env("RUST_LOG", "warn");
    let observed = Observed::start_in(setup, "[upstreams.own]\nown_tools = true");
    let level = |arguments: &[&str]| {
        let output = observed.gateway.setup().run(&[&["log", "level"], arguments].concat());
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(level(&[]).1, "warn\n");
    let (code, _, fault) = level(&["infp"]);
    assert!(code == Some(69) && fault.contains("did you mean `info`?"), "{code:?} {fault}");
    assert_eq!(level(&[]).1, "warn\n", "the former level stays");

    let answer: Value = serde_json::from_str(&level(&["info", "--json"]).1).unwrap();
    assert_eq!(answer, json!({ "level": "info", "before": "warn" }));
    let log = observed.gateway.await_log("the log level was changed");
    let line = log.lines().find(|line| line.contains("the log level was changed")).unwrap();
    let by = format!("by=\"user {}, process ", rustix::process::getuid().as_raw());
    assert!(line.contains("level=\"info\" before=\"warn\"") && line.contains(&by), "{line}");
    // A reload logs at this level.
    let hangup = Command::new("kill").args(["-HUP", &observed.gateway.pid().to_string()]).status();
    assert!(hangup.unwrap().success());
    observed.gateway.await_log("SIGHUP: checking");
    // The audit is not affected.
    assert!(level(&["off"]).0 == Some(0));
    observed.call("echo");
    observed.gateway.await_log("witgate::audit");
}

/// Every line of the JSON log has the members on the page, and no other.
#[test]
fn each_json_line_has_the_documented_members() {
    let setup = Setup::new();
    setup.config("", &format!("[upstreams.own]\nown_tools = true\n{POLICIES}"));
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let setup = setup.within(&["sh", "-c", "exec \"$@\" --json", "sh"]);
    let observed = Observed { gateway: setup.serve(), key };
    observed.call("echo");
    observed.gateway.await_log("witgate::audit");
    let page = std::fs::read_to_string(workspace().join("docs/telemetry.md")).unwrap();
    let section = page.split("\n## Log\n").nth(1).unwrap();
    let documented: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for line in observed.gateway.log().lines() {
        let read: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let members: BTreeSet<&str> = read.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, documented, "{line}");
        assert!(read["fields"].is_object(), "{line}");
    }
}
