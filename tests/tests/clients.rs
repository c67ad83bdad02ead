//! The drivers of the real clients, tried on a real server without Witgate in between: what fails here is not Witgate.
//!
//! Needs what `cargo xtask tools` installs.

// JSON that lacks a member reads as null, which no assertion here takes for a success.
#![allow(clippy::indexing_slicing)]

use serde_json::json;
use witgate_tests::clients::{Client, Clients, Report, Scenario, Sdk, Session};

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
    for client in Client::OVER_HTTP {
        assert_echoed(client, &clients.run(client, &session).await?);
    }
    Ok(())
}

#[tokio::test]
async fn every_client_calls_a_tool_over_stdio() -> anyhow::Result<()> {
    let clients = Clients::installed()?;
    let session = Session::stdio(clients.everything_command()).call("echo", json!({ "message": "hi" }));
    for client in Client::OVER_STDIO {
        assert_echoed(client, &clients.run(client, &session).await?);
    }
    Ok(())
}

fn assert_complete(scenario: &Scenario) {
    assert_eq!(scenario.error, None, "{scenario:?}");
    for (name, step) in &scenario.steps {
        assert_eq!(step.get("error"), None, "{name}");
    }
    let step = |name: &str| scenario.steps.get(name).cloned().unwrap_or_default();
    assert_eq!(step("progress")["received"], json!([1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(step("cancellation")["alive"], json!("Echo: still here"));
    for name in ["sampling", "elicitation", "roots"] {
        assert_eq!(step(name)["answered"], json!(true), "{name}");
    }
    assert_eq!(step("subscription")["updated"], json!(["demo://resource/dynamic/text/1"]));
    assert_ne!(step("logging")["messages"], json!([]));
    assert_eq!(step("list_changed")["resources"], json!(1));
}

#[tokio::test]
async fn the_scenario_runs_on_both_sdks_and_transports() -> anyhow::Result<()> {
    let clients = Clients::installed()?;
    let server = clients.everything_http().await?;
    let limit = std::time::Duration::from_secs(60);
    for sdk in [Sdk::TsClient, Sdk::TsSdk] {
        for session in [Session::http(&server.url), Session::stdio(clients.everything_command())] {
            assert_complete(&clients.scenario(sdk, &session.limit(limit), &[]).await?);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_gets_no_answer_ends_in_time() -> anyhow::Result<()> {
    let clients = Clients::installed()?;
    // Lives on, and neither reads nor writes.
    let silent = Session::stdio(["sleep", "1000.125"]).limit(std::time::Duration::from_secs(2));
    for client in Client::OVER_STDIO {
        let error = clients.run(client, &silent).await?.error;
        assert!(error.is_some_and(|error| error.kind == "Timeout"), "{client:?}");
    }
    Ok(())
}
