//! The recipients of messages from a child that all callers share.

use super::*;

/// Sends a call and waits until the child is at it, which says `begun` by a first progress.
async fn begin(client: &Client<'_>, id: Value, tool: &str, arguments: Value) -> BoxStream<'static, Event> {
    let params = json!({"arguments": arguments, "_meta": {"progressToken": "begun"}});
    let mut events = stream(client.call(id, tool, params).await.unwrap());
    assert_eq!(next(&mut events).await["method"], "notifications/progress");
    events
}

fn shared() -> Small {
    small("legacy", |settings| settings.shared = true)
}

/// The result of the child's question: the error's code, or the client's answer.
fn asked(answer: &AnswerBody) -> Value {
    said(answer)["error"]["code"].clone()
}

#[tokio::test]
async fn a_question_for_a_disconnected_caller_reaches_no_other_caller() {
    let small = shared();
    let (a, b) = (small.session("a").await, small.session("b").await);
    drop(begin(&a, json!(1), "ask-later", json!({})).await);
    let mut of_b = begin(&b, json!(1), "begin", json!({})).await;
    // The child asks now; the question is of the call that `a` has left.
    let answer = b.call(json!(2), "ask-now", json!({})).await.unwrap();
    assert_eq!(asked(&answer), -32601, "the child is told that nobody can be asked");
    assert!(of_b.next().now_or_never().is_none(), "`b` has not received it");
    assert!(b.inbox().next().now_or_never().is_none() && a.inbox().next().now_or_never().is_none());
}

#[tokio::test]
async fn a_cancelled_call_counts_as_open_until_it_is_answered() {
    let small = shared();
    let (mut a, b) = (small.session("a").await, small.session("b").await);
    let events = begin(&a, json!(1), "ask-later", json!({})).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    a.say(cancel).await.unwrap();
    drop(events);
    let mut of_b = begin(&b, json!(1), "begin", json!({})).await;
    assert_eq!(asked(&b.call(json!(2), "ask-now", json!({})).await.unwrap()), -32601);
    b.call(json!(3), "log", json!({})).await.unwrap();
    assert!(of_b.next().now_or_never().is_none(), "`b` has received neither question nor log line");
    // Its late answer shows that the child is done with it.
    b.call(json!(4), "answer-late", json!({})).await.unwrap();
    let mut events = stream(b.call(json!(5), "log", json!({})).await.unwrap());
    assert_eq!(next(&mut events).await["params"]["data"], "hello");
}

#[tokio::test]
async fn a_question_outside_calls_reaches_no_caller_of_a_shared_child() {
    for (is_shared, methods) in [(true, vec![]), (false, vec!["elicitation/create"])] {
        let small = small("legacy", |settings| settings.shared = is_shared);
        let a = small.session("a").await;
        a.call(json!(1), "ask-outside", json!({})).await.unwrap();
        let mut inbox = a.inbox();
        // By then the child has asked: it does so within microseconds of its answer.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut heard = Vec::new();
        while let Some(Some(event)) = inbox.next().now_or_never() {
            let message: Value = serde_json::from_slice(&event.data).unwrap();
            heard.push(message["method"].clone());
        }
        assert_eq!(heard, methods, "shared: {is_shared}");
    }
}

#[tokio::test]
async fn a_bridged_call_has_an_owner() {
    let small = shared();
    let (mut a, b) = (small.client("a"), small.session("b").await);
    let params = json!({"name": "ask-later", "_meta": {"progressToken": "begun"}});
    let _events = stream(a.say(modern(json!(1), "tools/call", params)).await.unwrap());
    let mut of_b = begin(&b, json!(1), "begin", json!({})).await;
    assert_eq!(asked(&b.call(json!(2), "ask-now", json!({})).await.unwrap()), -32601);
    assert!(of_b.next().now_or_never().is_none());
}

#[tokio::test]
async fn questions_reach_no_other_caller_without_a_name() {
    let small = shared();
    let [mut a, mut b] = ["192.0.2.1", "192.0.2.2"].map(|peer| small.nameless(peer));
    for client in [&mut a, &mut b] {
        client.say(initialize(json!({"elicitation": {}}))).await.unwrap();
    }
    let _of_a = begin(&a, json!(1), "ask-later", json!({})).await;
    let mut of_b = begin(&b, json!(1), "begin", json!({})).await;
    assert_eq!(asked(&b.call(json!(2), "ask-now", json!({})).await.unwrap()), -32601);
    assert!(of_b.next().now_or_never().is_none());
}

#[tokio::test]
async fn open_calls_of_one_caller_leave_room_for_others() {
    let small = shared();
    let (a, b) = (small.session("a").await, small.session("b").await);
    let mut open = Vec::new();
    let refused = loop {
        let mut call = Box::pin(a.call(json!(open.len()), "never", json!({})));
        match tokio::time::timeout(Duration::from_millis(20), &mut call).await {
            Ok(refused) => break refused.map(|_| ()),
            Err(_) => open.push(call),
        }
        assert!(open.len() < 600, "nothing bounds them");
    };
    assert!(matches!(refused, Err(Rejection::Full { what: "open requests", .. })), "{refused:?}");
    assert_eq!(open.len(), 128);
    assert!(b.call(json!(1), "echo", json!({})).await.is_ok());
    // What nobody waits for any more makes room again.
    drop(open);
    assert!(a.call(json!(1000), "echo", json!({})).await.is_ok());
}

#[tokio::test]
async fn sessions_of_one_network_leave_room_for_others() {
    let small = small("legacy", |settings| settings.children = Capacity { most: 4, most_of_one: 2 });
    let open = async |peer: &str| small.nameless(peer).say(initialize(json!({}))).await.map(|_| ());
    for _ in 0..2 {
        open("192.0.2.1").await.unwrap();
    }
    assert!(matches!(open("192.0.2.1").await, Err(Rejection::Full { what: "sessions", .. })));
    open("192.0.2.2").await.unwrap();
    open("2001:db8::1").await.unwrap();
    assert!(
        matches!(open("192.0.2.3").await, Err(Rejection::Full { .. })),
        "all are taken, and none is idle"
    );
}

#[tokio::test]
async fn subscriptions_are_bounded_and_end_with_their_session() {
    let small = shared();
    let mut a = small.session("a").await;
    let subscribe = |n: usize| {
        let params = json!({"uri": format!("file:///{n}")});
        json!({"jsonrpc": "2.0", "id": n, "method": "resources/subscribe", "params": params})
    };
    a.say(subscribe(1)).await.unwrap();
    // Other sessions of the same caller have the rest.
    let subscriptions = &small.upstream.inner.subscriptions;
    let rest: Vec<_> = std::iter::from_fn(|| subscriptions.take(&a.party)).collect();
    assert_eq!(rest.len(), SUBSCRIPTIONS.most_of_one - 1);
    let refused = a.say(subscribe(2)).await.map(|_| ());
    assert!(matches!(refused, Err(Rejection::Full { what: "subscriptions", .. })), "{refused:?}");
    assert!(a.say(subscribe(1)).await.is_ok(), "it is there already");
    let mut b = small.session("b").await;
    assert!(b.say(subscribe(1)).await.is_ok());
    small.upstream.inner.rooms.lock().end(a.session.as_deref().unwrap());
    let mut again = small.session("a").await;
    assert!(again.say(subscribe(1)).await.is_ok());
}
