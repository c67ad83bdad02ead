//! Real clients over stdio: the client starts Witgate, which uses the credential in its environment.

use serde_json::json;
use witgate_tests::clients::{Client, Clients, Session, Stage};
use witgate_tests::gateway::{Setup, program};

use super::{
    Attempt, Callers, Expected, JWT_SECRET, assert_refused, assert_served, callers, everything, guard, make,
    reason, setup,
};

/// `witgate serve --transport stdio` on the configuration of `setup`.
fn witgate(setup: &Setup) -> Session {
    let config = setup.dir().join("witgate.toml").display().to_string();
    let program = program("witgate").display().to_string();
    let command = [&program, "serve", "--transport", "stdio", "--config", &config];
    let cache = setup.dir().join("cache").display().to_string();
    Session::stdio(command).env("JWT_SECRET", JWT_SECRET).env("WITGATE_CACHE", &cache)
}

#[tokio::test]
async fn each_client_is_served_with_a_key_and_with_a_token() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &everything(&clients));
    let Callers { key, token } = callers(&setup, &[]);
    let session = witgate(&setup).call("echo", json!({ "message": "hi" }));
    let with_key = session.clone().env("MCP_API_KEY", &key);
    let with_token = session.env("MCP_BEARER_TOKEN", &token);

    let mut attempts = Vec::new();
    for client in Client::OVER_STDIO {
        attempts.push(Attempt::new("with a key", client, &with_key));
        attempts.push(Attempt::new("with a token", client, &with_token));
    }
    for (attempt, report) in make(&clients, attempts).await {
        assert_served(&attempt, &report);
    }
    let files = std::fs::read_dir(setup.dir().join("cache")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(files.iter().any(|name| name.starts_with("era-")), "{files:?}");
}

#[tokio::test]
async fn each_client_is_refused() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &everything(&clients));
    let Callers { key, .. } = callers(&setup, &[]);
    let session = witgate(&setup);
    let wrong_key = session.clone().env("MCP_API_KEY", "not-a-key-that-anybody-was-ever-given");
    let wrong_token = session.clone().env("MCP_BEARER_TOKEN", "not.a.token");
    let other_tool = session.clone().env("MCP_API_KEY", &key).call("get-env", json!({}));

    let mut attempts = Vec::new();
    for client in Client::OVER_STDIO {
        attempts.push(Attempt::new("without a credential", client, &session));
        attempts.push(Attempt::new("with a wrong key", client, &wrong_key));
        attempts.push(Attempt::new("with a wrong token", client, &wrong_token));
        attempts.push(Attempt::new("a tool that it may not call", client, &other_tool));
    }
    let reports = make(&clients, attempts).await;
    assert_refused(&reports, |attempt| {
        let reason = reason(&attempt.name);
        let (stage, code) = if reason == "not-allowed" { (Stage::Call, 403) } else { (Stage::Connect, 401) };
        match (attempt.client, stage) {
            (Client::Inspector, Stage::Call) => Expected::only(Stage::Call, None, "tool_not_found"),
            (Client::Inspector, _) => {
                // The code and the reason are lost on the way, the message is not.
                let says = if reason == "no-credential" { "credential is needed" } else { "is not accepted" };
                Expected::only(Stage::Connect, None, says)
            }
            _ => Expected::error(stage, None, code, reason),
        }
    });
}

#[tokio::test]
async fn each_client_uses_a_wrapped_server() {
    let clients = Clients::installed().unwrap();
    let program = program("witgate").display().to_string();
    let server = clients.everything_command();
    let start = [program.as_str(), "wrap", "--log-level", "warn", "--"].map(str::to_owned);
    let session = Session::stdio(start.into_iter().chain(server)).call("echo", json!({ "message": "hi" }));
    let served = session.clone().env("MCP_API_KEY", JWT_SECRET);
    let misspelt = session.env("MCP_APIKEY", JWT_SECRET);

    let attempts = Client::OVER_STDIO.map(|client| Attempt::new("with a key", client, &served));
    for (attempt, report) in make(&clients, attempts.into()).await {
        assert_eq!(report.error, None, "{}", attempt.name);
        assert_eq!(report.text().as_deref(), Some("Echo: hi"), "{}: {report:?}", attempt.name);
    }
    let attempts = Client::OVER_STDIO.map(|client| Attempt::new("without a key", client, &misspelt));
    for (attempt, report) in make(&clients, attempts.into()).await {
        let stage = report.error.as_ref().map(|error| error.stage);
        assert_eq!(stage, Some(Stage::Connect), "{}: {report:?}", attempt.name);
    }
}

/// No configuration at all: what users of other MCP servers have, before the host's own tools.
#[tokio::test]
async fn each_client_uses_the_own_tools_with_only_a_key_in_the_environment() {
    let clients = Clients::installed().unwrap();
    let setup = Setup::new();
    // A path without a configuration.
    let command = format!("cd '{}' && exec '{}' serve", setup.dir().display(), program("witgate").display());
    let bare = Session::stdio(["sh", "-c", &command]).call("add", json!({ "a": 2, "b": 3 }));
    let served = bare.clone().env("MCP_API_KEY", JWT_SECRET);
    let short = bare.clone().env("MCP_API_KEY", "short");

    let served = Client::OVER_STDIO.map(|client| Attempt::new("with a key", client, &served));
    for (attempt, report) in make(&clients, served.into()).await {
        let name = &attempt.name;
        assert_eq!(report.error, None, "{name}");
        let mut names = report.listed.unwrap_or_default();
        names.sort_unstable();
        assert_eq!(names, ["add", "auth_status", "echo", "get_time", "limits_status"], "{name}");
        let sum = report.called.unwrap()["structuredContent"]["sum"].as_f64();
        assert_eq!(sum, Some(5.0), "{name}");
    }
    let mut refused = Vec::new();
    for client in Client::OVER_STDIO {
        refused.push(Attempt::new("without a key", client, &bare));
        refused.push(Attempt::new("with a short key", client, &short));
    }
    for (attempt, report) in make(&clients, refused).await {
        let stage = report.error.as_ref().map(|error| error.stage);
        assert_eq!(stage, Some(Stage::Connect), "{}: {report:?}", attempt.name);
    }
}
