//! Two real servers, on the TypeScript and the Python SDK, at one endpoint.

use serde_json::json;
use witgate_tests::clients::{Client, Clients, Sdk, Session};
use witgate_tests::gateway::{Setup, program, workspace};

use super::scenario::assert_complete;
use super::{Attempt, Callers, JWT_SECRET, callers, everything, guard, make, setup};

/// The tools that callers may use here, by their names at the endpoint.
const LISTED: [&str; 3] = ["everything__echo", "everything__get-sum", "python__echo"];

/// Both servers, and the endpoint.
fn servers(clients: &Clients) -> String {
    let script = workspace().join("tests/tests/it/sdk_server.py");
    let python = json!([clients.python_of("python"), script, "stdio"]);
    let both = "[endpoints.both]\nupstreams = [\"everything\", \"python\"]";
    format!("{}\n[upstreams.python]\ncommand = {python}\n{both}", everything(clients))
}

/// Asserts that every client has seen the tools of both servers, and has called one of each.
async fn assert_served(clients: &Clients, attempts: Vec<Attempt>) {
    for (attempt, report) in make(clients, attempts).await {
        let name = &attempt.name;
        assert_eq!(report.error, None, "{name}");
        let mut listed = report.listed.clone().unwrap_or_default();
        listed.sort();
        assert_eq!(listed, LISTED, "{name}");
        assert_eq!(report.text().as_deref(), Some("Echo: hi"), "{name}: {report:?}");
    }
}

fn attempts(clients: impl IntoIterator<Item = Client>, session: &Session) -> Vec<Attempt> {
    let attempt = |client| {
        ["everything__echo", "python__echo"].map(|tool| {
            let session = session.clone().call(tool, json!({ "message": "hi" }));
            Attempt::new(tool, client, &session)
        })
    };
    clients.into_iter().flat_map(attempt).collect()
}

#[tokio::test]
async fn each_client_is_served_by_two_servers_at_one_endpoint() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &servers(&clients));
    // The audience of the token is the endpoint.
    let Callers { key, token } = callers(&setup, &["--upstream", "both"]);
    let witgate = setup.serve();
    let session = Session::http(format!("http://{}/both/mcp", witgate.address()));
    let with_key = session.clone().header("X-API-Key", &key);
    let with_token = session.header("Authorization", &format!("Bearer {token}"));
    let mut all = attempts(Client::OVER_HTTP.into_iter().chain(Client::OLDER), &with_key);
    all.extend(attempts([Client::TsClient, Client::PyMcp], &with_token));
    assert_served(&clients, all).await;
}

#[tokio::test]
async fn each_client_is_served_by_two_servers_over_stdio() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &servers(&clients));
    let Callers { key, .. } = callers(&setup, &["--upstream", "both"]);
    let config = setup.dir().join("witgate.toml").display().to_string();
    let command =
        [&program("witgate").display().to_string(), "serve", "--transport", "stdio", "--config", &config];
    let cache = setup.dir().join("cache").display().to_string();
    let session = Session::stdio(command).env("JWT_SECRET", JWT_SECRET).env("WITGATE_CACHE", &cache);
    // The inspector starts Witgate, and with it both servers, once for each step.
    let those = Client::OVER_STDIO.into_iter().filter(|client| *client != Client::Inspector);
    assert_served(&clients, attempts(those, &session.env("MCP_API_KEY", &key))).await;
}

/// Progress, cancellation, sampling, elicitation, roots, subscriptions, logging and changes of lists.
#[tokio::test]
async fn the_scenario_runs_at_an_endpoint_with_both_sdks() {
    let clients = Clients::installed().unwrap();
    for sdk in [Sdk::TsSdk, Sdk::TsClient] {
        let setup = Setup::new();
        let owns = "owns = { everything = [\"*\"] }";
        let key = super::scenario::guard(&setup, &format!("{}\n{owns}", servers(&clients)));
        let witgate = setup.serve();
        let session = Session::http(format!("http://{}/both/mcp", witgate.address()));
        let session = session.header("X-API-Key", &key).limit(super::scenario::LIMIT);
        let scenario = clients.scenario(sdk, &session, &[]).await.unwrap();
        assert_complete("at an endpoint", &scenario);
    }
}
