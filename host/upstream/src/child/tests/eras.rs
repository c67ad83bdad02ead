//! Clients and children of different eras.

use super::*;

#[tokio::test]
async fn a_stateless_client_is_bridged_to_a_stateful_child() {
    let small = small("legacy", |_| {});
    let mut client = small.client("a");
    let discover = client.say(modern(json!("probe"), "server/discover", json!({}))).await;
    assert!(matches!(discover, Err(Rejection::Malformed(MessageFault::UnknownMethod(_)))));
    let list = message(&client.say(modern(json!("l"), "tools/list", json!({}))).await.unwrap());
    assert_eq!(list["id"], "l");
    assert_eq!(list["result"]["resultType"], "complete");
    assert_eq!(list["result"]["ttlMs"], 0);
    assert_eq!(list["result"]["cacheScope"], "private");
    assert_eq!(list["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "small");
    let echo = modern(json!(2), "tools/call", json!({"name": "echo", "_meta": {"traceparent": "00-1"}}));
    let seen = said(&client.say(echo).await.unwrap());
    assert_eq!(seen["params"]["_meta"], json!({"traceparent": "00-1"}));
    let read = modern(json!(3), "resources/read", json!({"uri": "file:///x"}));
    let error = message(&client.say(read).await.unwrap())["error"].clone();
    assert_eq!((error["code"].clone(), error["data"]["uri"].clone()), (json!(-32602), json!("file:///x")));
    assert_eq!(small.upstream.inner.rooms_in_use(), 1);
}

#[tokio::test]
async fn progress_of_a_bridged_call_is_forwarded_and_unwanted_logs_are_not() {
    let small = small("legacy", |_| {});
    let mut client = small.client("a");
    let params = json!({"name": "progress", "arguments": {"steps": 2}, "_meta": {"progressToken": "p"}});
    let mut events = stream(client.say(modern(json!(1), "tools/call", params)).await.unwrap());
    for _ in 0..2 {
        assert_eq!(next(&mut events).await["params"]["progressToken"], "p");
    }
    assert_eq!(next(&mut events).await["result"]["resultType"], "complete");
    let quiet = client.say(modern(json!(2), "tools/call", json!({"name": "log"}))).await.unwrap();
    assert_eq!(message(&quiet)["id"], 2);
}

#[tokio::test]
async fn a_child_that_dies_at_the_probe_is_stateful() {
    let small = small("dies", |_| {});
    let verdict = small.upstream.inner.eras.verdict(&*small.upstream.inner).await.unwrap();
    assert!(!verdict.speaks.modern);
    assert_eq!(verdict.speaks.legacy, None, "the first session shows it");
}

#[tokio::test]
async fn a_stateless_child_gets_stateless_requests_unchanged_and_refuses_stateful_clients() {
    let small = small("modern", |_| {});
    let mut client = small.client("a");
    let discovered = message(&client.say(modern(json!("d"), "server/discover", json!({}))).await.unwrap());
    assert_eq!(
        (discovered["id"].clone(), discovered["result"]["cacheScope"].clone()),
        (json!("d"), json!("public"))
    );
    let echo = modern(json!(1), "tools/call", json!({"name": "echo"}));
    let seen = said(&client.say(echo).await.unwrap());
    assert_eq!(seen["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], MODERN);
    let mut older = small.client("b");
    let refused = message(&older.say(initialize(json!({}))).await.unwrap());
    assert_eq!((refused["id"].clone(), refused["error"]["code"].clone()), (json!("init"), json!(-32022)));
    let refused = older.say(initialize(json!({}))).await.map(|_| ());
    let supported = vec![MODERN.to_owned()];
    assert_eq!(
        refused,
        Err(Rejection::Malformed(MessageFault::UnsupportedVersion {
            requested: "2025-06-18".to_owned(),
            supported
        }))
    );
}

#[tokio::test]
async fn a_child_of_both_eras_serves_both() {
    let small = small("both", |_| {});
    let older = small.session("a").await;
    assert!(older.call(json!(1), "echo", json!({})).await.is_ok());
    let mut newer = small.client("a");
    assert!(newer.say(modern(json!(1), "tools/call", json!({"name": "echo"}))).await.is_ok());
    assert_eq!(small.upstream.inner.rooms_in_use(), 2);
}

#[tokio::test]
async fn clients_of_a_shared_child_are_initialized_in_their_version() {
    let small = small("legacy", |settings| settings.shared = true);
    for _ in 0..2 {
        let mut client = small.client("a");
        let welcome = message(&client.say(initialize(json!({}))).await.unwrap());
        assert_eq!(welcome["id"], "init");
        assert_eq!(welcome["result"]["protocolVersion"], "2025-06-18");
        assert_eq!(welcome["result"]["x-unknown"], 1);
    }
}
