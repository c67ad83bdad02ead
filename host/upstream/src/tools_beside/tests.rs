use std::sync::OnceLock;

use http::{HeaderMap, StatusCode};
use witgate_flow::decision::DecisionId;
use witgate_flow::request::Route;
use witgate_plugin::Transport;
use witgate_runtime::memory::Hold;

use super::*;
use crate::own_tools::AuthStatus;

fn beside(offered: &[OwnTool]) -> Arc<ToolsBeside> {
    let data = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
    ToolsBeside::new((offered, &[]), data, Arc::default()).unwrap()
}

fn completed(own: &ToolsBeside, method: &str, era: Era, message: &str) -> Option<Value> {
    let request = AnsweredRequest { method, id: r#""7""#, era, gets_token: false };
    let completed = own.completed(&request, message.as_bytes())?;
    Some(serde_json::from_slice(&completed).unwrap())
}

fn names(message: &Value) -> Vec<&str> {
    let tools = message["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[test]
fn own_tools_are_listed_after_those_of_the_server() {
    let own = beside(&[OwnTool::HealthCheck, OwnTool::AuthStatus]);
    let list = |message: &str| completed(&own, "tools/list", Era::Stateful, message).unwrap();
    let theirs = list(r#"{"jsonrpc":"2.0","id":"7","result":{"tools":[{"name":"a","x":1.0}],"y":[1e2]}}"#);
    assert_eq!(names(&theirs), ["a", "health_check", "auth_status"]);
    assert_eq!(theirs["result"]["y"], json!([1e2]));
    // A server cannot answer in Witgate's place.
    let same = list(r#"{"id":"7","result":{"tools":[{"name":"health\u005fcheck","z":1},{"name":"b"}]}}"#);
    assert_eq!(names(&same), ["b", "health_check", "auth_status"]);
    assert!(same["result"]["tools"][1].get("z").is_none());
    for (tools, shown) in [
        (r#"{"name":"health_check"}"#, vec!["health_check", "auth_status"]),
        ("", vec!["health_check", "auth_status"]),
        (r#"{"name":"a"} , {"name":"auth_status"}"#, vec!["a", "health_check", "auth_status"]),
    ] {
        let all = list(&format!(r#"{{"id":"7","result":{{"tools": [ {tools} ]}}}}"#));
        assert_eq!(names(&all), shown, "{tools}");
    }
    for no_cursor in ["null", "7", "{}"] {
        let message = r#"{"id":"7","result":{"tools":[{"name":"b"}],"nextCursor": null}}"#;
        let end = list(&message.replace("null", no_cursor));
        assert_eq!(names(&end), ["b", "health_check", "auth_status"], "{no_cursor}");
    }
    let page = r#"{"id":"7","result":{"tools":[{"name":"b"},{"name":"auth_status"}],"nextCursor": "2"}}"#;
    assert_eq!(names(&list(page)), ["b"]);
    let page = page.replace("auth_status", "c");
    assert_eq!(completed(&own, "tools/list", Era::Stateful, &page), None, "it keeps its bytes");
}

/// The flow refuses it, but only if it is as long as it came.
#[test]
fn a_list_that_is_too_long_stays_as_it_is() {
    let own = beside(&[OwnTool::HealthCheck]);
    let list = |entries: usize| {
        let entries = vec![r#"{"name":"health_check"}"#; entries].join(",");
        let message = format!(r#"{{"id":"7","result":{{"tools":[{entries}]}}}}"#);
        completed(&own, "tools/list", Era::Stateful, &message)
    };
    assert_eq!(names(&list(MOST_ITEMS).unwrap()), ["health_check"]);
    assert_eq!(list(MOST_ITEMS + 1), None);
}

/// A server may repeat a list on another stream, and answer a request of before on the stream of this one.
#[tokio::test]
async fn lists_on_every_stream_have_the_own_tools_only_once() {
    let own = beside(&[OwnTool::HealthCheck]);
    let data = [
        r#"{"id":"7","result":{"tools":[{"name":"health_check"},{"name":"a"}]}}"#,
        r#"{"id":"8","result":{"content":[]}}"#,
        r#"{"method":"x","params":{"tools":[{"name":"health_check"}]}}"#,
    ];
    let events = data.map(|data| Event { data: data.into(), ..Event::default() });
    let events = futures_util::stream::iter(events).boxed();
    let seen: Vec<_> = own.complete_stream(events, None, None).map(|event| event.data).collect().await;
    let list: Value = serde_json::from_slice(&seen[0]).unwrap();
    assert_eq!(names(&list), ["a", "health_check"]);
    assert!(list["result"]["tools"][1]["inputSchema"].is_object(), "{list}");
    assert_eq!(seen[1..], data[1..]);
}

/// The server's status for the error that Witgate replaces would be one for its list, too.
#[tokio::test]
async fn a_list_that_witgate_makes_has_the_status_of_a_success() {
    let own = beside(&[OwnTool::HealthCheck]);
    let call = Call::parse(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#.into()).unwrap();
    let route = Route {
        upstream: "main".into(),
        resource: "http://localhost/mcp".into(),
        pipeline: 0,
        extensions: Vec::new(),
        advertise_auth: false,
        disagreements: None,
    };
    let request = Arc::new(Request {
        call,
        decision: DecisionId::default(),
        era: Era::Stateful,
        headers: HeaderMap::new(),
        peer: None,
        transport: Transport::Http,
        route: Arc::new(route),
        certificate: None,
        round: None,
        hooks: OnceLock::default(),
        definitions: OnceLock::default(),
    });
    for (code, status) in [(-32601, StatusCode::OK), (-32603, StatusCode::NOT_FOUND)] {
        let message = format!(r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":{code},"message":"no"}}}}"#);
        let body = AnswerBody::Message {
            status: StatusCode::NOT_FOUND,
            message: Bytes::from(message).into(),
            hold: Hold::default(),
        };
        let of = CompletedRequest { request: Arc::clone(&request), gets_token: false };
        let answer = own.complete(of, Answer { session: None, body }).await.unwrap();
        let AnswerBody::Message { status: said, .. } = answer.body else { panic!("no message") };
        assert_eq!(said, status, "{code}");
    }
}

#[test]
fn a_server_without_tools_gets_a_list() {
    let own = beside(&[OwnTool::LimitsStatus]);
    let error = r#"{"jsonrpc":"2.0","id":"7","error":{"code":-32601,"message":"no"}}"#;
    for era in [Era::Stateful, Era::Stateless] {
        let list = completed(&own, "tools/list", era, error).unwrap();
        assert_eq!((names(&list), &list["id"]), (vec!["limits_status"], &json!("7")));
        assert_eq!(list["result"]["resultType"] == "complete", era == Era::Stateless);
    }
    let other = error.replace("-32601", "-32603");
    assert_eq!(completed(&own, "tools/list", Era::Stateful, &other), None);
    let opened = r#"{"id":"7","result":{"capabilities":{"prompts":{}},"serverInfo":{"name":"s"}}}"#;
    let opened = completed(&own, "initialize", Era::Stateful, opened).unwrap();
    assert_eq!(opened["result"]["capabilities"], json!({ "prompts": {}, "tools": {} }));
}

#[test]
fn only_callers_who_can_get_a_token_see_the_tool_for_it() {
    let own = beside(&[OwnTool::IssueToken, OwnTool::HealthCheck]);
    let message = r#"{"id":"7","result":{"tools":[{"name":"a"},{"name":"issue_token"}]}}"#;
    for (gets_token, expected) in
        [(true, vec!["a", "issue_token", "health_check"]), (false, vec!["a", "health_check"])]
    {
        let request = AnsweredRequest { method: "tools/list", id: r#""7""#, era: Era::Stateful, gets_token };
        let list = own.completed(&request, message.as_bytes()).unwrap();
        assert_eq!(names(&serde_json::from_slice(&list).unwrap()), expected);
    }
}

#[test]
fn answers_that_cannot_be_read_stay_as_they_are() {
    let own = beside(&[OwnTool::HealthCheck]);
    for message in [
        "no json",
        r#"{"id":"7","result":{"tools":1}}"#,
        r#"{"id":"7","result":{"tools":[],"tools":[]}}"#,
        r#"{"id":"7","result":{}}"#,
        r#"{"id":"7"}"#,
    ] {
        assert_eq!(completed(&own, "tools/list", Era::Stateful, message), None, "{message}");
    }
}

#[test]
fn health_has_the_time() {
    let ada = Principal::new("keys".into(), None, "ada");
    let health = beside(&[OwnTool::HealthCheck]).health(SystemTime::UNIX_EPOCH, &ada);
    assert_eq!(health, json!({ "status": "ok", "timestamp": "1970-01-01T00:00:00Z", "auth_config": {} }));
}

#[test]
fn own_resources_are_listed_and_precede_those_of_the_server() {
    let data = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
    let own = ToolsBeside::new((&[], &[OwnResource::UserProfile]), data, Arc::default()).unwrap();
    let list = |message: &str| completed(&own, "resources/list", Era::Stateful, message);
    let uris = |message: &Value| {
        let resources = message["result"]["resources"].as_array().unwrap();
        resources.iter().map(|entry| entry["uri"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let theirs = r#"{"id":"7","result":{"resources":[{"uri":"user://profile","name":"x"},{"uri":"a:b","name":"user://profile"}]}}"#;
    assert_eq!(uris(&list(theirs).unwrap()), ["a:b", "user://profile"]);
    let none = r#"{"jsonrpc":"2.0","id":"7","error":{"code":-32601,"message":"no"}}"#;
    assert_eq!(uris(&list(none).unwrap()), ["user://profile"]);
    // There is no own tool.
    let tools = r#"{"id":"7","result":{"tools":[{"name":"a"}]}}"#;
    assert_eq!(completed(&own, "tools/list", Era::Stateful, tools), None);
    assert_eq!(completed(&own, "tools/list", Era::Stateful, none), None);
    let opened = r#"{"id":"7","result":{"capabilities":{},"serverInfo":{"name":"s"}}}"#;
    let opened = completed(&own, "initialize", Era::Stateful, opened).unwrap();
    assert_eq!(opened["result"]["capabilities"], json!({ "resources": {} }));
}
