//! Connecting on the page of the gateway, over HTTP and over stdio, and by somebody who should not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use witgate_tests::gateway::await_some;
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::contains;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_connects_an_account_on_the_page_and_disconnects_it() {
    let (provider, recorder) = (Provider::start().await, Recorder::start());
    let (running, [ada, eve]) = serve(&recorder.url(), &provider, "");
    let refused = call(&running, &ada).await;
    assert_eq!((refused.status, refused.reason()), (200, Some("connect-required")), "{refused:?}");
    let url = refused.body["error"]["data"]["url"].as_str().unwrap().to_owned();
    assert!(refused.body["error"]["message"].as_str().unwrap().contains(&url), "{refused:?}");
    assert!(recorder.seen().is_empty(), "nothing is sent without an account");
    let seen = open(&url, Some(&ada), &[]).await;
    assert_eq!(seen.error, None, "{seen:?}\n{}", running.log());
    assert_eq!(seen.steps["heading"], format!("Connected as {}", PERSON.0), "{seen:?}");
    assert_eq!((&seen.steps["alerts"], &seen.steps["complaints"]), (&json!([]), &json!([])), "{seen:?}");
    assert!(call(&running, &ada).await.is_result());
    assert_eq!(call(&running, &eve).await.reason(), Some("connect-required"), "she has none");
    let sent = recorder.seen();
    assert!(contains(&sent, b"authorization: Bearer ") && !contains(&sent, ada.as_bytes()));
    await_some("the entries", || (entries(&running, "connect").len() == 2).then_some(()));
    for entry in entries(&running, "connect") {
        assert_eq!((&entry["outcome"], &entry["subject"]), (&json!("allowed"), &json!("ada")), "{entry}");
    }
    assert_eq!(entries(&running, "connect")[1]["delegated"]["account"], PERSON.0);
    let listed = running.setup().run(&["credential", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["caller"]["subject"], &listed[0]["account"]), (&json!("ada"), &json!(PERSON.0)));
    assert!(open(&url, Some(&ada), &[]).await.error.is_some(), "the link was used");
    // Without a link, callers look after their account.
    let page = format!("http://{}/connect/hub", running.address());
    let seen = open(&page, Some(&ada), &["--disconnect"]).await;
    assert_eq!(seen.steps["disconnected"], "Disconnected", "{seen:?}");
    assert_eq!(call(&running, &ada).await.reason(), Some("connect-required"));
    for secret in [ada, eve] {
        assert!(!contains(running.log().as_bytes(), secret.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_another_principal_opens_binds_to_nobody() {
    let (provider, recorder) = (Provider::start().await, Recorder::start());
    let (running, [ada, eve]) = serve(&recorder.url(), &provider, "");
    let url = call(&running, &ada).await.body["error"]["data"]["url"].as_str().unwrap().to_owned();
    let seen = open(&url, Some(&eve), &[]).await;
    assert!(seen.steps["alerts"][0].as_str().unwrap().contains("made for another caller"), "{seen:?}");
    assert_eq!(seen.steps["pages"], json!([]), "nobody goes to the provider");
    let seen = open(&url, Some("wgk_0123456789012345678901234567890123456789abc"), &[]).await;
    assert!(seen.steps["alerts"][0].as_str().unwrap().contains("Authentication failed"), "{seen:?}");
    for key in [&ada, &eve] {
        assert_eq!(call(&running, key).await.reason(), Some("connect-required"));
    }
    await_some("the entries", || (entries(&running, "connect").len() == 2).then_some(()));
    let reasons: Vec<_> = entries(&running, "connect").iter().map(|entry| entry["reason"].clone()).collect();
    assert_eq!(reasons, ["connect-denied", "unknown-key"]);
    assert!(recorder.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_over_stdio_shows_the_number_of_the_error() {
    let (provider, recorder) = (Provider::start().await, Recorder::start());
    let setup = Setup::new();
    setup.config("transport = 'stdio'", &config(&recorder.url(), &provider, ""));
    let key = setup.key(&["ada", "--allow", "*"]);
    let mut command = setup.command(&["serve"]);
    command.env("MCP_API_KEY", &key).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines();
    let mut call = || {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "name": "echo", "arguments": {}, "_meta": meta });
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        writeln!(input, "{message}").unwrap();
        serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()
    };
    let refused = call();
    let url = refused["error"]["data"]["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{refused}");
    let seen = open(url, None, &[]).await;
    assert_eq!(seen.steps["heading"], format!("Connected as {}", PERSON.0), "{seen:?}");
    let number = seen.steps["number"].as_str().unwrap();
    assert!(refused["error"]["message"].as_str().unwrap().contains(number), "{refused}, {number}");
    assert!(call()["result"].is_object());
    drop(input);
    child.wait().unwrap();
}
