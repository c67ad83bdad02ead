//! Isolation between calls of a component, for each setting of `isolation`.

use serde_json::json;
use witgate_tests::gateway::Setup;
use witgate_tests::hostile::Guest;

use crate::caller::Caller;

/// The number of calls of each.
const CALLS: usize = 6;

/// For each of some calls: true if it found traces of another.
async fn finds(settings: &str) -> Vec<bool> {
    let setup = Setup::new();
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.remembers]\nkind = \"custom\"\ncomponent = \"{}\"\n{settings}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"remembers\"]\n",
            Guest::Remembers.file().display()
        ),
    );
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let mut found = Vec::new();
    for call in 0..CALLS {
        let answer = caller.call("echo", json!({ "text": format!("the secret of {call}") })).await;
        match answer.reason() {
            None => assert!(answer.is_result(), "{answer:?}"),
            Some(reason) => assert_eq!(reason, "remembers", "{answer:?}"),
        }
        let is_told =
            answer.body.pointer("/error").is_some_and(|error| error.to_string().contains("the secret"));
        assert!(!is_told, "the next caller is told: {answer:?}");
        found.push(answer.reason().is_some());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_instance_keeps_its_state() {
    for settings in ["", "isolation = \"pooled\""] {
        let mut expected = vec![true; CALLS];
        expected[0] = false;
        assert_eq!(finds(settings).await, expected, "{settings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_per_call_keeps_no_state() {
    for settings in ["isolation = \"per-call\"", "recycle_after = 1"] {
        assert_eq!(finds(settings).await, vec![false; CALLS], "{settings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recycled_instance_loses_its_state() {
    let found = finds("recycle_after = 2").await;
    assert_eq!(found, [false, true, false, true, false, true]);
}
