//! Real clients over HTTP: Witgate in front of server-everything, which it runs as its child.

use serde_json::json;
use witgate_tests::clients::{Client, Clients, Session, Stage};

use super::{
    Attempt, Callers, Expected, assert_refused, assert_served, callers, everything, guard, make, reason,
    setup,
};

#[tokio::test]
async fn each_client_is_served_with_a_key_and_with_a_token() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &everything(&clients));
    let Callers { key, token } = callers(&setup, &[]);
    let witgate = setup.serve();
    let session = Session::http(witgate.url()).call("echo", json!({ "message": "hi" }));
    let with_key = session.clone().header("X-API-Key", &key);
    let with_token = session.header("Authorization", &format!("Bearer {token}"));

    let mut attempts = Vec::new();
    for client in Client::OVER_HTTP.into_iter().chain(Client::OLDER) {
        attempts.push(Attempt::new("with a key", client, &with_key));
        attempts.push(Attempt::new("with a token", client, &with_token));
    }
    for (attempt, report) in make(&clients, attempts).await {
        assert_served(&attempt, &report);
    }
}

#[tokio::test]
async fn each_client_is_refused_without_a_credential_and_with_a_wrong_one() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &everything(&clients));
    callers(&setup, &[]);
    let witgate = setup.serve();
    let session = Session::http(witgate.url()).call("echo", json!({ "message": "hi" }));
    let wrong_key = session.clone().header("X-API-Key", "not-a-key-that-anybody-was-ever-given");
    let wrong_token = session.clone().header("Authorization", "Bearer not.a.token");

    let mut attempts = Vec::new();
    for client in Client::OVER_HTTP {
        attempts.push(Attempt::new("without a credential", client, &session));
        attempts.push(Attempt::new("with a wrong key", client, &wrong_key));
        attempts.push(Attempt::new("with a wrong token", client, &wrong_token));
    }
    let reports = make(&clients, attempts).await;
    for (attempt, report) in &reports {
        assert_eq!(report.listed, None, "{}", attempt.name);
    }
    assert_refused(&reports, |attempt| {
        let reason = reason(&attempt.name);
        match attempt.client {
            Client::TsClient | Client::TsSdk | Client::Page => {
                Expected::error(Stage::Connect, Some(401), 401, reason)
            }
            Client::PyMcp | Client::PyFastmcp => Expected::error(Stage::Connect, None, 401, reason),
            Client::Inspector => Expected::only(Stage::Connect, None, "auth_required"),
            Client::PyMcp1 | Client::PyFastmcp2 => Expected::only(Stage::Connect, Some(401), "401"),
            // It goes for OAuth after any 401, and reports how that ends; without authorization
            // servers there is nothing to register with.
            Client::McpRemote => Expected::only(Stage::Connect, Some(404), "RegistrationRejectedError"),
        }
    });
}

#[tokio::test]
async fn each_client_is_refused_a_forbidden_tool() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &everything(&clients));
    let Callers { key, .. } = callers(&setup, &[]);
    let witgate = setup.serve();
    let session = Session::http(witgate.url()).header("X-API-Key", &key).call("get-env", json!({}));

    let attempts = Client::OVER_HTTP.map(|client| Attempt::new("get-env", client, &session));
    let reports = make(&clients, attempts.into()).await;
    assert_refused(&reports, |attempt| match attempt.client {
        Client::TsClient | Client::TsSdk | Client::Page => {
            Expected::error(Stage::Call, Some(403), 403, "not-allowed")
        }
        Client::PyMcp | Client::PyFastmcp | Client::McpRemote => {
            Expected::error(Stage::Call, None, 403, "not-allowed")
        }
        Client::PyMcp1 | Client::PyFastmcp2 => Expected::only(Stage::Call, Some(403), "403"),
        // The client looks for the tool in the list first, and does not find it there.
        Client::Inspector => Expected::only(Stage::Call, None, "tool_not_found"),
    });
}

/// A 403 tears one of them down, and the other waits for ever.
#[tokio::test]
async fn older_clients_continue_after_a_denial_with_status_200() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &format!("{}\ndenials = \"json-rpc\"", everything(&clients)));
    let Callers { key, .. } = callers(&setup, &[]);
    let witgate = setup.serve();
    let session = Session::http(witgate.url()).header("X-API-Key", &key).call("get-env", json!({}));
    for client in Client::OLDER {
        let report = clients.run_on(client, &session, None).await.unwrap();
        let failure = report.error.as_ref().unwrap_or_else(|| panic!("{client:?}: {report:?}"));
        assert_eq!((failure.stage, failure.code), (Stage::Call, Some(403)), "{client:?}: {report:?}");
        assert_eq!(failure.reason(), Some("not-allowed"), "{client:?}");
        assert_eq!(report.again, Some(true), "{client:?} goes on: {report:?}");
    }
}
