//! Accounts: logins from the URL of a server alone, and their end.

mod attacks;
mod conformance;
mod documents;
mod keeping;
mod provider;
mod refreshes;
mod revisions;
mod sdks;

use std::collections::HashMap;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use witgate_base::digest::sha256;
use witgate_tests::clients::{Clients, Report, Scenario, Session};
use witgate_tests::gateway::{Running, Setup, await_some, workspace};
use witgate_tests::oauth::{browser, directory};
use witgate_tests::wire::{Answer, Request};

pub(crate) const PASSWORD: &str = "correct horse battery";
const REDIRECT: &str = "http://127.0.0.1:4711/cb";
const VERIFIER: &str = "0123456789012345678901234567890123456789012";

/// A gateway with accounts before its own tools, and the user `ada`.
fn setup(policy: &str) -> Setup {
    setup_with(|_| String::new(), policy)
}

/// The same, with further settings of accounts.
pub(crate) fn setup_with(accounts: impl FnOnce(&Setup) -> String, policy: &str) -> Setup {
    let setup = Setup::new();
    let accounts = accounts(&setup);
    configure(&setup, &accounts, policy);
    setup
}

/// The same in a directory that exists.
fn configure(setup: &Setup, accounts: &str, policy: &str) {
    setup.config(
        "",
        &format!(
            "[accounts]\n{accounts}scopes = {{ \"tools:read\" = \"Read things\" }}\n\
             [upstreams.own]\nown_tools = true\n\
             [policies.people]\nkind = \"accounts\"\n{policy}\n\
             [policies.roles]\nkind = \"rbac\"\nconfig.roles.ops = {{ allow = [\"*\"] }}\n\
             [pipeline]\nauthenticate = [\"people\"]\nauthorize = [\"roles\"]\n[lockout]\n"
        ),
    );
    succeed(setup, &["user", "add", "ada", "--accounts", "--role", "ops", "--password-stdin"], PASSWORD);
}

fn run(setup: &Setup, arguments: &[&str], input: &str) -> Output {
    let mut command = setup.command(arguments);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn succeed(setup: &Setup, arguments: &[&str], input: &str) -> String {
    let output = run(setup, arguments, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said + &String::from_utf8_lossy(&output.stdout)
}

/// A person with a browser, and a client.
pub(crate) struct Person<'a> {
    running: &'a Running,
    cookies: HashMap<String, String>,
}

impl<'a> Person<'a> {
    pub(crate) fn new(running: &'a Running) -> Self {
        Self { running, cookies: HashMap::new() }
    }

    fn send(&mut self, request: Request) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.with("Cookie", &cookies.join("; ")).send();
        for set in answer.all("set-cookie") {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        let request = Request::new("GET", &self.running.address(), target);
        self.send(request)
    }

    pub(crate) fn post(&mut self, target: &str, form: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::new("POST", &self.running.address(), target)
            .with("Content-Type", "application/x-www-form-urlencoded")
            .with("Content-Length", &body.len().to_string())
            .body(body);
        self.send(request)
    }

    /// Logs in with a new browser, and lets a new client in. Returns its id and its tokens.
    fn let_in(&mut self) -> (String, Value) {
        self.cookies.clear();
        let metadata = json!({ "client_name": "Desk", "redirect_uris": [REDIRECT] }).to_string();
        let answer = Request::post(&self.running.address(), "/oauth/register", metadata).send();
        let client = body(&answer)["client_id"].as_str().unwrap().to_owned();
        let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", &client),
                ("redirect_uri", REDIRECT),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
                ("resource", &self.running.url()),
            ])
            .finish();
        let page = self.get(&format!("/oauth/authorize?{query}"));
        let (form, next) = (field(&page, "form"), field(&page, "next"));
        let fields = [("form", &*form), ("next", &*next), ("name", "ada"), ("password", PASSWORD)];
        let place = self.post("/login", &fields).header("location").unwrap().to_owned();
        let page = self.get(&place);
        let fields = [("form", &*field(&page, "form")), ("request", &*query), ("decision", "allow")];
        let answer = self.post("/oauth/consent", &fields);
        let place = url::Url::parse(answer.header("location").unwrap()).unwrap();
        let code = place.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let tokens = self.post(
            "/oauth/token",
            &[
                ("grant_type", "authorization_code"),
                ("client_id", &client),
                ("code", &code),
                ("redirect_uri", REDIRECT),
                ("code_verifier", VERIFIER),
            ],
        );
        (client, body(&tokens))
    }
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

