//! Servers with credentials towards other APIs: `examples/replace-tool-factory`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;
use witgate_tests::clients::{Client, Clients, Report, Session};
use witgate_tests::gateway::{Running, Setup, await_some, workspace};
use witgate_tests::provider::{FormFields, Provider};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::contains;

use crate::caller::{Answer, Caller};

const SECRET: &str = "weather-secret-0123456789-abcdefghij";
const BEARER: &str = "tickets-secret-0123456789-abcdefghij";
const PASSWORD: &str = "reports-secret-0123456789-abcdefghij";

/// The example's directory, whose server asks these APIs, and the key of a caller.
fn example(apis: &[(&str, &Recorder)]) -> (Setup, String) {
    let setup = Setup::new();
    let from = workspace().join("examples/replace-tool-factory");
    fs::copy(from.join("server.py"), setup.dir().join("server.py")).unwrap();
    let python = Clients::installed().unwrap().python().display().to_string();
    let config = fs::read_to_string(from.join("witgate.toml")).unwrap();
    let config = config.replace("\"python3\"", &format!("{python:?}"));
    let config = apis.iter().fold(config, |config, (api, recorder)| {
        let own = format!("https://{api}.example.com");
        config.replace(&own, recorder.url().trim_end_matches("/mcp"))
    });
    setup.file("witgate.toml", config.replace("127.0.0.1:8787", &setup.address()));
    let key = setup.key(&["ada", "--allow", "*"]);
    (setup, key)
}

fn change(setup: &Setup, from: &str, to: &str) {
    let config = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    assert!(config.contains(from), "{from}");
    setup.file("witgate.toml", config.replace(from, to));
}

