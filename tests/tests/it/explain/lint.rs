//! `witgate lint`.

use serde_json::{Value, json};
use witgate_tests::clients::Clients;
use witgate_tests::gateway::Setup;

/// The findings of a command, as JSON, and its exit code.
fn findings(setup: &Setup, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let output = setup.run(&[&["--json", "lint"], arguments].concat());
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (report["findings"].as_array().unwrap().clone(), output.status.code())
}

/// The code, the name and the fix of each finding.
fn fixes(findings: &[Value]) -> Vec<[&str; 3]> {
    findings
        .iter()
        .map(|finding| ["code", "name", "fix"].map(|member| finding[member].as_str().unwrap()))
        .collect()
}

#[test]
fn misspelt_names_are_found_in_the_lists_of_a_real_server() {
    let setup = Setup::new();
    let command = json!(Clients::installed().unwrap().everything_command());
    let rules = |allow: &str| {
        setup.config(
            "",
            &format!(
                "[upstreams.everything]\ncommand = {command}\n\
                 [policies.rules]\nkind = 'rbac'\n\
                 config.roles.anybody = {{ allow = {allow}, conditions = [{{ on = 'echo', argument = '/mesage', matches = 'a*' }}] }}\n\
                 [pipeline]\nanonymous = {{ roles = ['anybody'] }}\nauthorize = ['rules']\n"
            ),
        );
    };
    rules("['ecoh', 'get-sumn', 'echo']");
    let (offline, code) = findings(&setup, &[]);
    assert!(offline.is_empty() && code == Some(0), "{offline:?}");
    let (live, code) = findings(&setup, &["--live", "--save-lists", "lists.json"]);
    assert_eq!(
        fixes(&live),
        [
            ["unknown-name", "ecoh", "write `echo`"],
            ["unknown-name", "get-sumn", "write `get-sum`"],
            ["unknown-argument", "/mesage", "write `/message`"],
        ]
    );
    assert_eq!(code, Some(1));
    let (stored, _) = findings(&setup, &["--lists", "lists.json"]);
    assert_eq!(stored, live);
    let line = std::fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let place = usize::try_from(live[0]["line"].as_u64().unwrap()).unwrap() - 1;
    assert!(line.lines().nth(place).unwrap().contains("'ecoh'"), "{live:?}");

    rules("['get-sum', 'echo']");
    let sarif = setup.run(&["lint", "--lists", "lists.json", "--sarif"]);
    let sarif: Value = serde_json::from_slice(&sarif.stdout).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "unknown-argument");
}
