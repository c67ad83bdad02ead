//! `witgate lint`, `witgate unused` and `witgate suggest`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{Setup, await_some};

use super::config;
use crate::caller::Caller;

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

/// The rules name tools of server-everything as it called them in 2025.
#[test]
fn tools_that_a_real_server_has_renamed_are_found_with_their_new_names() {
    let setup = Setup::new();
    let command = json!(Clients::installed().unwrap().everything_command());
    setup.config(
        "",
        &format!(
            "[upstreams.everything]\ncommand = {command}\n\
             [policies.rules]\nkind = 'rbac'\n\
             config.roles.anybody = {{ allow = ['*'], deny = ['getTinyImage', 'longRunningOperation', \
             'structuredContent', 'annotatedMessage', 'getResourceReference', 'get-env'] }}\n\
             [pipeline]\nanonymous = {{ roles = ['anybody'] }}\nauthorize = ['rules']\n\
             [lint]\nallow = ['destructive-wildcard']\n"
        ),
    );
    let (live, _) = findings(&setup, &["--live"]);
    let renamed = [
        ("getTinyImage", "get-tiny-image"),
        ("longRunningOperation", "trigger-long-running-operation"),
        ("structuredContent", "get-structured-content"),
        ("annotatedMessage", "get-annotated-message"),
        ("getResourceReference", "get-resource-reference"),
    ];
    let expected = renamed.map(|(old, new)| (old.to_owned(), format!("write `{new}`")));
    let found = fixes(&live).into_iter().filter(|[code, ..]| *code == "unknown-name");
    let found: Vec<_> = found.map(|[_, name, fix]| (name.to_owned(), fix.to_owned())).collect();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suggestion_allows_exactly_what_was_seen() {
    let setup = Setup::new();
    config(&setup, "[audit]\ndirectory = 'log'\n");
    let ada = setup.key(&["ada", "--role", "user", "--allow", "*"]);
    let ben = setup.key(&["ben", "--role", "admin", "--scope", "math", "--allow", "*"]);
    setup.key(&["eve", "--role", "admin", "--allow", "*"]);
    let running = setup.serve();
    let calls = [
        (&ada, "echo", json!({ "text": "abc" })),
        (&ben, "add", json!({ "a": 1, "b": 2 })),
        (&ada, "add", json!({})),
    ];
    for (key, tool, arguments) in calls {
        Caller::new(running.url(), Some(key)).call(tool, arguments).await;
    }
    let setup = running.setup();
    let suggestion = await_some("three entries", || {
        let output = setup.run(&["--json", "audit", "query", "--method", "tools/call"]);
        let entries = String::from_utf8_lossy(&output.stdout).lines().count();
        (entries >= 3).then(|| setup.run(&["suggest", "--since", "1h"]))
    });
    assert_eq!(suggestion.status.code(), Some(0), "{suggestion:?}");
    let policy = String::from_utf8(suggestion.stdout).unwrap();

    let unused = setup.run(&["--json", "unused", "--since", "1h"]);
    let unused: Value = serde_json::from_slice(&unused.stdout).unwrap();
    let names: Vec<_> = unused["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["kind"].clone(), it["name"].clone()))
        .collect();
    assert_eq!(names, [(json!("key"), json!("eve"))]);

    let cases = setup.run(&["suggest", "--since", "1h", "--form", "cases"]);
    setup.file("cases.toml", String::from_utf8(cases.stdout).unwrap());
    let tested = setup.run(&["plugin", "test", "cases.toml"]);
    assert_eq!(tested.status.code(), Some(0), "{tested:?}");

    std::fs::create_dir(setup.dir().join("next")).unwrap();
    let keys = std::fs::read_to_string(setup.dir().join("keys.toml")).unwrap();
    setup.file("next/keys.toml", keys);
    setup.file(
        "next/witgate.toml",
        format!(
            "{policy}\n[upstreams.own]\nown_tools = true\n[policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['suggested-own']\n"
        ),
    );
    let can = |key: &str| {
        let output = setup.run(&["--json", "can", "--key", key, "--candidate", "next"]);
        let answer: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let entry = |entry: &Value| (entry["name"].to_string(), entry["call"].to_string());
        answer["entries"].as_array().unwrap().iter().map(entry).collect::<BTreeMap<_, _>>()
    };
    let yes = |tool: &str| BTreeMap::from([(format!("\"{tool}\""), "\"yes\"".to_owned())]);
    assert_eq!((can("ada"), can("ben"), can("eve")), (yes("echo"), yes("add"), BTreeMap::new()));
}
