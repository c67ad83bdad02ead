//! Real clients that send their credential in an argument, over HTTP and over stdio.

use serde_json::{Value, json};
use witgate_tests::clients::{Client, Clients, Session};
use witgate_tests::gateway::{Setup, program};

use super::{ALLOWED, Attempt, Callers, JWT_SECRET, assert_served, callers, everything, make, setup};

/// Policies for keys and tokens in arguments, in front of server-everything.
fn guard(setup: &Setup, clients: &Clients) {
    let [echo, sum] = ALLOWED;
    let upstream = everything(clients);
    let rest = format!(
        r#"
        {upstream}
        [policies.keys]
        kind = "api-key"
        argument = "auth_token"
        config = {{ store = "keys.toml" }}
        [policies.tokens]
        kind = "jwt"
        argument = {{ name = "jwt_token", on = ["{echo}", "{sum}"] }}
        config = {{ keys = ["session"], algorithms = ["HS256"] }}
        [policies.roles]
        kind = "rbac"
        config = {{ roles = {{ caller = {{ allow = ["{echo}", "{sum}"] }} }} }}
        [keys.session]
        secret = {{ env = "JWT_SECRET" }}
        [pipeline]
        authenticate = ["keys", "tokens"]
        authorize = ["roles"]
        anonymous = {{ lists = ["{echo}", "{sum}"] }}
        "#
    );
    setup.config("", &rest);
}

/// The arguments of `echo` with each caller's credential.
fn calls(callers: &Callers) -> [(&'static str, Value); 2] {
    [
        ("with a key", json!({ "message": "hi", "auth_token": callers.key })),
        ("with a token", json!({ "jwt_token": callers.token, "message": "hi" })),
    ]
}

#[tokio::test]
async fn each_client_is_served_over_http() {
    let clients = Clients::installed().unwrap();
    let setup = setup().env("RUST_LOG", "trace");
    guard(&setup, &clients);
    let callers = callers(&setup, &[]);
    let witgate = setup.serve();
    let mut attempts = Vec::new();
    for client in Client::OVER_HTTP.into_iter().chain(Client::OLDER) {
        for (what, arguments) in calls(&callers) {
            let session = Session::http(witgate.url()).call("echo", arguments);
            attempts.push(Attempt::new(what, client, &session));
        }
    }
    for (attempt, report) in make(&clients, attempts).await {
        assert_served(&attempt, &report);
    }
    let log = witgate.log();
    assert!(log.contains("tools/call"), "the calls are in the log");
    for secret in [&callers.key, &callers.token] {
        assert!(!log.contains(secret.as_str()), "a credential is in the log");
    }
}

#[tokio::test]
async fn each_client_is_served_over_stdio() {
    let clients = Clients::installed().unwrap();
    let setup = setup();
    guard(&setup, &clients);
    let callers = callers(&setup, &[]);
    let config = setup.dir().join("witgate.toml").display().to_string();
    let witgate = program("witgate").display().to_string();
    let command = [&witgate, "serve", "--transport", "stdio", "--config", &config];
    let cache = setup.dir().join("cache").display().to_string();
    let mut attempts = Vec::new();
    for client in Client::OVER_STDIO {
        for (what, arguments) in calls(&callers) {
            let session = Session::stdio(command).call("echo", arguments);
            let session = session.env("JWT_SECRET", JWT_SECRET).env("WITGATE_CACHE", &cache);
            attempts.push(Attempt::new(what, client, &session));
        }
    }
    for (attempt, report) in make(&clients, attempts).await {
        assert_served(&attempt, &report);
    }
}