/// The value of a hidden field.
pub(crate) fn field(page: &Answer, name: &str) -> String {
    let text = page.text();
    let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().replace("&amp;", "&")
}

fn call(running: &Running, tokens: &Value) -> Answer {
    let params = json!({ "name": "echo", "arguments": { "text": "hello" } });
    let request = Request::stateless(&running.address(), "/mcp", "tools/call", params);
    request.bearer(tokens["access_token"].as_str().unwrap()).send()
}

#[test]
fn a_login_ends_at_once_in_each_way() {
    for component in [false, true] {
        let setup = setup(if component { "component = \"plugins/jwt.wasm\"" } else { "" });
        if component {
            setup.component("jwt");
        }
        let running = setup.serve();
        let mut person = Person::new(&running);
        for way in ["end", "roles", "passwd", "token", "revoke", "disable"] {
            let (client, tokens) = person.let_in();
            let what = format!("{way}, component: {component}");
            assert_eq!(call(&running, &tokens).status, 200, "{what}: {tokens}");
            let setup = running.setup();
            let begin = Instant::now();
            match way {
                "end" => succeed(setup, &["accounts", "end", "ada"], ""),
                "roles" => succeed(setup, &["accounts", "roles", "ada", "--role", "ops"], ""),
                "passwd" => {
                    succeed(setup, &["user", "passwd", "ada", "--accounts", "--password-stdin"], PASSWORD)
                }
                "disable" => succeed(setup, &["user", "disable", "ada", "--accounts"], ""),
                "token" => succeed(setup, &["token", "revoke"], tokens["access_token"].as_str().unwrap()),
                _ => {
                    let token = tokens["access_token"].as_str().unwrap();
                    let answer = person.post("/oauth/revoke", &[("token", token), ("client_id", &client)]);
                    assert_eq!(answer.status, 200, "{what}");
                    let is_refused = || (call(&running, &tokens).status == 401).then(String::new);
                    await_some("the end of the login", is_refused)
                }
            };
            assert!(begin.elapsed() < Duration::from_secs(10), "{what}: {:?}", begin.elapsed());
            let answer = call(&running, &tokens);
            assert_eq!((answer.status, answer.refusal().2.as_str()), (401, "revoked"), "{what}");
            let refresh = tokens["refresh_token"].as_str().unwrap();
            let form = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", refresh)];
            assert_eq!(body(&person.post("/token", &form))["error"], "invalid_grant", "{what}");
        }
        let secrets = [PASSWORD, "wgr_"];
        assert!(secrets.iter().all(|secret| !running.log().contains(secret)), "{}", running.log());
    }
}

#[test]
fn a_damaged_database_is_refused_and_stays_as_it_is() {
    let setup = setup("");
    let place = setup.dir().join("accounts.db");
    std::fs::write(&place, b"x".repeat(8_192)).unwrap();
    let output = setup.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("is damaged") && said.contains("witgate.toml:"), "{said}");
    assert_eq!(std::fs::read(&place).unwrap(), b"x".repeat(8_192));
}

#[test]
fn a_backup_can_take_the_place_of_the_database() {
    let setup = setup("");
    succeed(&setup, &["accounts", "backup", "copy.db"], "");
    succeed(&setup, &["user", "add", "ben", "--accounts", "--password-stdin"], PASSWORD);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(setup.dir().join(format!("accounts.db{end}")));
    }
    std::fs::rename(setup.dir().join("copy.db"), setup.dir().join("accounts.db")).unwrap();
    succeed(&setup, &["accounts", "repair"], "");
    let users = succeed(&setup, &["user", "list", "--accounts", "--json"], "");
    assert!(users.contains("ada") && !users.contains("ben"), "{users}");
    let running = setup.serve();
    let (_, tokens) = Person::new(&running).let_in();
    assert_eq!(call(&running, &tokens).status, 200);
}

