//! Clients in a browser: the TypeScript SDK in Chromium, on a page of another origin.

use serde_json::json;
use witgate_tests::clients::{Clients, Scenario, Session};
use witgate_tests::gateway::free_port;
use witgate_tests::oauth::{Make, PERSON, browser, directory};

use super::{Making, PATIENT, READ, Testbed, WRITE};

/// A testbed that admits pages of `origins`.
fn testbed(origins: &str) -> Testbed {
    let making = Making::of(Make::OidcProvider);
    Making { server: format!("allowed_origins = [{origins}]"), ..making }.start()
}

/// Opens the page on `port`, which logs its user in, lists tools and calls two; the second needs a scope that is not
/// granted at first.
async fn visit(testbed: &Testbed, port: u16, mode: &str) -> Scenario {
    let clients = Clients::installed().unwrap();
    let session = Session::http(testbed.resource("signed")).mode(mode).limit(PATIENT);
    let tools = json!([["echo", { "text": "hello" }], ["add", { "a": 20, "b": 22 }]]);
    let more = [
        format!("--browser={}", browser().unwrap().display()),
        format!("--page={port}"),
        format!("--name={}", PERSON.0),
        format!("--password={}", PERSON.1),
        format!("--scope={READ} {WRITE}"),
        format!("--decline={WRITE}"),
        format!("--tools={tools}"),
    ];
    clients.drive_other(&directory().join("page.mjs"), &session, &more).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_logs_in_steps_up_and_calls() {
    let port = free_port();
    let testbed = testbed(&format!("'http://127.0.0.1:{port}'"));
    for mode in ["legacy", "2026-07-28"] {
        let report = visit(&testbed, port, mode).await;
        assert_eq!((&report.error, &report.steps["error"]), (&None, &json!(null)), "{mode}: {report:?}");
        assert!(report.steps["echo"].to_string().contains("hello"), "{mode}: {report:?}");
        assert!(report.steps["add"].to_string().contains("42"), "{mode}: {report:?}");
        // The page can read which scopes suffice, so that it can ask for them.
        assert_eq!(report.steps["logins"].as_array().unwrap().len(), 2, "{mode}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_is_refused() {
    let testbed = testbed("'http://127.0.0.1:1'");
    let report = visit(&testbed, free_port(), "legacy").await;
    assert!(report.steps["error"]["message"].to_string().contains("fetch"), "{report:?}");
    assert!(!report.steps.contains_key("listed"), "{report:?}");
}
