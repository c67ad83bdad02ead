//! Several callers of one server process: no caller reads, answers or takes what belongs to another.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;
use witgate_tests::gateway::{Running, Setup, workspace};

use crate::caller::{Caller, until};

/// Time for an immediate message to arrive.
const A_MOMENT: Duration = Duration::from_millis(500);

/// Witgate in front of one server that talks to its clients, shared or not, and two callers with keys.
fn serve(shared: bool, pipeline: &str) -> (Running, [Caller; 2]) {
    let setup = Setup::new();
    let script = workspace().join("host/upstream/src/child/tests/server.py");
    setup.config(
        "",
        &format!(
            "[upstreams.talks]\ncommand = [\"python3\", \"-u\", {script:?}]\nshared = {shared}\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.roles]\nkind = \"rbac\"\n[policies.roles.config.roles]\nuser = {{ allow = [\"*\"] }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"roles\"]\n{pipeline}\n"
        ),
    );
    let keys = ["ada", "bob"].map(|name| setup.key(&[name, "--role", "user"]));
    let running = setup.serve();
    let callers = keys.map(|key| Caller::new(running.url(), Some(&key)));
    (running, callers)
}

/// Begins a call that shows a sign of life, and returns its stream.
async fn begin(caller: &Caller, session: &str, tool: &str) -> reqwest::Response {
    let params = json!({ "name": tool, "_meta": { "progressToken": "begun" } });
    let mut response = caller.begin_in(session, "tools/call", params).await.unwrap();
    let first =
        timeout(Duration::from_secs(60), response.chunk()).await.expect("a sign of life").unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("notifications/progress"));
    response
}

/// All messages on a stream within a moment, without comments.
async fn data_lines(response: reqwest::Response) -> String {
    let (mut stream, mut text) = (response.bytes_stream(), String::new());
    while let Ok(Some(Ok(chunk))) = timeout(A_MOMENT, stream.next()).await {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text.lines().filter(|line| line.starts_with("data:")).collect()
}

/// The result of the server's own question.
fn outcome(answer: &crate::caller::Answer) -> Value {
    answer.content()["error"]["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_for_an_abandoned_call_reaches_no_other_caller() {
    let (_running, [ada, bob]) = serve(true, "");
    let [of_ada, of_bob] = [ada.open_session().await, bob.open_session().await];
    let stream = bob.listen(&of_bob).await;
    drop(begin(&ada, &of_ada, "ask-later").await);
    let open = begin(&bob, &of_bob, "begin").await;
    // Now the server asks within the call that ada has left, and reports the answer that it got.
    assert_eq!(outcome(&bob.call_in(&of_bob, "ask-now", json!({})).await), -32601);
    bob.call_in(&of_bob, "log", json!({})).await;
    let messages = [data_lines(open).await, data_lines(stream).await].concat();
    assert_eq!(messages, "", "bob has received neither the question nor a log line");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_recipient_of_a_question_can_answer() {
    let (_running, [ada, bob]) = serve(true, "");
    let [of_ada, of_bob] = [ada.open_session().await, bob.open_session().await];
    let mut call = ada.begin_in(&of_ada, "tools/call", json!({ "name": "ask" })).await.unwrap();
    let question = call.chunk().await.unwrap().unwrap();
    let question = String::from_utf8_lossy(&question).into_owned();
    let data = question.lines().find_map(|line| line.strip_prefix("data:")).unwrap();
    let id = serde_json::from_str::<Value>(data).unwrap()["id"].clone();
    let accept =
        json!({ "jsonrpc": "2.0", "id": id, "result": { "action": "accept", "content": { "by": "bob" } } });
    for session in [&of_bob, &of_ada] {
        let answer = bob.send_in(session, &accept).await;
        assert!(answer.status().is_client_error(), "{answer:?}");
    }
    assert_eq!(ada.send_in(&of_ada, &accept).await.status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_calls_of_one_caller_leave_room_for_others() {
    let (_running, [ada, bob]) = serve(true, "");
    let [of_ada, of_bob] = [ada.open_session().await, bob.open_session().await];
    let calls = (0..200).map(|_| {
        let (ada, session) = (ada.clone(), of_ada.clone());
        tokio::spawn(async move { ada.call_in(&session, "never", json!({})).await })
    });
    let calls: Vec<_> = calls.collect();
    let served = timeout(Duration::from_secs(60), bob.call_in(&of_bob, "echo", json!({}))).await.unwrap();
    assert!(served.is_result(), "{served:?}");
    until("all that are refused", async || {
        (calls.iter().filter(|call| call.is_finished()).count() >= 200 - 128).then_some(())
    })
    .await;
    tokio::time::sleep(A_MOMENT).await;
    let mut refused = 0;
    for call in calls {
        if call.is_finished() {
            let answer = call.await.unwrap();
            assert_eq!((answer.status, answer.reason()), (429, Some("rate-limited")), "{answer:?}");
            assert!(answer.retry_after.is_some() && answer.body["error"]["data"]["full"] == "open requests");
            refused += 1;
        } else {
            call.abort();
        }
    }
    assert_eq!(refused, 200 - 128);
    assert!(bob.call_in(&of_bob, "echo", json!({})).await.is_result());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_address_leave_room_for_other_callers_without_a_name() {
    let (running, [ada, _]) = serve(false, "anonymous = { roles = [\"user\"] }");
    let [eve, bob] = ["127.0.0.1", "127.0.0.2"].map(|from| Caller::nameless(running.url(), from));
    let mut streams = Vec::new();
    for _ in 0..16 {
        // A listening caller is not idle, even if the others take long.
        streams.push(eve.listen(&eve.open_session().await).await);
    }
    let refused = eve.try_initialize().await.unwrap();
    assert_eq!((refused.status, refused.reason()), (429, Some("rate-limited")), "{refused:?}");
    assert_eq!(refused.body["error"]["data"]["full"], "sessions");
    bob.open_session().await;
    ada.open_session().await;
}
