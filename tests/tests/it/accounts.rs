//! Accounts that callers connect for themselves: with a real authorization server, and a person in a real browser.
//!
//! Needs the programs that `cargo xtask tools` installs.

mod elicitation;
mod page;
mod terminal;

use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::clients::{Clients, Scenario, Session};
use witgate_tests::gateway::{Running, Setup};
use witgate_tests::oauth::{AuthorizationServer, Make, PERSON, Plan, browser, directory};

use crate::caller::{Answer, Caller};

/// Time limit for a browser: several start at the same time on a busy machine.
const PATIENT: Duration = Duration::from_secs(120);

/// The scopes of the accounts. With the first one, the server tells the name.
const SCOPES: &str = "scopes = ['openid', 'tools:read']";

/// A provider, and the text of a credential at it.
struct Provider {
    server: AuthorizationServer,
    credential: String,
}

impl Provider {
    async fn start() -> Self {
        let server = Plan::default().start(Make::OidcProvider).unwrap();
        let paths = ["callback", "connect/hub/callback"];
        let redirects = paths.map(|path| format!("http://127.0.0.1/{path}"));
        let client = server
            .register(&json!({
                "redirect_uris": redirects, "response_types": ["code"], "grant_types": ["authorization_code"],
                "token_endpoint_auth_method": "none", "application_type": "native",
            }))
            .await
            .unwrap();
        let endpoint = async |name| server.endpoint(name).await.unwrap();
        let credential = format!(
            "[credentials.hub]\nkind = 'oauth'\npreset = 'custom'\nper = 'principal'\nclient_id = '{client}'\n\
             issuer = '{}'\nauthorize_url = '{}'\ntoken_url = '{}'\n{SCOPES}\n",
            server.issuer(),
            endpoint("authorization_endpoint").await,
            endpoint("token_endpoint").await,
        );
        Self { server, credential }
    }
}

/// The configuration of a gateway before `upstream`, whose callers connect accounts, with further settings.
fn config(upstream: &str, provider: &Provider, more: &str) -> String {
    format!(
        "[upstreams.hub]\nurl = '{upstream}'\ncredential = 'hub'\neras = ['stateful', 'stateless']\npath = '/mcp'\n\
         {}{more}\
         [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n[audit]\ndirectory = 'log'\n",
        provider.credential
    )
}

/// A gateway, and the keys of two callers.
fn serve(upstream: &str, provider: &Provider, more: &str) -> (Running, [String; 2]) {
    let setup = Setup::new();
    setup.config("", &config(upstream, provider, more));
    let keys = ["ada", "eve"].map(|name| setup.key(&[name, "--allow", "*"]));
    (setup.serve(), keys)
}

async fn call(running: &Running, key: &str) -> Answer {
    Caller::new(running.url(), Some(key)).call("echo", json!({ "text": "hello" })).await
}

/// The pages for a person who opens `url`. They show `credential`, unless the page shows a number.
async fn open(url: &str, credential: Option<&str>, more: &[&str]) -> Scenario {
    let clients = Clients::installed().unwrap();
    let session = Session::http(url).limit(PATIENT);
    let mut all = person();
    all.extend(credential.map(|credential| format!("--credential={credential}")));
    all.extend(more.iter().map(|option| (*option).to_owned()));
    clients.drive_other(&directory().join("connect.mjs"), &session, &all).await.unwrap()
}

/// The options of a browser and its person.
fn person() -> Vec<String> {
    vec![
        format!("--browser={}", browser().unwrap().display()),
        format!("--name={}", PERSON.0),
        format!("--password={}", PERSON.1),
    ]
}

/// The entries of the audit log with this method.
fn entries(running: &Running, method: &str) -> Vec<Value> {
    let log = running.setup().dir().join("log");
    let files = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let text: String = segments.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter(|entry| entry["method"] == method).collect()
}
