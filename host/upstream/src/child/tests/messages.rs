//! The messages that pass through: ids, tokens, order, requests of the child's, sessions.

use super::*;

#[tokio::test]
async fn ids_and_tokens_are_restored_on_a_shared_child() {
    let small = small("legacy", |settings| settings.shared = true);
    let (a, b) = (small.session("a").await, small.session("b").await);
    let params = json!({"arguments": {"x": 1}, "_meta": {"progressToken": "tok", "y": 2}, "unknown": [1]});
    let (one, other) =
        tokio::join!(a.call(json!(7), "echo", params.clone()), b.call(json!("7"), "echo", params));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((message(&one)["id"].clone(), message(&other)["id"].clone()), (json!(7), json!("7")));
    let (seen, seen_other) = (said(&one), said(&other));
    assert_eq!(seen["id"], seen["params"]["_meta"]["progressToken"]);
    assert_ne!(seen["id"], seen_other["id"]);
    assert_eq!(seen["params"]["unknown"], json!([1]));
    assert_eq!(seen["params"]["_meta"]["y"], json!(2));
    assert_eq!(small.upstream.inner.rooms_in_use(), 1);
}

#[tokio::test]
async fn progress_arrives_complete_in_order_and_before_the_result() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let params = json!({"arguments": {"steps": 500}, "_meta": {"progressToken": "t"}});
    let mut events = stream(client.call(json!(1), "progress", params).await.unwrap());
    for step in 0..500 {
        let note = next(&mut events).await;
        assert_eq!(note["params"], json!({"progressToken": "t", "progress": step}));
    }
    assert_eq!(next(&mut events).await["id"], 1);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_request_of_the_child_is_answered_only_by_its_recipient() {
    let small = small("legacy", |settings| settings.shared = true);
    let (mut a, mut b) = (small.session("a").await, small.session("b").await);
    let mut events = stream(a.call(json!(1), "ask", json!({})).await.unwrap());
    let asked = next(&mut events).await;
    assert_eq!(asked["method"], "elicitation/create");
    assert_ne!(asked["id"], "srv-1");
    let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}});
    let mut forged = reply.clone();
    forged["id"] = (asked["id"].as_u64().unwrap() + 1).into();
    assert!(
        matches!(b.say(reply.clone()).await, Err(Rejection::Malformed(MessageFault::InvalidRequest(_)))),
        "another session"
    );
    assert!(
        matches!(a.say(forged).await, Err(Rejection::Malformed(MessageFault::InvalidRequest(_)))),
        "another id"
    );
    assert!(matches!(a.say(reply.clone()).await, Ok(AnswerBody::Accepted)));
    let last = next(&mut events).await;
    assert!(last["result"]["content"][0]["text"].as_str().unwrap().contains("\"id\": \"srv-1\""), "{last}");
    assert!(
        matches!(a.say(reply).await, Err(Rejection::Malformed(MessageFault::InvalidRequest(_)))),
        "twice"
    );
}

#[tokio::test]
async fn a_shared_child_gets_progress_only_from_the_recipient_of_its_request() {
    let small = small("legacy", |settings| settings.shared = true);
    let (mut a, mut b) = (small.session("a").await, small.session("b").await);
    let progress = |message: &str| {
        let params = json!({"progressToken": "t", "progress": 1, "message": message});
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    };
    a.say(progress("before it is asked")).await.unwrap();
    let mut events = stream(a.call(json!(1), "ask", json!({})).await.unwrap());
    let asked = next(&mut events).await;
    b.say(progress("by another")).await.unwrap();
    a.say(progress("by whom it has asked")).await.unwrap();
    let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}});
    a.say(reply).await.unwrap();
    next(&mut events).await;
    a.say(progress("after the answer")).await.unwrap();
    let heard = said(&a.call(json!(2), "progressed", json!({})).await.unwrap());
    assert_eq!(heard, json!(["by whom it has asked"]));
}

#[tokio::test]
async fn a_request_without_a_clear_recipient_is_sent_to_no_caller() {
    let small = small("legacy", |settings| settings.shared = true);
    let (a, b) = (small.session("a").await, small.session("b").await);
    let waiting = tokio::select! {
        biased;
        _ = b.call(json!(1), "never", json!({})) => panic!("it never answers"),
        answer = async {
            // The request of `b` is with the child before that of `a`.
            tokio::task::yield_now().await;
            a.call(json!(1), "ask", json!({})).await
        } => answer.unwrap(),
    };
    let said = said(&waiting);
    assert_eq!(said["error"]["code"], -32601, "{said}");
}

#[tokio::test]
async fn a_client_without_the_capability_gets_no_request() {
    let small = small("legacy", |_| {});
    let mut client = small.client("a");
    client.say(initialize(json!({}))).await.unwrap();
    let answer = client.call(json!(1), "ask", json!({})).await.unwrap();
    assert_eq!(said(&answer)["error"]["code"], -32601);
}

