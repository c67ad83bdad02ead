//! Child processes that use credentials which change while they run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use witgate_tests::gateway::{Setup, workspace};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::contains;

use super::provider::Provider;
use super::{SECRET, call, serve};
use crate::caller::until;

/// An upstream with these settings.
fn child(settings: &str) -> String {
    let script = workspace().join("tests/tests/it/credentials/api_server.py");
    format!("[upstreams.child]\ncommand = ['python3', {script:?}]\npath = '/child/mcp'\n{settings}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_uses_a_credential_that_it_never_has() {
    let api = Recorder::start();
    let to = api.url().replace("/mcp", "/v1");
    let settings = format!("apis = {{ WEATHER_API = {{ to = '{to}', credential = 'weather' }} }}");
    let credential = "[credentials.weather]\nkind = 'static'\nheader = 'X-API-Key'\n\
                      value = { file = 'secret', optional = true }\n";
    let (mut running, key) = serve(Setup::new(), &(child(&settings) + credential));
    let missing = call(&running, &key, "child", "get_weather").await.content();
    assert_eq!(missing["status"], 502, "{missing}");
    assert_eq!(missing["body"]["error"], "credential-missing");
    assert!(api.seen().is_empty());
    running.setup().file("secret", SECRET);
    until("the secret is used without a restart", async || {
        let answer = call(&running, &key, "child", "get_weather").await.content();
        (answer["status"] == 202).then_some(())
    })
    .await;
    let seen = String::from_utf8(api.seen()).unwrap();
    assert!(seen.contains("GET /v1/forecast?city=Paris HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("x-api-key: {SECRET}\r\n")), "{seen}");
    let environ = call(&running, &key, "child", "environ").await.content();
    assert!(!environ.to_string().contains(SECRET), "{environ}");
    let address = environ["WEATHER_API"].as_str().unwrap().to_owned();
    let (base, random) = address.rsplit_once('/').unwrap();
    assert!(base.starts_with("http://127.0.0.1:") && random.len() == 43, "{address}");
    let other = reqwest::get(format!("{base}/{}/forecast", "x".repeat(43))).await.unwrap();
    assert_eq!(other.status(), 404);
    let metrics =
        reqwest::get(format!("{}/metrics", running.admin_url())).await.unwrap().text().await.unwrap();
    let counted = r#"witgate_api_requests_total{upstream="child",api="WEATHER_API",outcome="2xx"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    let unknown = r#"witgate_api_requests_total{upstream="child",api="",outcome="unknown-path"} 1"#;
    assert!(metrics.contains(unknown), "{metrics}");
    let shown = running.setup().run(&["config", "show"]);
    let tested = running.setup().run(&["credential", "test", "weather", "--send"]);
    let report = super::provider::said(&tested);
    assert!(tested.status.success() && report.contains(&format!("{to} answers 202 Accepted")), "{report}");
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    let log = running.log();
    assert!(log.contains("a process has called an API"), "{log}");
    for secret in [SECRET, random] {
        assert!(!log.contains(secret) && !contains(&shown.stdout, secret.as_bytes()), "{secret}");
    }
    assert!(reqwest::get(address).await.is_err(), "the port is closed");
}

/// The directories with token files.
fn folders(setup: &Setup) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(setup.dir().join("witgate.state/witgate-tokens")).unwrap();
    all.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_follows_logins_and_renewals_and_goes_with_the_gateway() {
    let (provider, _answers) = Provider::start(3600);
    let settings = "token_files = { HUB_TOKEN_FILE = 'hub' }\nneeds = { read_token = ['hub'] }";
    let (mut running, key) = serve(Setup::new(), &(child(settings) + &provider.credential()));
    let denied = call(&running, &key, "child", "read_token").await;
    assert_eq!(denied.reason(), Some("credential-missing"), "{denied:?}");
    // The process is older than the login.
    let environ = call(&running, &key, "child", "environ").await.content();
    let path = environ["HUB_TOKEN_FILE"].as_str().unwrap().to_owned();
    assert!(!Path::new(&path).exists());
    provider.log_in(running.setup());
    let token = |answer: &Value| answer["token"].as_str().map(str::to_owned);
    let first = until("the token", async || {
        let answer = call(&running, &key, "child", "read_token").await;
        answer.is_result().then(|| answer.content())
    })
    .await;
    assert_eq!(token(&first).as_deref(), Some("access-token-2"), "a call with `needs` always finds it");
    assert_eq!(first["mode"], "0o600");
    let refreshed = running.setup().run(&["credential", "refresh", "hub"]);
    assert!(refreshed.status.success(), "{}", super::provider::said(&refreshed));
    until("the renewed token", async || {
        let answer = call(&running, &key, "child", "read_token").await.content();
        (token(&answer).as_deref() == Some("access-token-3")).then_some(())
    })
    .await;
    let [folder] = folders(running.setup()).try_into().unwrap();
    assert_eq!((mode(&folder), mode(folder.parent().unwrap())), (0o700, 0o700));
    running.kill();
    assert!(Path::new(&path).exists(), "it could not clean up");
    running.start_again();
    assert!(!folder.exists(), "the next one does");
    let answer = call(&running, &key, "child", "read_token").await.content();
    assert_eq!(token(&answer).as_deref(), Some("access-token-3"));
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    assert!(folders(running.setup()).is_empty());
    assert!(!running.log().contains("access-token"), "{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_one_renewal() {
    let (provider, _answers) = Provider::start(3600);
    let state = tempfile::tempdir().unwrap();
    let recorder = Recorder::start();
    let config = format!(
        "[upstreams.remote]\nurl = '{}'\ncredential = 'hub'\neras = ['stateful', 'stateless']\npath = '/remote/mcp'\n{}",
        recorder.url(),
        provider.credential()
    );
    let gateways = [0, 1].map(|_| {
        let setup = Setup::new();
        let shared = format!("state = '{}'", state.path().display());
        setup.config(&shared, &format!("{config}{}", super::POLICIES));
        setup
    });
    let gateways = gateways.map(|setup| {
        let key = setup.key(&["ada", "--allow", "*"]);
        (setup, key)
    });
    provider.log_in(&gateways[0].0);
    let running = gateways.map(|(setup, key)| (setup.serve(), key));
    let calls = (0..100).map(|number| {
        let (running, key) = &running[number % 2];
        call(running, key, "remote", "echo")
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(crate::caller::Answer::is_result), "{:?}", answers.first());
    assert_eq!(provider.refreshed(), 1);
    let sent = String::from_utf8(recorder.seen()).unwrap();
    assert_eq!(sent.matches("authorization: Bearer access-token-2\r\n").count(), 100);
    for (running, _) in &running {
        assert!(!running.log().contains("refresh-token"));
        assert_eq!(running.log().matches("access-token").count(), 0);
    }
}
