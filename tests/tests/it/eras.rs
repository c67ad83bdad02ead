//! The detection of an upstream's era: the number of processes that it starts, and a configuration that makes it
//! unnecessary.

use std::fs;

use serde_json::json;
use witgate_tests::gateway::{Setup, unframed, workspace};

use crate::caller::Caller;

/// Calls a server of the stateful era as a client of the stateless one does. Returns how many processes were started.
async fn starts(eras: &str) -> usize {
    let setup = Setup::new();
    let script = workspace().join("tests/tests/it/swap/environment_server.py");
    let starts = setup.dir().join("starts");
    setup.config(
        "",
        &format!(
            "[upstreams.env]\ncommand = ['python3', {script:?}]\nenv = {{ STARTS = {starts:?} }}\n{eras}\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [policies.rules]\nkind = 'rbac'\nconfig = {{ roles = {{ user = {{ allow = ['*'] }} }} }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n"
        ),
    );
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    for _ in 0..2 {
        let answer = caller.call("tell", json!({})).await;
        assert_eq!(answer.content(), "none", "{eras}: {answer:?}");
    }
    fs::read_to_string(starts).unwrap().lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_call_waits_for_one_more_process_and_for_none_if_the_era_is_configured() {
    assert_eq!(starts("").await, 2);
    assert_eq!(starts("eras = ['stateful']").await, 1);
}

#[test]
fn an_unknown_era_of_an_upstream_is_refused() {
    let setup = Setup::new();
    for (eras, message) in [("[]", "`upstreams.own.eras` is empty"), ("['modern']", "`stateful`")] {
        setup.config("", &format!("[upstreams.own]\nown_tools = true\neras = {eras}\npipeline = {{ authenticate = [], authorize = [] }}\n"));
        let checked = setup.run(&["check"]);
        let text = unframed(&String::from_utf8_lossy(&checked.stderr));
        assert!(!checked.status.success() && text.contains(message), "{text}");
    }
}
