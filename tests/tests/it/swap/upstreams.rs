//! The changeable settings of an upstream (headers, environment, scopes): they follow the configuration and its secret
//! files.

use std::fs;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some, workspace};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::{Request, contains};

use super::rename_over;
use crate::caller::{Caller, until};

const POLICIES: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                        [policies.rules]\nkind = 'rbac'\nconfig = { roles = { user = { allow = ['*'] } } }\n\
                        [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n";

fn serve(server: &str, upstream: &str) -> (Running, Caller) {
    let setup = Setup::new();
    setup.file("token", "first-credential");
    setup.config(server, &format!("{upstream}\n{POLICIES}"));
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    (running, caller)
}

/// Changes the configuration that runs.
fn edit(running: &Running, from: &str, to: &str) {
    let path = running.setup().dir().join("witgate.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    rename_over(&path, text.replace(from, to).as_bytes());
}

fn over_http(recorder: &Recorder) -> String {
    format!(
        "[upstreams.record]\nurl = '{}'\nheaders = {{ X-Flavour = {{ file = 'token' }} }}",
        recorder.url()
    )
}

/// Calls until the upstream has received `credential`.
async fn await_credential(recorder: &Recorder, caller: &Caller, credential: &str) {
    until(&format!("{credential} to be sent"), async || {
        let answer = caller.call("echo", json!({})).await;
        assert!(answer.is_result(), "{answer:?}");
        contains(&recorder.seen(), credential.as_bytes()).then_some(())
    })
    .await;
}

fn times(recorder: &Recorder, credential: &str) -> usize {
    String::from_utf8_lossy(&recorder.seen()).matches(credential).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_credential_replaces_the_former_one_at_once() {
    let recorder = Recorder::start();
    let (running, caller) = serve("", &over_http(&recorder));
    await_credential(&recorder, &caller, "first-credential").await;
    rename_over(&running.setup().dir().join("token"), b"second-credential");
    await_credential(&recorder, &caller, "second-credential").await;
    let before = times(&recorder, "first-credential");
    edit(&running, "{ file = 'token' }", "'third-plain-value'");
    await_credential(&recorder, &caller, "third-plain-value").await;
    assert_eq!(times(&recorder, "first-credential"), before);
    assert!(!running.log().contains("second-credential"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_rotated_while_the_configuration_is_broken() {
    let recorder = Recorder::start();
    let (running, caller) = serve("", &over_http(&recorder));
    await_credential(&recorder, &caller, "first-credential").await;
    edit(&running, "roles = { user = { allow = ['*'] } }", "roles = 7");
    running.await_log("the change was not applied");
    rename_over(&running.setup().dir().join("token"), b"second-credential");
    await_credential(&recorder, &caller, "second-credential").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_for_another_url_is_not_sent_to_the_former_url() {
    let (recorder, other) = (Recorder::start(), Recorder::start());
    let (running, caller) = serve("", &over_http(&recorder));
    await_credential(&recorder, &caller, "first-credential").await;
    let to = format!("url = '{}'\nheaders = {{ X-Flavour = 'for-the-other' }}", other.url());
    edit(&running, &over_http(&recorder).replace("[upstreams.record]\n", ""), &to);
    await_credential(&other, &caller, "for-the-other").await;
    assert!(!contains(&recorder.seen(), b"for-the-other"));
    assert!(!contains(&other.seen(), b"first-credential"));
}

fn child(shared: bool) -> String {
    let script = workspace().join("tests/tests/it/swap/environment_server.py");
    format!(
        "[upstreams.env]\ncommand = ['python3', {script:?}]\nshared = {shared}\nenv = {{ TOKEN = {{ file = 'token' }} }}"
    )
}

fn content(answer: &crate::caller::Answer) -> Value {
    answer.content()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_credential_reaches_new_processes_and_ends_sessions_of_former_ones() {
    for shared in [false, true] {
        let (running, caller) = serve("", &child(shared));
        let session = caller.open_session().await;
        assert_eq!(content(&caller.call_in(&session, "tell", json!({})).await), "first-credential");
        assert_eq!(content(&caller.call("tell", json!({})).await), "first-credential");
        let mark = running.setup().dir().join("mark");
        let (other, named) = (caller.clone(), session.clone());
        let arguments = json!({ "seconds": 3, "mark": mark });
        let slow = tokio::spawn(async move { other.call_in(&named, "tell", arguments).await });
        until("the slow call to begin", async || mark.exists().then_some(())).await;
        rename_over(&running.setup().dir().join("token"), b"second-credential");
        running.await_log("the upstream's new headers or environment are in use");
        let over = caller.call_in(&session, "tell", json!({})).await;
        assert_eq!(over.status, 404, "{over:?}");
        let session = caller.open_session().await;
        assert_eq!(content(&caller.call_in(&session, "tell", json!({})).await), "second-credential");
        assert_eq!(content(&caller.call("tell", json!({})).await), "second-credential");
        assert_eq!(content(&slow.await.unwrap()), "first-credential", "a call under way goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scopes_of_a_first_login_follow_the_live_configuration() {
    let server =
        "resource = 'https://mcp.example.com/mcp'\nauthorization_servers = ['https://idp.example.com']";
    let (running, _) = serve(server, "[upstreams.own]\nown_tools = true\nscopes = ['old:scope']");
    let document = async || {
        let url = format!("{}/.well-known/oauth-protected-resource", running.url().trim_end_matches("/mcp"));
        reqwest::get(url).await.unwrap().json::<Value>().await.unwrap()["scopes_supported"].clone()
    };
    assert_eq!(document().await, json!(["old:scope"]));
    edit(&running, "old:scope", "new:scope");
    until("the new scope", async || (document().await == json!(["new:scope"])).then_some(())).await;
    let call = Request::stateless(&running.address(), "/mcp", "tools/list", json!({}));
    let challenge = call.send().header("www-authenticate").unwrap().to_owned();
    assert!(challenge.contains("new:scope"), "{challenge}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_signal_causes_a_check_of_the_files_and_no_stop() {
    let (running, caller) = serve("", "[upstreams.own]\nown_tools = true");
    let before = running.plugins()["generation"].as_u64().unwrap();
    running.signal("HUP");
    await_some("another generation", || {
        (running.plugins()["generation"].as_u64().unwrap() > before).then_some(())
    });
    assert!(caller.call("echo", json!({ "text": "still here" })).await.is_result());
}
