//! The fixture, reached directly, passes every check of the official conformance suite.
//!
//! Needs what `cargo xtask tools` installs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use tokio_util::sync::CancellationToken;
use witgate_tests::{
    clients::Clients,
    conformance::{Check, Status, Suite},
    fixture::{
        Fixture,
        serve::{Endpoint, Http},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn directly_2025_11_25() {
    passes_everything("2025-11-25").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directly_2026_07_28() {
    passes_everything("2026-07-28").await;
}

async fn passes_everything(revision: &'static str) {
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = endpoint.url();
    let stop = CancellationToken::new();
    let server = tokio::spawn(endpoint.serve(Fixture::new(), Http::default(), stop.clone()));

    let checks = tokio::task::spawn_blocking(move || run(&url, revision)).await.unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| !fine(check)).collect();
    assert!(failed.is_empty(), "{failed:#?}");

    stop.cancel();
    server.await.unwrap().unwrap();
}

fn run(url: &str, revision: &str) -> Vec<Check> {
    let node = Clients::installed().unwrap().node();
    let output = tempfile::tempdir().unwrap();
    Suite::installed(&node).run(url, revision, output.path()).unwrap()
}

fn fine(check: &Check) -> bool {
    // The suite itself skips this one for everybody.
    let not_written = check.status == Status::Skipped && check.id == "tasks-status-notifications";
    check.status == Status::Success || not_written
}
