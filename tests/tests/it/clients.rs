//! The real MCP clients: first directly in front of a real server, so that its failures are not taken for Witgate's;
//! then through Witgate, with a key and with a token, and refused without.
//!
//! Needs the programs that `cargo xtask tools` installs.

use std::fmt::Display;

use futures_util::StreamExt;
use witgate_tests::clients::{Client, Clients, Report, Session, Stage};
use witgate_tests::gateway::Setup;

mod arguments;
mod direct;
mod endpoints;
mod eras;
mod http;
mod matrix;
mod scenario;
mod stdio;

/// Clients that run at the same time: they start slowly, and mostly wait afterwards.
const AT_ONCE: usize = 3;

/// Time limit for one client: all of them share a slow machine.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The tools of server-everything that callers may use here.
const ALLOWED: [&str; 2] = ["echo", "get-sum"];

/// The tool of the fixture.
const ALLOWED_OF_FIXTURE: &str = "test_simple_text";

/// One client's attempt, with the name that a failure shows.
struct Attempt {
    name: String,
    client: Client,
    session: Session,
}

impl Attempt {
    fn new(what: impl Display, client: Client, session: &Session) -> Self {
        Self { name: format!("{client:?}, {what}"), client, session: session.clone().limit(LIMIT) }
    }
}

/// Makes every attempt, and returns what each client reports, in order.
async fn make(clients: &Clients, attempts: Vec<Attempt>) -> Vec<(Attempt, Report)> {
    let make = async |attempt: Attempt| {
        let report = clients.run(attempt.client, &attempt.session).await;
        let report = report.unwrap_or_else(|error| panic!("{}: {error:#}", attempt.name));
        (attempt, report)
    };
    let attempts: Vec<_> = attempts.into_iter().map(make).collect();
    futures_util::stream::iter(attempts).buffered(AT_ONCE).collect().await
}

/// Asserts that a client saw the tools that it may use, and could use one.
fn assert_served(attempt: &Attempt, report: &Report) {
    let name = &attempt.name;
    assert_eq!(report.error, None, "{name}");
    assert_eq!(report.listed.as_deref(), Some(&ALLOWED.map(str::to_owned)[..]), "{name}");
    assert_eq!(report.text().as_deref(), Some("Echo: hi"), "{name}: {report:?}");
}

/// A refusal as far as a client exposes it.
#[derive(Debug, PartialEq)]
struct Refusal {
    /// The stage that it reached.
    stage: Stage,
    /// The HTTP status, the JSON-RPC code and Witgate's reason.
    status: Option<u16>,
    code: Option<i64>,
    reason: Option<String>,
}

/// The expected report of a client.
struct Expected {
    refusal: Refusal,
    /// Part of the client's own kind and message, for those that expose nothing else.
    says: &'static str,
}

impl Expected {
    /// For clients that expose the JSON-RPC error; `status`, where they expose that, too.
    fn error(stage: Stage, status: Option<u16>, code: i64, reason: &str) -> Self {
        Self {
            refusal: Refusal { stage, status, code: Some(code), reason: Some(reason.to_owned()) },
            says: "",
        }
    }

    fn only(stage: Stage, status: Option<u16>, says: &'static str) -> Self {
        Self { refusal: Refusal { stage, status, code: None, reason: None }, says }
    }
}

/// Compares all refusals at once, so that one run shows all that differs.
fn assert_refused(reports: &[(Attempt, Report)], expected: impl Fn(&Attempt) -> Expected) {
    let differing: Vec<String> = reports
        .iter()
        .filter_map(|(attempt, report)| {
            let Expected { refusal, says } = expected(attempt);
            let Some(failure) = &report.error else {
                return Some(format!("{}: not refused: {report:?}", attempt.name));
            };
            let found = Refusal {
                stage: failure.stage,
                status: failure.status,
                code: failure.code,
                reason: failure.reason().map(str::to_owned),
            };
            let text = format!("{}: {}", failure.kind, failure.message);
            let same = found == refusal && text.contains(says) && report.called.is_none();
            (!same).then(|| format!("{}: {found:?}, {text}; not {refusal:?}, {says}", attempt.name))
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// The permitted callers: a key and a token, both with the role that may call [`ALLOWED`].
struct Callers {
    key: String,
    token: String,
}

/// Policies for [`Callers`] in front of the upstreams that `upstreams` describes.
fn guard(setup: &Setup, upstreams: &str) {
    let [echo, sum] = ALLOWED;
    let rest = format!(
        r#"
        {upstreams}
        [policies.keys]
        kind = "api-key"
        config = {{ store = "keys.toml" }}
        [policies.tokens]
        kind = "jwt"
        config = {{ keys = ["session"], algorithms = ["HS256"] }}
        [policies.roles]
        kind = "rbac"
        config = {{ roles = {{ caller = {{ allow = ["{echo}", "{sum}", "{ALLOWED_OF_FIXTURE}"] }} }} }}
        [keys.session]
        secret = {{ env = "JWT_SECRET" }}
        [pipeline]
        authenticate = ["keys", "tokens"]
        authorize = ["roles"]
        "#
    );
    setup.config("", &rest);
}

/// A setup whose commands know the secret of the tokens.
fn setup() -> Setup {
    Setup::new().env("JWT_SECRET", JWT_SECRET)
}

const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Made with the real commands. With several upstreams, `issue` names the one that the token is for.
fn callers(setup: &Setup, issue: &[&str]) -> Callers {
    let key = setup.key(&["ada", "--role", "caller"]);
    let output =
        setup.run(&[&["token", "issue", "--sub", "ada", "--role", "caller", "--json"], issue].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let issued: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    Callers { key, token: issued["token"].as_str().unwrap().to_owned() }
}

/// server-everything as a command, in TOML.
fn everything(clients: &Clients) -> String {
    let command: Vec<String> = clients.everything_command().iter().map(|part| format!("{part:?}")).collect();
    format!("[upstreams.everything]\ncommand = [{}]", command.join(", "))
}

/// The expected reason for refusing an attempt, from its name.
fn reason(name: &str) -> &'static str {
    match name {
        name if name.ends_with("without a credential") => "no-credential",
        name if name.ends_with("with a wrong key") => "unknown-key",
        name if name.ends_with("with a wrong token") => "unrecognised",
        _ => "not-allowed",
    }
}
