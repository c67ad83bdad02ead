//! Secrets from programs, from credentials of systemd, from the encrypted store and from a keyring: a change is in force
//! without a restart, and a secret whose lifetime is over is not used.

#[cfg(target_os = "linux")]
mod keyring;
mod store;
mod vault;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, workspace};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::contains;

use crate::caller::{Answer, Caller, until};
use crate::swap::rename_over;

const POLICIES: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                        [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

/// A program that prints the file `source`.
fn printer(setup: &Setup, content: &str) {
    setup.file("source", content);
    let program = setup.file("print", "#!/bin/sh\nexec cat source\n");
    fs::set_permissions(program, fs::Permissions::from_mode(0o700)).unwrap();
}

fn serve(setup: Setup, upstream: &str) -> (Running, Caller) {
    setup.config("", &format!("{upstream}\n{POLICIES}"));
    let key = setup.key(&["caller", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    (running, caller)
}

fn over_http(recorder: &Recorder, source: &str) -> String {
    format!("[upstreams.record]\nurl = '{}'\nheaders = {{ X-Flavour = {source} }}", recorder.url())
}

fn child(source: &str) -> String {
    let script = workspace().join("tests/tests/it/swap/environment_server.py");
    format!("[upstreams.env]\ncommand = ['python3', {script:?}]\nenv = {{ TOKEN = {source} }}")
}

/// Calls until the upstream has received `credential`.
async fn await_credential(recorder: &Recorder, caller: &Caller, credential: &str) {
    until(&format!("{credential} to be sent"), async || {
        let _ = caller.call("echo", json!({})).await;
        contains(&recorder.seen(), credential.as_bytes()).then_some(())
    })
    .await;
}

async fn await_reason(caller: &Caller, reason: &str) -> Answer {
    until(&format!("the reason {reason}"), async || {
        let answer = caller.call("tell", json!({})).await;
        (answer.reason() == Some(reason)).then_some(answer)
    })
    .await
}

async fn await_content(caller: &Caller, content: &str) {
    until(&format!("the content {content}"), async || {
        let answer = caller.call("tell", json!({})).await;
        (answer.is_result() && answer.content() == content).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_a_program_is_renewed_and_not_sent_after_its_lifetime() {
    let (recorder, setup) = (Recorder::start(), Setup::new());
    printer(&setup, "first-credential");
    let (running, caller) = serve(setup, &over_http(&recorder, "{ exec = ['./print'], ttl_s = 5 }"));
    await_credential(&recorder, &caller, "first-credential").await;
    let source = running.setup().dir().join("source");
    rename_over(&source, b"second-credential");
    await_credential(&recorder, &caller, "second-credential").await;
    fs::remove_file(&source).unwrap();
    await_reason(&caller, "upstream-secret-expired").await;
    let before = recorder.seen().len();
    assert_eq!(caller.call("tell", json!({})).await.reason(), Some("upstream-secret-expired"));
    assert_eq!(recorder.seen().len(), before, "nothing is sent");
    let log = running.await_log("secret-expired");
    assert!(log.contains("is not renewed") && !log.contains("-credential"), "{log}");
    rename_over(&source, b"third-credential");
    await_credential(&recorder, &caller, "third-credential").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_not_started_with_a_secret_whose_lifetime_is_over() {
    let setup = Setup::new();
    printer(&setup, "first-credential");
    let (running, caller) = serve(setup, &child("{ exec = ['./print'], ttl_s = 5 }"));
    await_content(&caller, "first-credential").await;
    let source = running.setup().dir().join("source");
    rename_over(&source, b"second-credential");
    await_content(&caller, "second-credential").await;
    fs::remove_file(&source).unwrap();
    running.await_log("secret-expired");
    let session = caller.try_initialize().await.unwrap();
    assert_eq!(session.reason(), Some("upstream-secret-expired"), "{session:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_denies_when_the_lifetime_of_its_secret_is_over() {
    let setup = Setup::new();
    let secret = |first: &str| format!("{first}-0123456789-abcdefghijklmnopqrstuv");
    printer(&setup, &secret("first"));
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n[keys.session]\nsecret = { exec = ['./print'], ttl_s = 5 }\n\
         [policies.tokens]\nkind = 'jwt'\nconfig = { keys = ['session'], algorithms = ['HS256'], audience = 'a', roles_claim = 'roles' }\n\
         [policies.rules]\nkind = 'rbac'\nconfig = { roles = { user = { allow = ['*'] } } }\n\
         [pipeline]\nauthenticate = ['tokens']\nauthorize = ['rules']\n",
    );
    let running = setup.serve();
    let token = |secret: &str| {
        let claims = json!({ "sub": "s", "aud": "a", "exp": 4_102_444_800_u64, "roles": ["user"] });
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes()).unwrap();
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    };
    let caller = Caller::with_token(running.url(), &token(&secret("first")));
    let echo = json!({ "text": "x" });
    assert!(caller.call("echo", echo.clone()).await.is_result());
    let source = running.setup().dir().join("source");
    rename_over(&source, secret("second").as_bytes());
    let renewed = caller.showing_token(token(&secret("second")));
    until("the second key", async || renewed.call("echo", echo.clone()).await.is_result().then_some(()))
        .await;
    assert!(!caller.call("echo", echo.clone()).await.is_result(), "the first key is not in use any more");
    fs::remove_file(&source).unwrap();
    await_reason(&renewed, "config").await;
    rename_over(&source, secret("second").as_bytes());
    until("the key again", async || renewed.call("echo", echo.clone()).await.is_result().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_credential_of_systemd_and_an_optional_one_reach_the_upstream() {
    let (recorder, setup) = (Recorder::start(), Setup::new());
    setup.file("credentials/token", "first-credential\n");
    let directory = setup.dir().join("credentials").display().to_string();
    let setup = setup.env("CREDENTIALS_DIRECTORY", &directory);
    let headers = "X-Flavour = { credential = 'token', prefix = 'Bearer ' }, X-Other = { file = 'other', optional = true }";
    let upstream = format!("[upstreams.record]\nurl = '{}'\nheaders = {{ {headers} }}", recorder.url());
    let (running, caller) = serve(setup, &upstream);
    await_credential(&recorder, &caller, "Bearer first-credential").await;
    assert!(!contains(&recorder.seen().to_ascii_lowercase(), b"x-other"));
    rename_over(&running.setup().dir().join("credentials/token"), b"second-credential");
    await_credential(&recorder, &caller, "Bearer second-credential").await;
    running.setup().file("other", "other-credential");
    await_credential(&recorder, &caller, "other-credential").await;
    let shown: Value = serde_json::from_slice(&running.setup().run(&["config", "show"]).stdout).unwrap();
    assert!(!shown.to_string().contains("-credential"), "{shown}");
}