/// The configuration of `init --accounts` works once there is a user.
#[test]
fn a_configuration_for_accounts_is_made_by_one_command() {
    let setup = Setup::new();
    let said = succeed(&setup, &["init", "--accounts", "--builtin", "--command", "/bin/cat"], "");
    assert!(said.contains("witgate user add NAME --accounts --role admin"), "{said}");
    let without = run(&setup, &["check"], "");
    let told = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(told.contains("make it with the first user"), "{told}");
    succeed(&setup, &["user", "add", "ada", "--accounts", "--role", "admin", "--password-stdin"], PASSWORD);
    let checked = succeed(&setup, &["check", "--json"], "");
    assert!(checked.contains("\"diagnostics\": []") || checked.contains("\"diagnostics\":[]"), "{checked}");
    let ignored = std::fs::read_to_string(setup.dir().join(".gitignore")).unwrap();
    assert!(ignored.contains("accounts.db*") && ignored.contains("witgate.state/"), "{ignored}");
}

/// The TypeScript client and a real browser get in with the URL alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_with_a_real_client_and_browser() {
    let setup = setup("");
    let running = setup.serve();
    let session = Session::http(running.url()).mode("auto").limit(Duration::from_secs(120));
    let more = [
        format!("--browser={}", browser().unwrap().display()),
        "--name=ada".to_owned(),
        format!("--password={PASSWORD}"),
        "--scope=tools:read".to_owned(),
        format!("--tools={}", json!([["echo", { "text": "hello" }]])),
    ];
    let clients = Clients::installed().unwrap();
    let report: Scenario =
        clients.drive_other(&directory().join("login.mjs"), &session, &more).await.unwrap();
    assert_eq!(report.error, None, "{report:?}\n{}", running.log());
    assert!(report.steps["echo"].to_string().contains("hello"), "{report:?}");
    let login = &report.steps["logins"][0];
    assert_eq!(login["pages"], json!(["Log in", "Allow access?"]), "{report:?}");
    assert_eq!((&login["resource"], &login["pkce"]), (&running.url().into(), &"S256".into()));
    assert_eq!(report.steps["scope"], "tools:read");
}

/// The Python clients, which register with other metadata, get in with the URL alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_with_the_python_clients() {
    let setup = setup("");
    let running = setup.serve();
    let clients = Clients::installed().unwrap();
    for kind in ["mcp", "fastmcp"] {
        let session = Session::http(running.url()).mode("auto").limit(Duration::from_secs(60));
        let session = session.call("echo", json!({ "text": "hello" }));
        let person = json!({ "kind": kind, "name": "ada", "password": PASSWORD });
        let report: Report = clients
            .drive_other(&directory().join("login.py"), &session, &[format!("--client={person}")])
            .await
            .unwrap();
        assert_eq!(report.error, None, "{kind}: {report:?}\n{}", running.log());
        assert!(report.called.unwrap().to_string().contains("hello"), "{kind}");
    }
}

/// Pages of other origins may read what is for programs, and never what is for people.
#[test]
fn no_other_origin_reads_the_pages() {
    let running = setup("").serve();
    let address = running.address();
    let origin = |target: &str, method: &str| {
        let request = Request::new(method, &address, target).with("Origin", "https://evil.example.com");
        request.with("Access-Control-Request-Method", "POST").send()
    };
    for target in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/oauth/jwks",
    ] {
        let answer = origin(target, "GET");
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (200, Some("*")),
            "{target}"
        );
    }
    for target in ["/token", "/register", "/oauth/revoke"] {
        let answer = origin(target, "OPTIONS");
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (204, Some("*")),
            "{target}"
        );
    }
    for target in ["/login", "/account", "/logout", "/oauth/authorize"] {
        for method in ["GET", "OPTIONS"] {
            let answer = origin(target, method);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {target}");
        }
    }
    let foreign = Request::new("GET", &address, "/login").set("Host", "evil.example.com").send();
    assert!(foreign.status >= 400 && !foreign.text().contains("Password"), "{}", foreign.text());
    let large = Request::post(&address, "/register", vec![b'x'; 40_000]).send();
    assert_eq!(large.status, 413);
    // What a protected resource says names the own issuer.
    let resource = Request::new("GET", &address, "/.well-known/oauth-protected-resource/mcp").send();
    assert_eq!(body(&resource)["authorization_servers"], json!([format!("http://{address}")]));
}
