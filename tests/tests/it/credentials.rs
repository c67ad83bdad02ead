//! The credentials with which Witgate calls upstreams.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some};
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
    let before = recorder.seen().len();
    let denied = call(&running, &key, "tools", "get_weather").await;
    assert_eq!((denied.status, denied.reason()), (200, Some("credential-missing")), "{denied:?}");
    let error = &denied.body["error"];
    let message = "Missing required auth: WEATHER_API_KEY. Set the WEATHER_API_KEY environment variable.";
    assert_eq!(error["message"], message);
    assert_eq!(error["data"]["credential"], "weather");
    assert_eq!(error["data"]["how"], "Set the WEATHER_API_KEY environment variable");
    let denied = call(&running, &key, "remote", "echo").await;
    assert_eq!(denied.reason(), Some("credential-missing"), "{denied:?}");
    assert_eq!(recorder.seen().len(), before, "nothing is sent without it");
    running.await_log("reason=\"credential-missing\"");
    // It is there: no restart.
    running.setup().file("secret", SECRET);
    let answer = crate::caller::until("the new secret", async || {
        Some(call(&running, &key, "remote", "echo").await).filter(crate::caller::Answer::is_result)
    });
    answer.await;
    assert!(contains(&recorder.seen(), format!("Bearer {SECRET}").as_bytes()));
}
