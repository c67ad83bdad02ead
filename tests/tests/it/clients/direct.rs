//! The drivers of the real clients, run against a real server without Witgate: a failure here is not Witgate's.

use serde_json::json;
use witgate_tests::clients::{Client, Clients, Report, Session};

use super::{Attempt, make};

fn assert_echoed(client: Client, report: &Report) {
    assert_eq!(report.error, None, "{client:?}");
    assert_eq!(report.protocol.as_deref(), Some("2025-11-25"), "{client:?}");
    assert!(report.lists("get-sum"), "{client:?}: {report:?}");
    assert_eq!(report.text().as_deref(), Some("Echo: hi"), "{client:?}");
}

#[tokio::test]
async fn every_client_calls_a_tool_over_http() -> anyhow::Result<()> {
    let clients = Clients::installed()?;
    let server = clients.everything_http().await?;
    let session = Session::http(&server.url).call("echo", json!({ "message": "hi" }));
    let attempts = Client::OVER_HTTP.map(|client| Attempt::new("directly", client, &session));
    for (attempt, report) in make(&clients, attempts.into()).await {
        assert_echoed(attempt.client, &report);
    }
    Ok(())
}

#[tokio::test]
async fn every_client_calls_a_tool_over_stdio() -> anyhow::Result<()> {
    let clients = Clients::installed()?;
    let session = Session::stdio(clients.everything_command()).call("echo", json!({ "message": "hi" }));
    let attempts = Client::OVER_STDIO.map(|client| Attempt::new("directly", client, &session));
    for (attempt, report) in make(&clients, attempts.into()).await {
        assert_echoed(attempt.client, &report);
    }
    Ok(())
}

#[tokio::test]
async fn a_client_without_an_answer_ends_in_time() -> anyhow::Result<()> {
    let clients = Clients::installed()?;
    // A server that runs on, and neither reads nor writes.
    let silent = Session::stdio(["sleep", "1000.125"]).limit(std::time::Duration::from_secs(2));
    let attempts = Client::OVER_STDIO.map(|client| Attempt {
        name: format!("{client:?}"),
        client,
        session: silent.clone(),
    });
    for (attempt, report) in make(&clients, attempts.into()).await {
        assert!(report.error.is_some_and(|error| error.kind == "Timeout"), "{}", attempt.name);
    }
    Ok(())
}