#[tokio::test]
async fn a_cancellation_reaches_the_child_under_its_id_and_only_from_the_owner() {
    let small = small("legacy", |settings| settings.shared = true);
    let (mut a, mut b) = (small.session("a").await, small.session("b").await);
    let mut events = stream(a.call(json!(5), "begin", json!({"_meta": {"progressToken": 1}})).await.unwrap());
    next(&mut events).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}});
    b.say(cancel.clone()).await.unwrap();
    assert_eq!(said(&b.call(json!(6), "cancelled", json!({})).await.unwrap()), json!([]));
    a.say(cancel).await.unwrap();
    assert!(events.next().await.is_none(), "nothing is said to a cancelled request");
    let cancelled = said(&a.call(json!(6), "cancelled", json!({})).await.unwrap());
    assert_eq!(cancelled.as_array().unwrap().len(), 1);
    assert_ne!(cancelled[0], 5);
}

#[tokio::test]
async fn a_disconnect_cancels_a_call_in_2026_and_not_in_2025() {
    let params = json!({"name": "begin", "_meta": {"progressToken": 1}});
    let small_new = small("modern", |_| {});
    let mut client = small_new.client("a");
    let body = modern(json!(1), "tools/call", params.clone());
    drop(stream(client.say(body).await.unwrap()));
    let ask = modern(json!(2), "tools/call", json!({"name": "cancelled"}));
    assert_eq!(said(&client.say(ask).await.unwrap()).as_array().unwrap().len(), 1);

    let small_old = small("legacy", |_| {});
    let client = small_old.session("a").await;
    drop(stream(client.call(json!(1), "begin", params).await.unwrap()));
    assert_eq!(said(&client.call(json!(2), "cancelled", json!({})).await.unwrap()), json!([]));
}

#[tokio::test]
async fn a_session_belongs_to_its_principal() {
    let small = small("legacy", |_| {});
    let a = small.session("a").await;
    let thief = small.client("b");
    let body = tool_call(json!(1), "echo", json!({})).to_string();
    for session in [a.session.as_deref().unwrap(), "no-such-session"] {
        let refused = thief.send(&body, Some(session)).await.map(|_| ());
        assert_eq!(refused, Err(Rejection::SessionNotFound));
    }
    assert_eq!(thief.send(&body, None).await.map(|_| ()), Err(Rejection::SessionRequired));
    assert_eq!(a.session.as_deref().unwrap().len(), 32);
    assert!(a.call(json!(1), "echo", json!({})).await.is_ok());
}

#[tokio::test]
async fn notifications_outside_calls_wait_for_the_stream() {
    let small = small("legacy", |settings| settings.shared = true);
    let (a, b) = (small.session("a").await, small.session("b").await);
    a.call(json!(1), "change", json!({})).await.unwrap();
    a.call(json!(2), "change", json!({})).await.unwrap();
    for client in [&a, &b] {
        let mut stream = client.inbox();
        assert_eq!(next(&mut stream).await["method"], "notifications/tools/list_changed");
        assert!(stream.next().now_or_never().is_none(), "once is enough for who has not heard");
    }
}

#[tokio::test]
async fn a_second_stream_replaces_the_first() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let (mut first, mut second) = (client.inbox(), client.inbox());
    assert!(first.next().await.is_none());
    client.call(json!(1), "change", json!({})).await.unwrap();
    assert_eq!(next(&mut second).await["method"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn a_log_message_arrives_with_the_running_request() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let mut events = stream(client.call(json!(1), "log", json!({})).await.unwrap());
    assert_eq!(next(&mut events).await["params"]["data"], "hello");
    assert_eq!(next(&mut events).await["id"], 1);
}

#[tokio::test]
async fn a_subscription_has_the_id_of_the_client() {
    let small = small("modern", |_| {});
    let mut client = small.client("a");
    let listen =
        modern(json!("mine"), "subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let mut events = stream(client.say(listen).await.unwrap());
    let acknowledged = next(&mut events).await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    client.say(modern(json!(2), "tools/call", json!({"name": "change"}))).await.unwrap();
    for note in [acknowledged, next(&mut events).await] {
        assert_eq!(note["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "mine");
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "no variable of a configuration")]
async fn only_necessary_variables_are_inherited() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let environment = said(&client.call(json!(1), "environment", json!({})).await.unwrap());
    assert_eq!(environment["TOKEN"], "upstream-token");
    assert!(environment["PATH"].is_string());
    // Cargo sets this for every test; it stands for all that the host has and a child need not.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert_eq!(environment["CARGO_MANIFEST_DIR"], Value::Null);
}

#[tokio::test]
async fn indented_requests_reach_the_child_as_one_line() {
    let small = small("legacy", |_| {});
    let mut client = small.session("a").await;
    let body =
        serde_json::to_string_pretty(&tool_call(json!(1), "echo", json!({"arguments": {"s": "a\nb"}})))
            .unwrap();
    let answer = client.say_raw(&body).await.unwrap();
    assert_eq!(said(&answer)["params"]["arguments"]["s"], "a\nb");
}
