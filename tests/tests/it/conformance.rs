//! The official conformance suite: the fixture passes every check directly, and every check has the same outcome
//! through Witgate, also at an endpoint with another server.
//!
//! Needs the programs that `cargo xtask tools` installs.

use std::path::Path;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use witgate_tests::{
    clients::Clients,
    conformance::{Baseline, Check, KeyProxy, Status, Suite, compare},
    fixture::{
        Fixture,
        transports::{Endpoint, Http},
    },
    gateway::{Running, Setup, program},
};

#[tokio::test(flavor = "multi_thread")]
async fn results_are_equal_with_and_without_witgate_2025_11_25() {
    same_as_directly("2025-11-25", 84).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_equal_with_and_without_witgate_2026_07_28() {
    same_as_directly("2026-07-28", 197).await;
}

/// `passing`: how many checks the fixture passes.
async fn same_as_directly(revision: &'static str, passing: usize) {
    let node = Clients::installed().unwrap().node();
    // One upstream for each run, because a run would see the changes of another.
    let (direct, behind, joint) =
        (FixtureServer::start().await, FixtureServer::start().await, FixtureServer::start().await);
    let (witgate, key) = gateway(&behind.url, &joint.url);
    let header = format!("X-API-Key: {key}");
    let start = |upstream: &str| {
        KeyProxy::start(&node, &format!("http://{}/{upstream}/mcp", witgate.address()), &header).unwrap()
    };
    let (http, child, both) = (start("http"), start("child"), start("both"));

    let suite = |url: &str| {
        spawn_blocking({
            let (url, node) = (url.to_owned(), node.clone());
            move || run(&node, &url, revision)
        })
    };
    let (direct, through_http, through_child, through_both) =
        tokio::join!(suite(&direct.url), suite(http.url()), suite(child.url()), suite(both.url()));
    let direct = direct.unwrap();

    let failed: Vec<_> = direct.iter().filter(|check| !fine(check)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let passed = direct.iter().filter(|check| check.status == Status::Success).count();
    assert_eq!(passed, passing, "directly");
    let baseline = Baseline::installed().unwrap();
    let mut differences = Vec::new();
    let runs = [("http", through_http), ("child", through_child), ("both", through_both)];
    for (upstream, through) in runs {
        let found = compare(&direct, &through.unwrap(), &baseline.of(revision, upstream));
        differences.extend(found.iter().map(|difference| format!("{upstream}: {difference}")));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Witgate in front of the fixture: once as a URL, once as a command, and once, at `joint`, beside another server at one
/// endpoint. The key may do everything.
fn gateway(url: &str, joint: &str) -> (Running, String) {
    let setup = Setup::new();
    let fixture = program("fixture-upstream");
    let config = format!(
        r#"
        [upstreams.http]
        url = "{url}"
        [upstreams.child]
        command = ["{}", "--stdio"]
        [upstreams.joint]
        url = "{joint}"
        [upstreams.own]
        own_tools = true
        [endpoints.both]
        upstreams = ["joint", "own"]
        owns = {{ joint = ["*"] }}
        [policies.keys]
        kind = "api-key"
        config = {{ store = "keys.toml" }}
        [pipeline]
        authenticate = ["keys"]
        authorize = ["keys"]
        "#,
        fixture.display()
    );
    setup.config("", &config);
    let key = setup.key(&["suite", "--allow", "*", "--allow", "method:*"]);
    (setup.serve(), key)
}

struct FixtureServer {
    url: String,
    stop: CancellationToken,
}

impl FixtureServer {
    async fn start() -> Self {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (url, stop) = (endpoint.url(), CancellationToken::new());
        tokio::spawn(endpoint.serve(Fixture::new(), Http::default(), stop.clone()));
        Self { url, stop }
    }
}

impl Drop for FixtureServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn run(node: &Path, url: &str, revision: &str) -> Vec<Check> {
    let output = tempfile::tempdir().unwrap();
    Suite::installed(node).run(url, revision, output.path()).unwrap()
}

fn fine(check: &Check) -> bool {
    // The suite itself skips this one for everybody.
    let not_written = check.status == Status::Skipped && check.id == "tasks-status-notifications";
    check.status == Status::Success || not_written
}
