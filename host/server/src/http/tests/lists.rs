//! Tests of lists: they contain what the caller may use, and nothing else in them changes.

use futures_util::stream::BoxStream;

use super::*;
use witgate_flow::Arrival;
use witgate_flow::body::Inflow;
use witgate_flow::event::Event;
use witgate_flow::limit::{Admitted, RawAnswerPermit};
use witgate_flow::port::SessionRequest as Listens;
use witgate_flow::port::{Answer, Upstream};
use witgate_message::fault::MessageFault;

const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"p2","tools":[{"name":"get_a","inputSchema":{"$schema":"x","n":1.0},"x-new":[ 1 ]},{"name":"drop_a"},{"title":"nameless"},{"name":"get_b","name":"drop_b"},{"name":7},{"name":"get_e","Name":"drop_e"},"get_c",{"na\u006de":"get_d"}],"unknown":{"k": 1.50},"cacheScope":"public","ttlMs":5}}"#;

#[tokio::test]
async fn a_list_is_filtered_and_otherwise_untouched() {
    let gateway = gateway(|_| answer_as(200, "application/json", TOOLS)).await;
    let got = gateway.post(ALICE, &call("tools/list", json!({}))).await;
    let kept = r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"p2","tools":[{"name":"get_a","inputSchema":{"$schema":"x","n":1.0},"x-new":[ 1 ]},{"na\u006de":"get_d"}],"unknown":{"k": 1.50},"cacheScope":"private","ttlMs":5}}"#;
    assert_eq!(std::str::from_utf8(&got.body).unwrap(), kept);
}

#[tokio::test]
async fn a_list_in_a_stream_is_filtered_too() {
    let stream = format!("id: 1\nretry: 10\ndata:\n\nid: 2\ndata: {TOOLS}\n\n");
    let gateway = gateway(move |_| answer_as(200, "text/event-stream", stream.clone())).await;
    let got = gateway.post(ALICE, &call("tools/list", json!({}))).await;
    let text = std::str::from_utf8(&got.body).unwrap();
    assert!(text.starts_with("id: 1\nretry: 10\ndata: \n\nid: 2\ndata: {"), "{text}");
    assert!(text.contains("get_a") && !text.contains("drop_a"), "{text}");
}

#[tokio::test]
async fn all_four_lists_are_filtered() {
    let gateway = gateway(|request| {
        let list = match request.json()["method"].as_str().unwrap() {
            "resources/list" => json!({"resources": [{"uri": "file:///docs/a"}, {"uri": "file:///etc/a"}]}),
            "resources/templates/list" => json!({"resourceTemplates": [{"uriTemplate": "file:///docs/{x}"}, {"uriTemplate": "db://{x}"}]}),
            _ => json!({"prompts": [{"name": "hello"}, {"name": "other"}]}),
        };
        result(request, list)
    })
    .await;
    for (method, list, first) in [
        ("resources/list", "resources", json!({"uri": "file:///docs/a"})),
        ("resources/templates/list", "resourceTemplates", json!({"uriTemplate": "file:///docs/{x}"})),
        ("prompts/list", "prompts", json!({"name": "hello"})),
    ] {
        let got = gateway.post(ALICE, &call(method, json!({}))).await;
        assert_eq!(got.json()["result"], json!({list: [first]}), "{method}");
    }
}

#[tokio::test]
async fn a_filtered_list_of_the_stateless_era_is_private() {
    let gateway = gateway(|request| {
        discovers(request).unwrap_or_else(|| result(request, json!({"resultType": "complete", "tools": []})))
    })
    .await;
    let got = gateway.modern(ALICE, "tools/list", json!({})).await;
    assert_eq!(got.json()["result"]["cacheScope"], "private");
}