/// A session of a real client with the example's server, which calls a tool.
async fn run(client: Client, running: &Running, key: &str, tool: &str, arguments: Value) -> Report {
    let session = Session::http(running.url()).header("X-API-Key", key).call(tool, arguments);
    Clients::installed().unwrap().run(client, &session.limit(Duration::from_secs(60))).await.unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn told(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// The states that `health_check` reports.
async fn health(caller: &Caller) -> Value {
    let answer = caller.call("health_check", json!({})).await;
    let health = answer.body["result"]["structuredContent"].clone();
    assert!(health["status"] == "ok" && health["timestamp"].is_string(), "{answer:?}");
    health["auth_config"].clone()
}

/// A gateway before an MCP server of `provider`, whose credential `hub` is the grant of a person.
fn before_provider(provider: &Provider, more: &str) -> (Setup, String) {
    let setup = Setup::new();
    let config = format!(
        "[upstreams.hub]\nurl = '{}'\ncredential = 'hub'\neras = ['stateful', 'stateless']\nown_tools = ['health_check']\n\
         [credentials.hub]\nkind = 'oauth'\npreset = 'custom'\nauthorize_url = '{}'\ntoken_url = '{}'\n\
         client_id = 'tool-factory'\nscopes = ['tools']\n{more}\n\
         [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n[audit]\ndirectory = 'log'\n",
        provider.url("/mcp"),
        provider.url("/authorize"),
        provider.url("/token"),
    );
    setup.config("", &config);
    let key = setup.key(&["ada", "--allow", "*"]);
    (setup, key)
}

/// A running `witgate credential login`.
struct LoginCommand {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    /// The address that it shows.
    address: Url,
}

impl LoginCommand {
    fn start(setup: &Setup, name: &str) -> Self {
        let mut command = setup.command(&["credential", "login", name, "--no-browser"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.trim().starts_with("http") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "it shows no address");
        }
        Self { child, output, address: line.trim().parse().unwrap() }
    }

    fn parameters(&self) -> FormFields {
        self.address.query_pairs().into_owned().collect()
    }

    /// The address to which the provider leads back.
    async fn redirect(&self) -> Url {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let page = http.build().unwrap().get(self.address.clone()).send().await.unwrap();
        assert_eq!(page.status(), 302);
        page.headers()["location"].to_str().unwrap().parse().unwrap()
    }

    /// The whole output, after its end.
    fn end(mut self) -> (bool, String) {
        drop(self.child.stdin.take());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut said).unwrap();
        let mut error = String::new();
        std::io::Read::read_to_string(self.child.stderr.as_mut().unwrap(), &mut error).unwrap();
        (self.child.wait().unwrap().success(), said + &error)
    }

    fn cancel(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Logs in as a browser does.
async fn log_in(setup: &Setup) {
    let login = LoginCommand::start(setup, "hub");
    let answer = login.redirect().await;
    assert_eq!(reqwest::get(answer).await.unwrap().status(), 200);
    let (is_done, said) = login.end();
    assert!(is_done && said.contains("connected `hub`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_named_variables_reach_the_server() {
    let (setup, key) = example(&[]);
    let setup = setup.env("MAPS_KEY", SECRET).env("BEARER_TOKEN", BEARER).env("OTHER_SECRET", "x");
    let running = setup.serve();
    for client in [Client::TsSdk, Client::PyMcp] {
        let report = run(client, &running, &key, "list_settings", json!({})).await;
        let names = report.text().unwrap();
        let has = |name: &str| names.split(", ").any(|other| other == name);
        assert!(has("MAPS_KEY") && has("WEATHER_API") && has("OWN_TOKEN_FILE") && has("PATH"), "{names}");
        assert!(!has("OTHER_SECRET") && !has("BEARER_TOKEN") && !has("MCP_API_KEY"), "{names}");
    }
    // It has the key, and uses it in a way of its own.
    let report = run(Client::PyMcp, &running, &key, "get_map_link", json!({ "place": "paris" })).await;
    assert!(report.text().unwrap().contains("/paris?signature="), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_credential_denies_the_tool_that_needs_it_and_is_named() {
    let (setup, key) = example(&[]);
    let running = setup.env("WEATHER_API_KEY", "").env("BEARER_TOKEN", BEARER).serve();
    let report = run(Client::PyMcp, &running, &key, "get_weather", json!({ "city": "Paris" })).await;
    let error = report.error.unwrap();
    let message = "Missing required auth: WEATHER_API_KEY. Set the WEATHER_API_KEY environment variable.";
    assert!(error.message.contains(message), "{error:?}");
    assert_eq!(error.reason(), Some("credential-missing"));
    let report = run(Client::TsSdk, &running, &key, "list_settings", json!({})).await;
    assert_eq!(report.error, None, "the other tools work");

    let caller = Caller::new(running.url(), Some(&key));
    let states = health(&caller).await;
    for (name, state) in [
        ("MAPS_KEY", "missing"),
        ("weather", "missing"),
        ("tickets", "configured"),
        ("reports", "missing"),
        // Its client has no secret. The public client needs a login.
        ("github", "missing"),
        ("entra", "connect"),
    ] {
        assert_eq!(states[name], state, "{name}: {states}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_api_gets_its_credential_in_its_form() {
    let apis = [Recorder::start(), Recorder::start(), Recorder::start()];
    let [weather, tickets, reports] = &apis;
    let (setup, key) = example(&[("weather", weather), ("tickets", tickets), ("reports", reports)]);
    let setup = setup.env("WEATHER_API_KEY", SECRET).env("BEARER_TOKEN", BEARER);
    let running = setup.env("API_USERNAME", "aladdin").env("API_PASSWORD", PASSWORD).serve();
    for (tool, arguments) in
        [("get_weather", json!({ "city": "Paris" })), ("list_tickets", json!({})), ("get_report", json!({}))]
    {
        let report = run(Client::TsSdk, &running, &key, tool, arguments).await;
        assert_eq!(report.text().as_deref(), Some("The API has answered."), "{tool}: {report:?}");
    }
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("aladdin:{PASSWORD}"));
    for (api, header) in [
        (weather, format!("x-api-key: {SECRET}\r\n")),
        (tickets, format!("authorization: bearer {BEARER}\r\n")),
        (reports, format!("authorization: basic {basic}\r\n")),
    ] {
        let seen = api.seen().to_ascii_lowercase();
        assert!(contains(&seen, header.to_ascii_lowercase().as_bytes()), "{}", text(&seen));
        assert!(!contains(&api.seen(), key.as_bytes()), "the key of the caller");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_file_is_used_and_so_is_its_change() {
    let weather = Recorder::start();
    let (setup, key) = example(&[("weather", &weather)]);
    change(&setup, "value = { env = \"WEATHER_API_KEY\"", "value = { file = \"secret\"");
    private(&setup.file("secret", format!("{SECRET}\n")));
    let running = setup.serve();
    let call = || run(Client::TsSdk, &running, &key, "get_weather", json!({ "city": "Paris" }));
    assert!(call().await.text().is_some());
    assert!(contains(&weather.seen(), format!(": {SECRET}\r\n").as_bytes()));
    private(&running.setup().file("secret", "another-secret-0123456789-abcdefghij"));
    crate::caller::until("the new secret", async || {
        call().await;
        contains(&weather.seen(), b": another-secret-0123456789-abcdefghij\r\n").then_some(())
    })
    .await;
}

fn private(path: &std::path::Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn variables_for_development_come_out_of_a_file() {
    let (setup, _) = example(&[]);
    let state = |options: &[&str]| {
        let output = setup.run(&[options, &["credential", "status", "weather", "--json"]].concat());
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        rows[0]["state"].clone()
    };
    assert_eq!(state(&[]), "missing");
    private(&setup.file(".env.development", format!("WEATHER_API_KEY={SECRET}\n")));
    assert_eq!(state(&["--env-file", ".env.development"]), "configured");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_comes_from_a_program_at_the_start() {
    let (setup, key) = example(&[]);
    let program = setup.file("vault", format!("#!/bin/sh\necho {SECRET}\n"));
    fs::set_permissions(program, fs::Permissions::from_mode(0o700)).unwrap();
    let exec = "MAPS_KEY = { exec = [\"./vault\", \"read\", \"-field=value\", \"secret/maps\"] }";
    change(&setup, "MAPS_KEY = { env = \"MAPS_KEY\", optional = true }", exec);
    change(&setup, "get_map_link = [\"maps\"]\n", "");
    let running = setup.serve();
    let link = run(Client::PyMcp, &running, &key, "get_map_link", json!({ "place": "paris" })).await;
    use aws_lc_rs::hmac;
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), b"paris");
    let signature: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(link.text().unwrap().ends_with(&format!("?signature={signature}")), "{link:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_with_state_and_pkce_as_a_public_client() {
    let provider = Provider::start();
    let (setup, key) = before_provider(&provider, "redirect_uri = 'http://localhost/callback'");
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let connect = caller.call("echo", json!({})).await;
    assert_eq!(connect.reason(), Some("credential-missing"), "{connect:?}");
    assert_eq!(health(&caller).await, json!({ "hub": "connect" }));

    let login = LoginCommand::start(running.setup(), "hub");
    let asked = login.parameters();
    assert_eq!(
        (&*asked["response_type"], &*asked["client_id"], &*asked["scope"]),
        ("code", "tool-factory", "tools")
    );
    assert!(asked["code_challenge_method"] == "S256" && asked["code_challenge"].len() == 43, "{asked:?}");
    assert!(asked["state"].len() >= 43, "{asked:?}");
    let redirect: Url = asked["redirect_uri"].parse().unwrap();
    assert_eq!((redirect.host_str(), redirect.path()), (Some("localhost"), "/callback"));
    let answer = login.redirect().await;
    let shown = reqwest::get(answer).await.unwrap().text().await.unwrap();
    assert!(shown.contains("You are connected"), "{shown}");
    let (is_done, said) = login.end();
    assert!(is_done, "{said}");
    assert!(!provider.forms()[0].contains_key("client_secret"), "{:?}", provider.forms());

    let answer = await_result(&caller).await;
    assert!(answer.is_result() && provider.calls().contains(&provider.bearer()), "{answer:?}");
    assert_eq!(health(&caller).await, json!({ "hub": "configured" }));
}

/// The result of a call, once the gateway has noticed a login.
async fn await_result(caller: &Caller) -> Answer {
    let call = async || Some(caller.call("echo", json!({})).await).filter(Answer::is_result);
    crate::caller::until("the login to be noticed", call).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_another_state_is_refused_and_a_pasted_one_accepted() {
    let provider = Provider::start();
    let (setup, _) = before_provider(&provider, "");
    let mut login = LoginCommand::start(&setup, "hub");
    let answer = login.redirect().await;
    let mut other = answer.clone();
    other.query_pairs_mut().clear().append_pair("code", "stolen").append_pair("state", "another");
    let refused = reqwest::get(other).await.unwrap();
    assert_eq!(refused.status(), 400);
    let shown = refused.text().await.unwrap();
    assert!(shown.contains("State mismatch: this answer belongs to another login"), "{shown}");
    assert!(provider.forms().is_empty(), "the code is not sent");
    let stdin = login.child.stdin.as_mut().unwrap();
    writeln!(stdin, "{answer}").unwrap();
    let mut line = String::new();
    login.output.read_line(&mut line).unwrap();
    let (is_done, said) = login.end();
    assert!(is_done, "{line}{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_check_of_pkce_is_explained() {
    let provider = Provider::start();
    provider.refuse_codes();
    let (setup, _) = before_provider(&provider, "");
    let login = LoginCommand::start(&setup, "hub");
    let answer = login.redirect().await;
    reqwest::get(answer).await.unwrap();
    let (is_done, said) = login.end();
    assert!(!is_done && said.contains("PKCE verification failed"), "{said}");
    assert!(said.contains("witgate credential login hub"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_handed_in_and_renewed_once_for_all_calls() {
    let provider = Provider::start();
    let (setup, key) = before_provider(&provider, "");
    import(&setup, &provider, &[]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let calls = (0..20).map(|_| caller.call("echo", json!({})));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Answer::is_result), "{answers:?}");
    // A token whose end is unknown counts as ended.
    assert_eq!(provider.refreshes(), 1);
    assert!(provider.calls().iter().all(|bearer| *bearer == provider.bearer()), "none with the former token");

    // The provider takes each refresh token once: the second renewal needs the stored one of the first.
    let refreshed = running.setup().run(&["credential", "refresh", "hub"]);
    assert!(refreshed.status.success(), "{}", told(&refreshed));
    assert_eq!(provider.refreshes(), 2);
    let again = running.setup().run(&["credential", "refresh", "hub"]);
    assert!(again.status.success(), "{}", told(&again));
}

/// Stores tokens of the provider.
fn import(setup: &Setup, provider: &Provider, options: &[&str]) {
    let [access, refresh] = provider.issue();
    let command = "credential import hub --access-token-env ACCESS_TOKEN --refresh-token-env REFRESH_TOKEN";
    let command: Vec<_> = command.split(' ').chain(options.iter().copied()).collect();
    let mut command = setup.command(&command);
    let output = command.env("ACCESS_TOKEN", access).env("REFRESH_TOKEN", refresh).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_five_minutes_before_its_end() {
    let provider = Provider::start();
    for (lifetime, is_renewed) in [("1000", false), ("0", true)] {
        let (setup, key) = before_provider(&provider, "");
        import(&setup, &provider, &["--expires-in", lifetime]);
        let before = provider.refreshes();
        let running = setup.serve();
        assert!(Caller::new(running.url(), Some(&key)).call("echo", json!({})).await.is_result());
        assert_eq!(provider.refreshes() - before, usize::from(is_renewed), "{lifetime}");
    }
    // With a margin as long as its life, it is renewed at once, and calls go on with the former one meanwhile.
    let (setup, key) = before_provider(&provider, "refresh_before_s = 86400");
    import(&setup, &provider, &["--expires-in", "4"]);
    let before = provider.refreshes();
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let call = async || {
        assert!(caller.call("echo", json!({})).await.is_result());
        (provider.refreshes() > before).then_some(())
    };
    crate::caller::until("the renewal", call).await;
    let state = running.setup().run(&["credential", "status", "hub", "--json"]);
    let state: Value = serde_json::from_slice(&state.stdout).unwrap();
    assert_eq!(state[0]["state"], "logged in", "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_renewed_or_somebody_has_to_log_in_again() {
    let provider = Provider::start();
    let (setup, key) = before_provider(&provider, "");
    log_in(&setup).await;
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("echo", json!({})).await.is_result());
    // A token of less than ten seconds is not renewed.
    tokio::time::sleep(Duration::from_secs(11)).await;
    provider.forget_access();
    assert!(
        caller.call("echo", json!({})).await.is_result(),
        "it is renewed, and the call is sent once more"
    );
    assert_eq!(provider.refreshes(), 1);
    tokio::time::sleep(Duration::from_secs(11)).await;
    provider.end();
    let ended = caller.call("echo", json!({})).await;
    assert_eq!(ended.reason(), Some("credential-ended"), "{ended:?}");
    let message = ended.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("Log in with `witgate credential login hub`"), "{message}");
    await_some("the state", || {
        let state = running.setup().run(&["credential", "status", "hub", "--json"]);
        let state: Value = serde_json::from_slice(&state.stdout).unwrap();
        (state[0]["state"] == "ended: log in again").then_some(())
    });
}

#[test]
fn presets_know_their_providers() {
    let (setup, _) = example(&[]);
    let setup = setup.env("GITHUB_CLIENT_SECRET", SECRET).env("GOOGLE_CLIENT_SECRET", SECRET);
    let tenant = "https://login.microsoftonline.com/example.onmicrosoft.com/oauth2/v2.0/authorize";
    for (name, page, scope, more) in [
        ("github", "https://github.com/login/oauth/authorize", "read:user repo", vec![]),
        (
            "google",
            "https://accounts.google.com/o/oauth2/v2/auth",
            "openid email profile",
            vec![("access_type", "offline"), ("prompt", "consent")],
        ),
        ("entra", tenant, "User.Read offline_access", vec![]),
        ("own-provider", "https://auth.example.com/authorize", "tools", vec![]),
    ] {
        let login = LoginCommand::start(&setup, name);
        let mut address = login.address.clone();
        address.set_query(None);
        let asked = login.parameters();
        login.cancel();
        assert_eq!((address.as_str(), &*asked["scope"]), (page, scope), "{name}");
        assert!(asked["code_challenge_method"] == "S256" && !asked.contains_key("resource"), "{asked:?}");
        for (parameter, value) in more {
            assert_eq!(asked[parameter], value, "{name}");
        }
        if name == "own-provider" {
            assert_eq!(asked["redirect_uri"], "http://localhost:8080/callback");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_stay_in_the_file_of_before_if_other_programs_read_it() {
    let provider = Provider::start();
    let (setup, key) = before_provider(&provider, "store = 'file'\ntoken_file = 'mcp-tokens/tokens.json'\n");
    log_in(&setup).await;
    let path = setup.dir().join("mcp-tokens/tokens.json");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let read = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(format!("Bearer {}", read()["access_token"].as_str().unwrap()), provider.bearer());

    // The tokens of before, without an end.
    let [access, refresh] = provider.issue();
    fs::write(&path, json!({ "access_token": access, "refresh_token": refresh }).to_string()).unwrap();
    let running = setup.serve();
    let answer = await_result(&Caller::new(running.url(), Some(&key))).await;
    assert!(answer.is_result(), "{answer:?}");
    let renewed = read();
    assert_eq!(format!("Bearer {}", renewed["access_token"].as_str().unwrap()), provider.bearer());
    assert!(renewed["expires_at"].is_number() && mode(&path) == 0o600, "it is renewed");
}

/// Searched: everything that Witgate writes, at its most talkative.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_a_file_or_an_output() {
    let provider = Provider::start();
    let (setup, key) =
        before_provider(&provider, "client_secret = { env = 'CLIENT_SECRET' }\nclient_auth = 'post'");
    let setup = setup.env("CLIENT_SECRET", SECRET).env("RUST_LOG", "trace");
    log_in(&setup).await;
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let answer = await_result(&caller).await;
    let shown = running.setup().run(&["config", "show"]);
    let listed = running.setup().run(&["credential", "list", "--json"]);
    let mut outputs = vec![running.log(), told(&shown), told(&listed), format!("{answer:?}")];
    running.await_log("outcome=\"allowed\"");
    for directory in ["log", "witgate.state", "witgate.state/credentials"] {
        let files = fs::read_dir(running.setup().dir().join(directory)).unwrap();
        let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        outputs.extend(files.map(|path| text(&fs::read(path).unwrap())));
    }
    let bearer = provider.bearer();
    let (_, access) = bearer.split_once(' ').unwrap();
    let refresh = access.replace("access", "refresh");
    let code = provider.forms()[0]["code"].clone();
    let verifier = provider.forms()[0]["code_verifier"].clone();
    assert_eq!(provider.forms()[0]["client_secret"], SECRET, "it is really in use");
    for secret in [SECRET, access, &refresh, &code, &verifier, &key] {
        for output in &outputs {
            assert!(!output.contains(secret), "{secret} is in {output}");
        }
    }
    for name in ["witgate.state/credentials/hub.json", "witgate.state/credentials/key"] {
        let path = running.setup().dir().join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}
