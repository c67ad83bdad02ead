//! The credentials with which Witgate calls upstreams.

mod children;
mod disk;
mod kill;
mod provider;
mod sessions;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some};
use witgate_tests::issuer::{Issuer, Page, Signer};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::contains;

use crate::caller::Caller;

const SECRET: &str = "weather-secret-0123456789-abcdefghij";
const PASSWORD: &str = "password-0123456789-abcdefghijklmnop";

const POLICIES: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                        [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n\
                        [audit]\ndirectory = 'log'\n";

/// Serves with this configuration, and makes a key.
fn serve(setup: Setup, config: &str) -> (Running, String) {
    setup.config("", &format!("{config}{POLICIES}"));
    let key = setup.key(&["ada", "--allow", "*"]);
    (setup.serve(), key)
}

async fn call(running: &Running, key: &str, upstream: &str, tool: &str) -> crate::caller::Answer {
    let url = format!("http://{}/{upstream}/mcp", running.address());
    Caller::new(url, Some(key)).call(tool, json!({})).await
}

/// The credentials in the audit log, in the order of the calls of tools.
fn delegated(running: &Running) -> Vec<Value> {
    let log = running.setup().dir().join("log");
    let files = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let text: String = segments.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let calls = entries.filter(|entry| entry["method"] == "tools/call");
    calls.map(|entry| entry["delegated"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_gets_its_own_credential_and_never_that_of_the_caller() {
    let (weather, legacy) = (Recorder::start(), Recorder::start());
    let setup = Setup::new().env("WEATHER_API_KEY", SECRET).env("API_PASSWORD", PASSWORD);
    let (running, key) = serve(
        setup,
        &format!(
            "[upstreams.weather]\nurl = '{}'\ncredential = 'weather'\n\
             [upstreams.legacy]\nurl = '{}'\ncredential = 'legacy'\n\
             [credentials.weather]\nkind = 'static'\nvalue = {{ env = 'WEATHER_API_KEY' }}\nheader = 'X-API-Key'\n\
             [credentials.legacy]\nkind = 'basic'\nuser = 'aladdin'\npassword = {{ env = 'API_PASSWORD' }}\n",
            weather.url(),
            legacy.url(),
        ),
    );
    assert!(call(&running, &key, "weather", "echo").await.is_result());
    assert!(call(&running, &key, "legacy", "echo").await.is_result());
    assert!(contains(&weather.seen(), format!("x-api-key: {SECRET}\r\n").as_bytes()));
    let basic = format!("Basic {}", STANDARD.encode(format!("aladdin:{PASSWORD}")));
    assert!(contains(&legacy.seen(), basic.as_bytes()));
    for recorder in [&weather, &legacy] {
        assert!(!contains(&recorder.seen(), key.as_bytes()), "the key of the caller");
    }
    let shown = running.setup().run(&["config", "show"]);
    let outputs = [shown.stdout.clone(), shown.stderr, running.log().into_bytes()].concat();
    for secret in [SECRET, PASSWORD] {
        assert!(!contains(&outputs, secret.as_bytes()), "{secret}");
    }
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["upstreams"]["weather"]["credential"], "weather");
    assert_eq!(
        shown["credentials"]["legacy"],
        json!({ "kind": "basic", "header": "authorization", "is_missing": false })
    );
    await_some("two entries", || (delegated(&running).len() == 2).then_some(()));
    assert_eq!(delegated(&running), [json!({ "credential": "weather" }), json!({ "credential": "legacy" })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_optional_credential_denies_the_calls_that_need_it() {
    let recorder = Recorder::start();
    let (running, key) = serve(
        Setup::new().env("WEATHER_API_KEY", ""),
        &format!(
            "[upstreams.remote]\nurl = '{0}'\ncredential = 'file'\n\
             [upstreams.tools]\nurl = '{0}'\nneeds = {{ get_weather = ['weather'] }}\n\
             [credentials.weather]\nkind = 'static'\nvalue = {{ env = 'WEATHER_API_KEY', optional = true }}\n\
             [credentials.file]\nkind = 'static'\nvalue = {{ file = 'secret', optional = true }}\n",
            recorder.url()
        ),
    );
    assert!(call(&running, &key, "tools", "echo").await.is_result());
    // Witgate itself may still end the session in which it has asked for the era.
    let calls = || recorder.seen().windows(10).filter(|part| **part == *b"tools/call").count();
    let before = calls();
    let denied = call(&running, &key, "tools", "get_weather").await;
    assert_eq!((denied.status, denied.reason()), (200, Some("credential-missing")), "{denied:?}");
    let error = &denied.body["error"];
    let message = "Missing required auth: WEATHER_API_KEY. Set the WEATHER_API_KEY environment variable.";
    assert_eq!(error["message"], message);
    assert_eq!(error["data"]["credential"], "weather");
    assert_eq!(error["data"]["how"], "Set the WEATHER_API_KEY environment variable");
    let denied = call(&running, &key, "remote", "echo").await;
    assert_eq!(denied.reason(), Some("credential-missing"), "{denied:?}");
    assert_eq!(calls(), before, "nothing is sent without it");
    running.await_log("reason=\"credential-missing\"");
    // It is there: no restart.
    running.setup().file("secret", SECRET);
    let answer = crate::caller::until("the new secret", async || {
        Some(call(&running, &key, "remote", "echo").await).filter(crate::caller::Answer::is_result)
    });
    answer.await;
    assert!(contains(&recorder.seen(), format!("Bearer {SECRET}").as_bytes()));
}

/// The token that the authorization server of the test issues in exchange.
const EXCHANGED: &str = "exchanged-0123456789-abcdefghijklmno";

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_caller_is_exchanged_and_never_sent() {
    let (recorder, server, signer) = (Recorder::start(), Issuer::start(), Signer::new("a"));
    server.publish(&[&signer], "max-age=300");
    let token = json!({ "access_token": EXCHANGED, "token_type": "Bearer", "expires_in": 600 });
    server.put("/token", Page::json(&token));
    let setup = Setup::new().env("CLIENT_SECRET", SECRET);
    setup.config(
        "",
        &format!(
            "[upstreams.record]\nurl = '{}'\ncredential = 'exchange'\neras = ['stateful', 'stateless']\n\
             [credentials.exchange]\nkind = 'exchange'\ntoken_url = '{issuer}/token'\nclient_id = 'gate'\n\
             client_secret = {{ env = 'CLIENT_SECRET' }}\naudience = 'record'\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [policies.idp]\nkind = 'jwt'\nconfig = {{ issuer = '{issuer}', algorithms = ['ES256'] }}\n\
             [policies.rules]\nkind = 'rbac'\nconfig = {{ roles = {{ user = {{ allow = ['*'] }} }} }}\n\
             [pipeline]\nauthenticate = ['keys', 'idp']\nauthorize = ['rules']\n",
            recorder.url(),
            issuer = server.url(),
        ),
    );
    let key = setup.key(&["bob", "--allow", "*", "--role", "user"]);
    let running = setup.serve();
    let claims = |subject: &str| json!({ "iss": server.url(), "aud": running.url(), "sub": subject, "roles": ["user"], "exp": u32::MAX });
    let [ada, eve] = ["ada", "eve"].map(|subject| signer.token(&claims(subject)));
    for _ in 0..3 {
        let answer = Caller::with_token(running.url(), &ada).call("echo", json!({})).await;
        assert!(answer.is_result(), "{answer:?}\n{}", running.log());
    }
    assert_eq!(server.count("/token"), 1, "one exchange for all calls with a token");
    assert!(Caller::with_token(running.url(), &eve).call("echo", json!({})).await.is_result());
    assert_eq!(server.count("/token"), 2, "and another one for another caller");
    let seen = recorder.seen();
    assert!(contains(&seen, format!("authorization: Bearer {EXCHANGED}\r\n").as_bytes()));
    for secret in [ada.as_str(), &eve, &key, SECRET] {
        assert!(!contains(&seen, secret.as_bytes()), "the upstream got {secret}");
    }
    // An API key is no token, and nobody else gets it.
    let answer = Caller::with_token(running.url(), &key).call("echo", json!({})).await;
    assert_eq!(answer.reason(), Some("no-caller-token"), "{answer:?}");
    assert_eq!(server.count("/token"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_authorization_server_denies_calls_and_is_not_flooded() {
    let (recorder, server) = (Recorder::start(), Issuer::start());
    server.put("/token", Page::json(&json!({})).status(500));
    let setup = Setup::new().env("CLIENT_SECRET", SECRET);
    let (running, key) = serve(
        setup,
        &format!(
            "[upstreams.record]\nurl = '{}'\ncredential = 'svc'\neras = ['stateful', 'stateless']\npath = '/record/mcp'\n\
             [credentials.svc]\nkind = 'client-credentials'\ntoken_url = '{}/token'\nclient_id = 'gate'\n\
             client_secret = {{ env = 'CLIENT_SECRET' }}\n",
            recorder.url(),
            server.url(),
        ),
    );
    for _ in 0..20 {
        let answer = call(&running, &key, "record", "echo").await;
        assert_eq!((answer.status, answer.reason()), (200, Some("provider-unreachable")), "{answer:?}");
    }
    assert!(server.count("/token") <= 6, "{}", server.count("/token"));
    assert!(recorder.seen().is_empty(), "nothing is sent without it");
    server.put("/token", Page::json(&json!({ "access_token": EXCHANGED, "token_type": "Bearer" })));
    crate::caller::until("the server is back", async || {
        Some(call(&running, &key, "record", "echo").await).filter(crate::caller::Answer::is_result)
    })
    .await;
    assert!(!contains(running.log().as_bytes(), SECRET.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_token_is_for_its_audience_and_verifies_with_the_key_set() {
    let recorder = Recorder::start();
    let setup = Setup::new();
    setup.file("signing.pem", witgate_testing::keys::PRIVATE);
    private(&setup.dir().join("signing.pem"));
    let (running, key) = serve(
        setup,
        &format!(
            "[upstreams.record]\nurl = '{}'\ncredential = 'own'\npath = '/record/mcp'\n\
             [credentials.own]\nkind = 'signed'\naudience = 'https://record.example.com'\n\
             [signing]\nkey = {{ file = 'signing.pem' }}\nissuer = 'https://witgate.example.com'\n",
            recorder.url()
        ),
    );
    assert!(call(&running, &key, "record", "echo").await.is_result());
    let seen = String::from_utf8(recorder.seen()).unwrap();
    let token = seen.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
    let key = jsonwebtoken::DecodingKey::from_ec_pem(witgate_testing::keys::PUBLIC.as_bytes()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["https://record.example.com"]);
    validation.set_issuer(&["https://witgate.example.com"]);
    let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims;
    assert_eq!(claims["sub"], "witgate");
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() == 300);
}

fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
