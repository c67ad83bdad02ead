//! Child processes, each for one caller.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use witgate_tests::gateway::workspace;

use super::{of_issuer, serve, setup};

fn config() -> String {
    let script = workspace().join("tests/tests/it/identity/environment_server.py");
    format!(
        "[upstreams.env]\ncommand = ['python3', {script:?}]\nenv = {{ W_OTHER = 'x' }}\n\
         [upstreams.env.identity]\nenv = {{ kind = 'W_KIND', principal = 'W_PRINCIPAL', subject = 'W_SUBJECT', issuer = 'W_ISSUER' }}"
    )
}

fn identity_variables(kind: &str, principal: &str, subject: &str, issuer: Option<&str>) -> Value {
    let mut variables =
        json!({ "W_OTHER": "x", "W_KIND": kind, "W_PRINCIPAL": principal, "W_SUBJECT": subject });
    if let Some(issuer) = issuer {
        variables["W_ISSUER"] = issuer.into();
    }
    variables
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_gets_its_caller_and_serves_no_other() {
    let (running, callers) = serve(setup(), &config(), &["ada", "bob"]);
    let issuer = "https://idp.example.com";
    let other = of_issuer(&running, "ada, \"root\"", &json!(["user"]));
    let expected = [
        (&callers[0], identity_variables("known", "keys||ada", "ada", None)),
        (&callers[1], identity_variables("known", "keys||bob", "bob", None)),
        (
            &other,
            identity_variables(
                "known",
                "idp|https://idp.example.com|ada%2C%20%22root%22",
                "ada, \"root\"",
                Some(issuer),
            ),
        ),
    ];
    let mut processes = BTreeSet::new();
    for (caller, identity_variables) in expected {
        let session = caller.open_session().await;
        for answer in
            [caller.call_in(&session, "tell", json!({})).await, caller.call("tell", json!({})).await]
        {
            let content = answer.content();
            assert_eq!(content["told"], identity_variables);
            processes.insert(content["process"].as_u64().unwrap());
        }
        // The same caller gets the same process, so that its identity stays true.
        let again = caller.call("tell", json!({})).await.content();
        assert_eq!(again["told"], identity_variables);
        processes.insert(again["process"].as_u64().unwrap());
    }
    assert_eq!(processes.len(), 6, "one for each session, and one for each caller without");
}
