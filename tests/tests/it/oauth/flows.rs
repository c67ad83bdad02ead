//! Clients that are programs: the client-credentials grant, through the SDKs' own providers.

use serde_json::json;
use witgate_tests::clients::{Client, Clients, Session};
use witgate_tests::oauth::Make;

use super::{GUARDED, PATIENT, READ, Testbed, WRITE, hello};
use crate::caller::{Caller, until};

/// From the bare URL: refused, sent to the metadata, to the authorization server, and back with a token.
#[tokio::test(flavor = "multi_thread")]
async fn clients_obtain_their_tokens_without_help() {
    let clients = Clients::installed().unwrap();
    for make in Make::ALL {
        let testbed = Testbed::of(make);
        let both = testbed.server.robot(&format!("{READ} {WRITE}"));
        for (upstream, ..) in GUARDED {
            for client in [Client::TsClient, Client::PyMcp] {
                let session = Session::http(testbed.resource(upstream))
                    .client_credentials(&both)
                    .call("add", json!({ "a": 20, "b": 22 }))
                    .limit(PATIENT);
                let report = clients.run(client, &session).await.unwrap();
                assert_eq!(report.error, None, "{make:?}, {upstream}, {client:?}");
                assert!(
                    report.text().unwrap().contains("42"),
                    "{make:?}, {upstream}, {client:?}: {report:?}"
                );
            }
        }
    }
}

/// A valid token without the needed scope is not refused as invalid: the client learns which scope is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_names_the_missing_scopes() {
    let clients = Clients::installed().unwrap();
    let testbed = Testbed::of(Make::OidcProvider);
    for (upstream, ..) in GUARDED {
        let caller = testbed.caller(upstream, READ).await;
        let answer = caller.call("echo", hello()).await;
        assert!(answer.is_result(), "{upstream}: {answer:?}");
        let answer = caller.call("add", json!({ "a": 20, "b": 22 })).await;
        assert_eq!(
            (answer.status, answer.reason()),
            (403, Some("insufficient-scope")),
            "{upstream}: {answer:?}"
        );
    }
    // This client asks for what it is told to, without being told by anybody else.
    let session = Session::http(testbed.resource("opaque"))
        .client_credentials(&testbed.server.robot(READ))
        .call("add", json!({ "a": 20, "b": 22 }))
        .limit(PATIENT);
    let report = clients.run(Client::TsClient, &session).await.unwrap();
    assert!(report.text().is_some_and(|text| text.contains("42")), "{report:?}");
}

/// Tokens for another resource, and texts that are no tokens, are refused.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_sibling_resource_are_refused() {
    for make in Make::ALL {
        let testbed = Testbed::of(make);
        for (upstream, format, _) in GUARDED {
            for (sibling, other, _) in GUARDED {
                let token = testbed.server.token(&testbed.resource(sibling), READ).await.unwrap();
                let caller = Caller::with_token(testbed.resource(upstream), &token);
                let answer = caller.call("echo", hello()).await;
                if upstream == sibling {
                    assert!(answer.is_result(), "{make:?}, {upstream}: {answer:?}");
                } else if format == other {
                    let found = (answer.status, answer.reason());
                    assert_eq!(found, (401, Some("wrong-audience")), "{make:?}, {sibling} at {upstream}");
                } else {
                    // One server calls a signed token no opaque one, with a status of 400.
                    assert!(
                        matches!(answer.status, 401 | 503),
                        "{make:?}, {sibling} at {upstream}: {answer:?}"
                    );
                }
            }
        }
    }
}

/// The server signs with a new key, and publishes it alone some time later. New tokens are accepted soon, and old ones
/// until then.
#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_of_an_authorization_server_are_accepted() {
    let mut testbed = Testbed::of(Make::OidcProvider);
    let signed = ["signed", "signed-guest"];
    let mut old = Vec::new();
    for upstream in signed {
        old.push(testbed.caller(upstream, READ).await);
    }
    for caller in &old {
        assert!(caller.call("echo", hello()).await.is_result());
    }
    let first = testbed.server.rotate().unwrap();
    for upstream in signed {
        let new = testbed.caller(upstream, READ).await;
        until(upstream, async || new.call("echo", hello()).await.is_result().then_some(())).await;
    }
    for caller in &old {
        assert!(caller.call("echo", hello()).await.is_result(), "its key is still published");
    }
    let second = testbed.server.rotate().unwrap();
    assert_ne!(first, second);
    assert_eq!(testbed.server.withdraw().unwrap(), second);
    for upstream in signed {
        let new = testbed.caller(upstream, READ).await;
        until(upstream, async || new.call("echo", hello()).await.is_result().then_some(())).await;
    }
    // Once the set was fetched that has the new one alone.
    for caller in &old {
        until("the old key to go", async || (caller.call("echo", hello()).await.status == 401).then_some(()))
            .await;
    }
}
