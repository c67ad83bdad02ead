//! Exchanges beyond a single call: progress, cancellation, the server's questions and notifications.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::clients::{Clients, Scenario, Sdk, Session};
use witgate_tests::gateway::{Setup, program};

/// Long enough for all steps, one of which works for six seconds.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

/// Directly, over stdio as over HTTP.
pub(super) fn assert_complete(name: &str, scenario: &Scenario) {
    assert_eq!(scenario.error, None, "{name}: {scenario:?}");
    for (step, found) in &scenario.steps {
        assert_eq!(found.get("error"), None, "{name}: {step}");
    }
    let step = |name: &str| scenario.steps.get(name).cloned().unwrap_or_default();
    assert_eq!(step("progress")["received"], json!([1, 2, 3, 4, 5, 6, 7, 8]), "{name}");
    assert_eq!(step("cancellation")["alive"], json!("Echo: still here"), "{name}");
    for kind in ["sampling", "elicitation", "roots"] {
        assert_eq!(step(kind)["answered"], json!(true), "{name}: {kind}");
    }
    assert_eq!(step("subscription")["updated"], json!(["demo://resource/dynamic/text/1"]), "{name}");
    assert_ne!(step("logging")["messages"], json!([]), "{name}");
    assert_eq!(step("list_changed")["resources"], json!(1), "{name}");
}

/// The part that is the same in every run of one SDK over one transport.
fn stable(scenario: &Scenario) -> Value {
    let mut steps = json!(scenario.steps);
    let varying = [
        // An SDK drops the last one when it comes together with the answer.
        ("progress", "handled"),
        ("cancellation", "elapsed_ms"),
        // The server goes on sending progress; of a call that is over, Witgate passes none on.
        ("cancellation", "progress_went_on"),
        // A message each second or so, of random severity.
        ("logging", "messages"),
        // Sent right after the handshake, so it may come before the stream that would carry it.
        ("list_changed", "tools"),
        // The resource holds the time.
        ("resources", "read"),
    ];
    for (step, member) in varying {
        if let Some(found) = steps[step].as_object_mut() {
            found.remove(member);
        }
    }
    json!({ "protocol": scenario.protocol, "steps": steps })
}

#[tokio::test]
async fn the_scenario_runs_over_http_with_the_first_sdk() {
    over_http(Sdk::TsSdk).await;
}

#[tokio::test]
async fn the_scenario_runs_over_http_with_the_second_sdk() {
    over_http(Sdk::TsClient).await;
}

#[tokio::test]
async fn the_scenario_runs_over_stdio_with_the_first_sdk() {
    over_stdio(Sdk::TsSdk).await;
}

#[tokio::test]
async fn the_scenario_runs_over_stdio_with_the_second_sdk() {
    over_stdio(Sdk::TsClient).await;
}

async fn over_http(sdk: Sdk) {
    let clients = Clients::installed().unwrap();
    let server = clients.everything_http().await.unwrap();
    let setup = Setup::new();
    let command = toml(&clients.everything_command());
    let upstreams =
        format!("[upstreams.url]\nurl = {:?}\n[upstreams.child]\ncommand = {command}", server.url);
    let key = guard(&setup, &upstreams);
    let witgate = setup.serve();
    let through = |upstream: &str| {
        let url = format!("http://{}/{upstream}/mcp", witgate.address());
        Session::http(url).header("X-API-Key", &key)
    };
    let places =
        [("directly", Session::http(&server.url)), ("url", through("url")), ("child", through("child"))];
    assert_same(&clients, sdk, places).await;
}

async fn over_stdio(sdk: Sdk) {
    let clients = Clients::installed().unwrap();
    let setup = Setup::new();
    let key = guard(&setup, &format!("[upstreams.child]\ncommand = {}", toml(&clients.everything_command())));
    let config = setup.dir().join("witgate.toml").display().to_string();
    let witgate = program("witgate").display().to_string();
    let through = Session::stdio([&witgate, "serve", "--transport", "stdio", "--config", &config])
        .env("MCP_API_KEY", &key)
        .env("WITGATE_CACHE", &setup.dir().join("cache").display().to_string());
    let places = [("directly", Session::stdio(clients.everything_command())), ("child", through)];
    assert_same(&clients, sdk, places).await;
}

/// The first place is where the others are compared with.
async fn assert_same<const N: usize>(clients: &Clients, sdk: Sdk, places: [(&str, Session); N]) {
    let run = async |(name, session): (&str, Session)| {
        let scenario = clients.scenario(sdk, &session.limit(LIMIT), &[]).await;
        let scenario = scenario.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_complete(name, &scenario);
        (name.to_owned(), stable(&scenario))
    };
    let found = futures_util::future::join_all(places.map(run)).await;
    let (_, directly) = &found[0];
    let mut differing = Vec::new();
    for (name, through) in &found[1..] {
        assert_eq!(through["protocol"], directly["protocol"], "{name}");
        let steps = directly["steps"].as_object().unwrap();
        assert_eq!(through["steps"].as_object().map(|steps| steps.len()), Some(steps.len()), "{name}");
        let other = steps.iter().filter(|&(step, found)| through["steps"][step] != *found);
        differing
            .extend(other.map(|(step, found)| {
                format!("{name}: {step}: {}, directly {found}", through["steps"][step])
            }));
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// A key that may do everything.
pub(super) fn guard(setup: &Setup, upstreams: &str) -> String {
    let policies = r#"
        [policies.keys]
        kind = "api-key"
        config = { store = "keys.toml" }
        [pipeline]
        authenticate = ["keys"]
        authorize = ["keys"]
    "#;
    setup.config("", &format!("{upstreams}\n{policies}"));
    setup.key(&["ada", "--allow", "*", "--allow", "method:*"])
}

fn toml(command: &[String]) -> String {
    let parts: Vec<String> = command.iter().map(|part| format!("{part:?}")).collect();
    format!("[{}]", parts.join(", "))
}