#[tokio::test]
async fn a_list_with_a_misspelled_or_duplicate_member_is_refused() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"Tools":[{"name":"drop_a"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"drop_a"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[{"name":"drop_a"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":{"name":"drop_a"}}}"#,
        "[]",
        "garbage",
    ] {
        let gateway = gateway(move |_| answer_as(200, "application/json", body)).await;
        let got = gateway.post(ALICE, &call("tools/list", json!({}))).await;
        assert_eq!((got.status, got.reason().as_str()), (200, "upstream-bad-answer"), "{body}: {got:?}");
    }
}

#[tokio::test]
async fn a_task_belongs_to_the_caller_that_started_it() {
    let gateway = gateway(|request| {
        discovers(request).unwrap_or_else(|| match request.json()["method"].as_str().unwrap() {
            "tools/call" => {
                result(request, json!({"resultType": "task", "taskId": "t1", "status": "working"}))
            }
            "tasks/list" => result(request, json!({"tasks": [{"taskId": "t1"}, {"taskId": "t2"}]})),
            _ => result(request, json!({"resultType": "complete", "taskId": "t1"})),
        })
    })
    .await;
    let task = json!({"taskId": "t1"});
    let undeclared = gateway.modern(ALICE, "tasks/get", task.clone()).await;
    assert_eq!((undeclared.status, undeclared.json()["error"]["code"].as_i64()), (400, Some(-32021)));
    let early = with_tasks(&gateway, ALICE, "tasks/get", task.clone()).await;
    assert_eq!(early.reason(), "task-not-found");
    let started = with_tasks(&gateway, ALICE, "tools/call", json!({"name": "get_it"})).await;
    assert_eq!(started.status, 200);
    assert_eq!(with_tasks(&gateway, ALICE, "tasks/get", task.clone()).await.json()["result"]["taskId"], "t1");
    assert_eq!(with_tasks(&gateway, BOB, "tasks/get", task.clone()).await.reason(), "task-not-found");
    assert_eq!(with_tasks(&gateway, BOB, "tasks/cancel", task).await.reason(), "task-not-found");
    let listed = gateway.post(ALICE, &call("tasks/list", json!({}))).await;
    assert_eq!(listed.json()["result"]["tasks"], json!([{"taskId": "t1"}]));
    let others = gateway.post(BOB, &call("tasks/list", json!({}))).await;
    assert_eq!(others.json()["result"]["tasks"], json!([]));
}

/// A request of a client that has declared the tasks extension.
pub(super) async fn with_tasks(gateway: &TestGateway, key: &str, method: &str, params: Value) -> Got {
    let message = declaring_tasks(method, &params);
    gateway.send(Method::POST, &modern_lines(key, method, &params), message.to_string()).await
}

/// The message of such a request.
pub(super) fn declaring_tasks(method: &str, params: &Value) -> Value {
    let mut message = modern(method, params.clone());
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    message
}

/// An upstream that keeps the permission to answer one call with unread bytes, and uses it for the next call.
struct Hoarder(Mutex<Option<RawAnswerPermit>>);

impl Upstream for Hoarder {
    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        let kept = std::mem::replace(&mut *self.0.lock(), admitted.unfiltered());
        let body = match kept {
            Some(leave) => AnswerBody::Raw {
                leave,
                body: Inflow::here(Full::new(Bytes::from_static(TOOLS.as_bytes()))).into(),
            },
            None => AnswerBody::message(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#)),
        };
        Ok(Answer { session: None, body })
    }

    async fn listen(&self, _: Listens) -> Result<BoxStream<'static, Event>, Rejection> {
        Err(MessageFault::MethodNotAllowed.into())
    }

    async fn close(&self, _: Listens) -> Result<(), Rejection> {
        Ok(())
    }

    async fn shut_down(&self) {}
}

#[tokio::test]
async fn an_unchecked_list_is_not_forwarded() {
    let gateway = gateway(|request| result(request, json!({}))).await;
    let route = Route {
        upstream: "stub".into(),
        resource: "r".into(),
        pipeline: 0,
        extensions: Vec::new(),
        advertise_auth: false,
        disagreements: None,
    };
    let generations = Arc::clone(&gateway.generations);
    let hoarder = Hoarder(Mutex::default());
    let flow = Flow::new(Arc::new(route), hoarder, generations, &Metrics::default(), gateway.stop.clone());
    let ask = async |method: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static(ALICE));
        let body = call(method, json!({})).to_string().into();
        let transport = witgate_plugin::Transport::Http;
        let (peer, certificate, shown, session, known, under_way) = Default::default();
        flow.handle(Arrival { transport, peer, certificate, headers, body, shown, session, known, under_way })
            .await
    };
    assert!(ask("ping").await.is_ok(), "it gets its leave");
    let Err(rejected) = ask("tools/list").await else { panic!("an unfiltered list") };
    let Rejection::Upstream { fault, .. } = rejected.rejection else { panic!("{:?}", rejected.rejection) };
    assert_eq!(fault.reason(), "upstream-bad-answer");
    // An answer that needs no filter may pass as bytes.
    assert!(ask("ping").await.is_ok());
    let passed = ask("ping").await.unwrap_or_else(|rejected| panic!("{:?}", rejected.rejection));
    assert!(matches!(passed.body, AnswerBody::Raw { .. }));
}
