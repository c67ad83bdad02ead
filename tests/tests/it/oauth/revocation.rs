//! Tokens that are revoked before they expire: Witgate drops cached answers, and ends open streams with a reason,
//! within seconds.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::gateway::program;
use witgate_tests::oauth::{Make, Plan};

use super::{Making, READ, Testbed, hello};
use crate::caller::{Answer, Caller, Upstream, metric};

/// Time limit for the end of a stream: a second or ten, and a reserve for a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Has the running Witgate forget a token, with the real command: `forget`, or `revoke`, which can do no more about an
/// opaque one.
fn forget(testbed: &Testbed, verb: &str, token: &str) -> Value {
    use std::io::Write;
    let mut command = testbed.witgate.setup().command(&["token", verb, "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_inactive(what: &str, answer: &Answer) {
    assert_eq!((answer.status, answer.reason()), (401, Some("inactive")), "{what}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_token_is_introspected_again() {
    for make in Make::ALL {
        let testbed = Testbed::of(make);
        for upstream in ["opaque", "opaque-guest"] {
            let what = format!("{make:?}, {upstream}");
            let resource = testbed.resource(upstream);
            let mut tokens = Vec::new();
            for _ in 0..3 {
                tokens.push(testbed.server.token(&resource, READ).await.unwrap());
            }
            let callers: Vec<_> = tokens.iter().map(|token| Caller::with_token(&resource, token)).collect();
            for caller in &callers {
                assert!(caller.call("echo", hello()).await.is_result(), "{what}");
            }
            for token in &tokens[..2] {
                testbed.server.revoke(token).await.unwrap();
                assert!(!testbed.server.is_active(token).await.unwrap(), "{what}");
            }
            // The settings cache answers for minutes.
            assert!(callers[0].call("echo", hello()).await.is_result(), "{what}");
            assert_eq!(forget(&testbed, "revoke", &tokens[0])["forgotten_by"], json!([upstream]), "{what}");
            assert_inactive(&what, &callers[0].call("echo", hello()).await);
            // The form that an authorization server would send.
            let form = format!("token_type_hint=access_token&token={}", tokens[1]);
            let revoke = reqwest::Client::new().post(format!("{}/revoke", testbed.witgate.admin_url()));
            let form = revoke.header("Content-Type", "application/x-www-form-urlencoded").body(form);
            assert_eq!(form.send().await.unwrap().status(), 200, "{what}");
            assert_inactive(&what, &callers[1].call("echo", hello()).await);
            // A token that is still valid is introspected again, and its streams go on.
            forget(&testbed, "forget", &tokens[2]);
            assert!(callers[2].call("echo", hello()).await.is_result(), "{what}");
            let log = testbed.witgate.log();
            assert!(tokens.iter().all(|token| !log.contains(token.as_str())), "{what}: a token on the log");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_endpoint_accepts_exactly_one_token() {
    let testbed = Testbed::of(Make::OidcProvider);
    let url = format!("{}/revoke", testbed.witgate.admin_url());
    let http = reqwest::Client::new();
    let post = async |body: String| http.post(&url).body(body).send().await.unwrap().status().as_u16();
    assert_eq!(post("token=".to_owned()).await, 400);
    assert_eq!(post("tokens=x".to_owned()).await, 400);
    assert_eq!(post(String::new()).await, 400);
    assert_eq!(post(format!("token={}", "x".repeat(100_000))).await, 413);
    assert_eq!(post("token=nobody-has-ever-seen-this".to_owned()).await, 200);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 405);
    // A browser page on this machine.
    let form = http.post(&url).header("Origin", "https://evil.example").body("token=x");
    assert_eq!(form.send().await.unwrap().status(), 403);
}

/// The open streams and calls when a token ends.
struct Open {
    /// GET, 2025-11-25.
    stream: reqwest::Response,
    /// `subscriptions/listen`, 2026-07-28.
    listening: reqwest::Response,
    /// A tool that takes a minute.
    running: tokio::task::JoinHandle<Answer>,
}

async fn open(caller: &Caller) -> Open {
    let session = caller.open_session().await;
    let stream = caller.listen(&session).await;
    let params = json!({ "notifications": { "toolsListChanged": true } });
    let listening = caller.begin("subscriptions/listen", None, params).await.unwrap();
    assert_eq!(listening.status(), 200);
    let running = caller.clone();
    let running =
        tokio::spawn(
            async move { running.call("slow_compute", json!({ "seconds": 120, "label": "it" })).await },
        );
    // It has to be under way when the token ends.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!running.is_finished(), "{:?}", running.await);
    Open { stream, listening, running }
}

/// The rest of a stream, which must end by itself.
async fn rest(response: reqwest::Response) -> String {
    tokio::time::timeout(SOON, response.text()).await.expect("the stream ends").unwrap_or_default()
}

/// Each stream ended, and each waiting caller got the reason.
async fn assert_ended(what: &str, testbed: &Testbed, open: Open, reason: &str) {
    let Open { stream, listening, running } = open;
    rest(stream).await;
    let messages = rest(listening).await;
    let last = messages.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or_default();
    let last: Value =
        serde_json::from_str(last).unwrap_or_else(|_| panic!("{what}: no last message in {messages}"));
    assert_eq!(
        (&last["id"], &last["error"]["data"]["reason"]),
        (&json!(7), &json!(reason)),
        "{what}: {messages}"
    );
    let answer = tokio::time::timeout(SOON, running).await.expect("the call ends").unwrap();
    assert_eq!(answer.reason(), Some(reason), "{what}: {answer:?}");
    assert!(metric(&testbed.witgate.admin_url(), "witgate_messages_total", "ended").await >= 2.0, "{what}");
    let log = testbed.witgate.log();
    let ends = log.lines().filter(|line| line.contains("outcome=\"ended\"")).collect::<Vec<_>>();
    assert!(ends.iter().any(|line| line.contains(&format!("reason=\"{reason}\""))), "{what}: {ends:?}");
}

/// The fixture behind all upstreams: as a child, and over HTTP.
fn behind() -> [(&'static str, String, Option<Upstream>); 2] {
    let child = format!("command = [{:?}, \"--stdio\"]", program("fixture-upstream"));
    let served = Upstream::with_sessions();
    [("a child", child, None), ("over HTTP", format!("url = {:?}", served.url), Some(served))]
}

#[tokio::test(flavor = "multi_thread")]
async fn running_calls_and_streams_end_when_their_token_is_revoked() {
    for (how, upstream, _served) in behind() {
        let testbed = Making { upstream, ..Making::of(Make::OidcProvider) }.start();
        for guarded in ["opaque", "opaque-guest"] {
            let resource = testbed.resource(guarded);
            let token = testbed.server.token(&resource, READ).await.unwrap();
            let others = testbed.server.token(&resource, READ).await.unwrap();
            let open_by_others = open(&Caller::with_token(&resource, &others)).await;
            let open = open(&Caller::with_token(&resource, &token)).await;
            testbed.server.revoke(&token).await.unwrap();
            forget(&testbed, "forget", &token);
            assert_ended(&format!("{how}, {guarded}"), &testbed, open, "inactive").await;
            // Another caller's stream goes on, though its token was judged again.
            assert!(!open_by_others.running.is_finished(), "{how}, {guarded}");
            open_by_others.running.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_calls_and_streams_end_when_the_server_reports_a_revocation() {
    for (how, upstream, _served) in behind() {
        // Nobody notifies Witgate: it finds out by asking again.
        let making = Making { upstream, ..Making::of(Make::Authlib) }.introspecting("cache_ttl_s = 1");
        let testbed = making.start();
        let resource = testbed.resource("opaque-guest");
        let token = testbed.server.token(&resource, READ).await.unwrap();
        let open = open(&Caller::with_token(&resource, &token)).await;
        testbed.server.revoke(&token).await.unwrap();
        assert_ended(how, &testbed, open, "inactive").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_calls_and_streams_end_when_their_token_expires() {
    for (how, upstream, _served) in behind() {
        let making = Making { upstream, plan: Plan::default().ttl_s(10), ..Making::of(Make::Authlib) };
        let testbed = making.start();
        let ends = ["opaque", "signed", "signed-guest"].map(async |guarded| {
            let open = open(&testbed.caller(guarded, READ).await).await;
            assert_ended(&format!("{how}, {guarded}"), &testbed, open, "expired").await;
        });
        futures_util::future::join_all(ends).await;
    }
}
