use super::*;

fn parse(body: &str) -> Result<Call, MessageFault> {
    Call::parse(Bytes::copy_from_slice(body.as_bytes())).map_err(|unparsed| unparsed.malformed)
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

/// The kind and the message of a refusal.
fn refusal(body: &str) -> String {
    match parse(body) {
        Ok(call) => panic!("taken for {call:?}"),
        Err(MessageFault::Parse(what)) => format!("parse: {what}"),
        Err(MessageFault::InvalidRequest(what)) => format!("request: {what}"),
        Err(MessageFault::InvalidParams(what)) => format!("params: {what}"),
        Err(MessageFault::UnknownMethod(what)) => format!("unknown: {what}"),
        Err(MessageFault::BadCredential(what)) => format!("credential: {what}"),
        Err(other) => panic!("refused with {other:?}"),
    }
}

fn target(kind: TargetKind, name: &str) -> Access {
    Access::Target(Target { kind, name: name.into() })
}

#[test]
fn a_call_keeps_its_bytes_and_the_positions_of_its_parts() {
    let body = r#" {"jsonrpc":"2.0","x":{"a":[1]},"params":{"name":"get_\u0061","arguments":{"b": 1.50},"_meta":{"progressToken":"t"}},"id":"7","method":"tools/call"} "#;
    let call = parse(body).unwrap();
    assert_eq!(call.body(), body);
    assert_eq!(call.method(), "tools/call");
    assert_eq!(call.id(), Some(r#""7""#));
    assert_eq!(call.access(), &target(TargetKind::Tool, "get_a"));
    assert_eq!(call.arguments(), Some(r#"{"b": 1.50}"#));
    assert_eq!(call.meta(), Some(r#"{"progressToken":"t"}"#));
    assert_eq!(call.progress_token(), Some(r#""t""#));
}

#[test]
fn each_method_needs_a_permission_for_its_target() {
    use TargetKind::{Method, Prompt, Resource, Tool};
    let cases = [
        ("ping", "{}", Access::Open),
        ("tools/list", r#"{"cursor":"x"}"#, Access::Open),
        ("server/discover", "{}", Access::Open),
        ("logging/setLevel", r#"{"level":"info"}"#, Access::Open),
        ("initialize", r#"{"protocolVersion":"2025-11-25"}"#, Access::Open),
        ("tools/call", r#"{"name":"a"}"#, target(Tool, "a")),
        ("prompts/get", r#"{"name":"a"}"#, target(Prompt, "a")),
        ("resources/read", r#"{"uri":"file:///a"}"#, target(Resource, "file:///a")),
        ("resources/subscribe", r#"{"uri":"file:///a"}"#, target(Resource, "file:///a")),
        ("resources/unsubscribe", r#"{"uri":"file:///a"}"#, target(Resource, "file:///a")),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"a"}}"#, target(Prompt, "a")),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"a:{b}"}}"#,
            target(Resource, "a:{b}"),
        ),
        ("skills/list", "{}", target(Method, "skills/list")),
        ("Tools/Call", r#"{"name":"a"}"#, target(Method, "Tools/Call")),
        ("subscriptions/listen", r#"{"notifications":{"toolsListChanged":true}}"#, Access::Open),
    ];
    for (method, params, access) in cases {
        assert_eq!(parse(&request(method, params)).unwrap().access(), &access, "{method}");
    }
}

#[test]
fn a_subscription_needs_a_permission_for_each_resource_and_task() {
    let call = parse(&request(
        "subscriptions/listen",
        r#"{"notifications":{"resourceSubscriptions":["a:","b:"],"taskIds":["t"]}}"#,
    ));
    let call = call.unwrap();
    let named = |name: &str| Target { kind: TargetKind::Resource, name: name.into() };
    assert_eq!(call.access(), &Access::Targets(vec![named("a:"), named("b:")]));
    assert_eq!(call.tasks(), [Box::from("t")]);
}

#[test]
fn a_subscription_names_each_of_at_most_a_thousand_tasks_once() {
    let of_tasks = |tasks: &[&str]| {
        let tasks = tasks.iter().map(|task| format!("{task:?}")).collect::<Vec<_>>().join(",");
        parse(&request("subscriptions/listen", &format!(r#"{{"notifications":{{"taskIds":[{tasks}]}}}}"#)))
    };
    assert_eq!(of_tasks(&["t", "u", "t"]).unwrap().tasks(), [Box::from("t"), Box::from("u")]);
    assert!(of_tasks(&["t"; 1000]).is_ok() && of_tasks(&["t"; 1001]).is_err());
}

#[test]
fn lenient_json_is_refused() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let twice = "parse: an object has a key twice";
    let cases = [
        (String::new(), "parse: it ends too early"),
        ("{".into(), "parse: it ends too early"),
        ("{}{}".into(), "parse: it is not JSON"),
        ("null".into(), "parse: it is not one JSON object with every key once"),
        (
            r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"ping"}"#.into(),
            "parse: it is not one JSON object with every key once",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#.into(),
            "parse: it is not one JSON object with every key once",
        ),
        (
            request("tools/call", r#"{"name":"ok","name":"forbidden"}"#),
            "parse: it is not one JSON object with every key once",
        ),
        (
            request("tools/call", r#"{"name":"ok","n\u0061me":"forbidden"}"#),
            "parse: it is not one JSON object with every key once",
        ),
        (request("tools/call", r#"{"name":"a","arguments":{"x":1,"x":2}}"#), twice),
        (request("tools/call", r#"{"name":"a","arguments":{"y":[{"x":1,"\u0078":2}]}}"#), twice),
        (request("ping", r#"{"_meta":{"a":{"b":1,"b":2}}}"#), twice),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"a":{"b":1,"b":2}}}"#.into(), twice),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","more":{"b":1,"b":2}}"#.into(), twice),
        (
            request("tools/call", &format!(r#"{{"name":"a","arguments":{{"x":{}}}}}"#, deep(126))),
            "parse: arrays and objects are nested deeper than 128 levels",
        ),
        (
            request("tools/call", &format!(r#"{{"name":"a","arguments":{{"x":{}}}}}"#, deep(100_000))),
            "parse: arrays and objects are nested deeper than 128 levels",
        ),
        (request("tools/call", r#"{"name":"\ud800"}"#), "parse: it is not JSON"),
        (request("tools/call", r#"{"name":"a","arguments":{"x":1e999}}"#), "parse: it is not JSON"),
        (request("tools/call", r#"{"name":"a","arguments":{"x":NaN}}"#), "parse: it is not JSON"),
        (request("tools/call", r#"{"name":"a",}"#), "parse: it is not JSON"),
    ];
    for (body, refused) in cases {
        assert_eq!(refusal(&body), refused, "{:.120}", body);
    }
    let deepest = request("tools/call", &format!(r#"{{"name":"a","arguments":{{"x":{}}}}}"#, deep(125)));
    assert!(parse(&deepest).is_ok());
}

#[test]
fn a_duplicate_key_among_many_is_found() {
    let many: Vec<_> = (0..100).map(|i| format!(r#""k{i}":{i}"#)).collect();
    let with = |last: &str| {
        request("tools/call", &format!(r#"{{"name":"a","arguments":{{{},{last}}}}}"#, many.join(",")))
    };
    assert!(parse(&with(r#""k100":0"#)).is_ok());
    for key in ["k0", "k50", "k99"] {
        assert_eq!(refusal(&with(&format!(r#""{key}":0"#))), "parse: an object has a key twice");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let body = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\xff\"}";
    let unparsed = Call::parse(Bytes::from_static(body)).unwrap_err();
    assert_eq!(unparsed.malformed, MessageFault::Parse("it is not UTF-8".to_owned()));
}

#[test]
fn json_that_is_not_json_rpc_is_refused() {
    let cases = [
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            "request: batches are not accepted: send one message at a time",
        ),
        (" \n[]", "request: batches are not accepted: send one message at a time"),
        (r#"{"id":1,"method":"ping"}"#, "request: jsonrpc must be \"2.0\""),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "request: jsonrpc must be \"2.0\""),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, "request: jsonrpc must be \"2.0\""),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "request: id must be a string or an integer"),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, "request: id must be a string or an integer"),
        (r#"{"jsonrpc":"2.0","id":1e2,"method":"ping"}"#, "request: id must be a string or an integer"),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, "request: id must be a string or an integer"),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, "request: id must be a string or an integer"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "request: a message has exactly one of method, result and error"),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            "request: a message has exactly one of method, result and error",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            "request: a message has exactly one of method, result and error",
        ),
        (r#"{"jsonrpc":"2.0","result":{}}"#, "request: an answer needs the id of its request"),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#,
            "request: a message has exactly one of method, result and error",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, "request: method must be a string"),
        (
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#,
            "request: this method needs an id",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled"}"#,
            "request: a notification has no id",
        ),
    ];
    for (body, refused) in cases {
        assert_eq!(refusal(body), refused, "{body}");
    }
}

#[test]
fn members_in_another_case_than_the_protocols_are_refused() {
    let cases = [
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#.to_owned(), "method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","PARAMS":{}}"#.to_owned(), "params"),
        (request("tools/call", r#"{"name":"ok","Name":"forbidden"}"#), "name"),
        (request("tools/call", r#"{"name":"ok","N\u0061ME":"forbidden"}"#), "name"),
        (request("tools/call", r#"{"name":"ok","argument\u017f":{}}"#), "arguments"),
        (request("tools/call", r#"{"name":"ok","_META":{}}"#), "_meta"),
        (request("tasks/get", r#"{"taskId":"a","tas\u212aId":"b"}"#), "taskId"),
        (
            request("ping", r#"{"_meta":{"IO.modelcontextprotocol/protocolVersion":"x"}}"#),
            "io.modelcontextprotocol/protocolVersion",
        ),
        (request("completion/complete", r#"{"ref":{"type":"ref/prompt","NAME":"b"}}"#), "name"),
        (
            request("subscriptions/listen", r#"{"notifications":{"ResourceSubscriptions":["a"]}}"#),
            "resourceSubscriptions",
        ),
    ];
    for (body, name) in cases {
        assert_eq!(refusal(&body), format!("request: a member differs from {name} only in case"), "{body}");
    }
    assert!(parse(&request("tools/call", r#"{"name":"a","arguments":{"Name":1,"nane":2}}"#)).is_ok());
}

#[test]
fn keys_that_some_reader_merges_are_refused_at_any_depth() {
    let many: String = (0..40).map(|n| format!(r#""k{n}":0,"#)).collect();
    let alike = "parse: an object has two keys that differ in case or Unicode normal form only";
    for arguments in [
        r#"{"limit":1,"Limit":100000}"#,
        r#"{"limit":1,"L\u0049MIT":100000}"#,
        r#"{"a":[{"b":{"path":1,"PATH":2}}]}"#,
        "{\"task\":1,\"tas\u{212a}\":2}",
        "{\"tas\u{212a}\":1,\"task\":2}",
        "{\"s\":1,\"\u{17f}\":2}",
        "{\"\u{e9}\":1,\"\u{c9}\":2}",
        "{\"\u{e9}\":1,\"e\u{301}\":2}",
        &format!(r#"{{{many}"K7":1}}"#),
    ] {
        assert_eq!(
            refusal(&request("tools/call", &format!(r#"{{"name":"a","arguments":{arguments}}}"#))),
            alike,
            "{arguments}"
        );
    }
    for body in [
        request("x/y", r#"{"a":1,"A":2}"#),
        request("ping", r#"{"_meta":{"a":1,"A":2}}"#),
        request("ping", r#"{"_meta":{"x":{"a":1,"A":2}}}"#),
        request("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"a","NAME":"b"}}"#),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","a":1,"A":2}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":{"a":1,"A":2}}}"#.to_owned(),
    ] {
        assert_eq!(refusal(&body), alike, "{body}");
    }
    let twice = request("tools/call", &format!(r#"{{"name":"a","arguments":{{{many}"k7":1}}}}"#));
    assert_eq!(refusal(&twice), "parse: an object has a key twice");
}

#[test]
fn numbers_that_some_reader_rounds_are_refused_at_any_place() {
    let inexact = "parse: a number is beyond 64 bits, a double's range or its precision: send it as a string";
    for number in ["9007199254740993", "1e-400", "10.0000000000000001", "123456789012345678901234567890"] {
        for body in [
            request("tools/call", &format!(r#"{{"name":"a","arguments":{{"x":{number}}}}}"#)),
            request("tools/call", &format!(r#"{{"name":"a","arguments":{{"x":[{{"y":{number}}}]}}}}"#)),
            request("x/y", &format!(r#"{{"x":{number}}}"#)),
            request("ping", &format!(r#"{{"_meta":{{"x":{number}}}}}"#)),
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"x":{number}}}}}"#),
        ] {
            assert_eq!(refusal(&body), inexact, "{body}");
        }
    }
}

#[test]
fn ids_may_have_all_64_bits() {
    for body in [
        r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#.to_owned(),
        request("ping", r#"{"_meta":{"progressToken":9223372036854775807}}"#),
        request("x/y", r#"{"requestId":9223372036854775807}"#),
    ] {
        assert!(parse(&body).is_ok(), "{body}");
    }
}

#[test]
fn ambiguous_names_are_refused_in_every_message() {
    let dots = "file:///docs/../secret/key";
    let normal = "is not a URI in normal form";
    for (body, refused) in [
        (
            request("resources/read", &format!(r#"{{"uri":"{dots}"}}"#)),
            format!("params: params.uri {normal}"),
        ),
        (
            request("resources/subscribe", &format!(r#"{{"uri":"{dots}"}}"#)),
            format!("params: params.uri {normal}"),
        ),
        (
            request("resources/unsubscribe", &format!(r#"{{"uri":"{dots}"}}"#)),
            format!("params: params.uri {normal}"),
        ),
        (
            request("completion/complete", &format!(r#"{{"ref":{{"type":"ref/resource","uri":"{dots}"}}}}"#)),
            format!("params: params.ref.uri {normal}"),
        ),
        (
            request("completion/complete", r#"{"ref":{"type":"ref/resource","uri":"file:///docs/../{x}"}}"#),
            format!("params: params.ref.uri {normal}"),
        ),
        (
            request(
                "subscriptions/listen",
                &format!(r#"{{"notifications":{{"resourceSubscriptions":["a:","{dots}"]}}}}"#),
            ),
            format!("params: params.notifications.resourceSubscriptions {normal}"),
        ),
        (
            request("tools/call", r#"{"name":"cafe\u0301"}"#),
            "params: params.name is not in Unicode normal form C".into(),
        ),
        (
            request("prompts/get", r#"{"name":"cafe\u0301"}"#),
            "params: params.name is not in Unicode normal form C".into(),
        ),
        (
            request("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"cafe\u0301"}}"#),
            "params: params.ref.name is not in Unicode normal form C".into(),
        ),
        (request("x/cafe\\u0301", "{}"), "params: method is not in Unicode normal form C".into()),
        (
            request("tools/call", &format!(r#"{{"name":"{}"}}"#, "x".repeat(8_193))),
            "params: params.name is longer".into(),
        ),
    ] {
        let said = refusal(&body);
        assert!(said.starts_with(&refused), "{body}: {said}");
    }
}

#[test]
fn a_known_method_of_the_wrong_shape_is_not_unknown() {
    let cases = [
        ("tools/call", "[]", "params must be an object"),
        ("tools/call", "null", "params.name must be a string"),
        ("initialize", "null", "params.protocolVersion must be a string"),
        ("tools/call", "{}", "params.name must be a string"),
        ("tools/call", r#"{"name":1}"#, "params.name must be a string"),
        ("tools/call", r#"{"name":["a"]}"#, "params.name must be a string"),
        ("tools/call", r#"{"name":"a","arguments":[]}"#, "params.arguments must be an object"),
        ("tools/call", r#"{"name":"a","_meta":1}"#, "params._meta must be an object"),
        (
            "tools/call",
            r#"{"name":"a","_meta":{"progressToken":[]}}"#,
            "the progress token must be a string or an integer",
        ),
        (
            "tools/call",
            r#"{"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":null}}"#,
            "the protocol version in _meta must be a string",
        ),
        ("resources/read", r#"{"uri":null}"#, "params.uri must be a string"),
        ("initialize", "{}", "params.protocolVersion must be a string"),
        ("tools/list", r#"{"cursor":1}"#, "params.cursor must be a string"),
        ("tasks/get", "{}", "params.taskId must be a string"),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/other"}}"#,
            "params.ref must name a prompt or a resource",
        ),
        ("completion/complete", r#"{"ref":"a"}"#, "params.ref must name a prompt or a resource"),
        (
            "subscriptions/listen",
            r#"{"notifications":{"resourceSubscriptions":[1]}}"#,
            "params.notifications.resourceSubscriptions must be an array of strings",
        ),
    ];
    for (method, params, refused) in cases {
        assert_eq!(refusal(&request(method, params)), format!("params: {refused}"), "{method} {params}");
    }
}

#[test]
fn optional_members_that_are_null_are_removed() {
    for (method, params, left) in [
        ("ping", r#"{"_meta":null}"#, "{}"),
        ("ping", r#"{"_meta":{"progressToken":null}}"#, r#"{"_meta":{}}"#),
        (
            "ping",
            r#"{"_meta":{"progress\u0054oken":null, "a":{"b" : 1.50}}}"#,
            r#"{"_meta":{"a":{"b" : 1.50}}}"#,
        ),
        ("tools/list", r#"{"cursor":null}"#, "{}"),
        ("tools/list", r#"{"curs\u006fr" : null, "_meta":null}"#, "{}"),
        ("tools/call", r#"{"name":"a","arguments":null,"x":null}"#, r#"{"name":"a","x":null}"#),
        ("prompts/get", r#"{"arguments":null,"name":"a"}"#, r#"{"name":"a"}"#),
        ("x/y", r#"{"_meta":null,"arguments":null}"#, r#"{"arguments":null}"#),
    ] {
        let call = parse(&request(method, params)).unwrap();
        assert_eq!(call.body(), &request(method, left), "{method} {params}");
    }
    let call = parse(r#"{"jsonrpc":"2.0","id":1,"params": null,"method":"ping"}"#).unwrap();
    assert_eq!(call.body(), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let call =
        parse(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":null}}"#);
    assert_eq!(call.unwrap().arguments(), None);
}

#[test]
fn a_meaningful_null_stays() {
    for body in [
        request("tools/call", r#"{"name":"a","arguments":{"cursor":null,"_meta":null,"arguments":null}}"#),
        request("tools/call", r#"{"name":"a","_meta":{"x":{"progressToken":null}}}"#),
        request("tools/call", r#"{"name":"a","cursor":null}"#),
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#.to_owned(),
    ] {
        assert_eq!(parse(&body).unwrap().body(), &body);
    }
}

#[test]
fn a_null_member_does_not_hide_another() {
    for body in [
        request("tools/call", r#"{"name":"a","arguments":null,"arguments":{}}"#),
        request("tools/call", r#"{"name":"a","arguments":null,"Arguments":{}}"#),
        request("tools/call", r#"{"name":"a","Arguments":null}"#),
        request("ping", r#"{"_meta":{"progressToken":null,"progresstoken":1}}"#),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null,"params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null,"Params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{},"params":null}"#.to_owned(),
    ] {
        assert!(parse(&body).is_err(), "{body}");
    }
}

#[test]
fn removed_methods_are_unknown_in_every_shape() {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
        assert_eq!(refusal(&request(method, &format!("{{{meta}}}"))), format!("unknown: {method}"));
    }
    let call = parse(&request("tools/call", &format!(r#"{{"name":"a",{meta}}}"#))).unwrap();
    assert!(call.has_full_meta());
    assert_eq!(call.meta_version(), Some("2026-07-28"));
}

#[test]
fn a_refusal_has_the_id_of_the_request_if_it_is_readable() {
    let id = |body: &str| Call::parse(Bytes::copy_from_slice(body.as_bytes())).unwrap_err().id;
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":"x","method":"tools/call"}"#).as_deref(), Some("\"x\""));
    assert_eq!(id(r#"{"id":7,"method":"ping"}"#).as_deref(), Some("7"));
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#), None);
    assert_eq!(id("{"), None);
}

#[test]
fn answers_and_notifications_are_distinguished_from_requests() {
    let answer = parse(r#"{"jsonrpc":"2.0","id":"s1","result":{"roots":[]}}"#).unwrap();
    assert!(matches!(answer.kind(), MessageKind::Response { .. }));
    assert_eq!((answer.id(), answer.method()), (Some("\"s1\""), ""));
    let notification = parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
    assert_eq!((notification.kind(), notification.access()), (&MessageKind::Notification, &Access::Open));
    let vendors = parse(r#"{"jsonrpc":"2.0","method":"notifications/vendor"}"#).unwrap();
    assert_eq!(vendors.access(), &target(TargetKind::Method, "notifications/vendor"));
}

#[test]
fn a_call_that_may_start_a_task_is_marked() {
    let starts = |params: &str| parse(&request("tools/call", params)).unwrap().may_start_task();
    assert!(starts(r#"{"name":"a","task":{}}"#));
    assert!(!starts(r#"{"name":"a"}"#));
    let declaring = |extensions: &str| {
        format!(
            r#"{{"name":"a","_meta":{{"io.modelcontextprotocol/clientCapabilities":{{"extensions":{extensions}}}}}}}"#
        )
    };
    assert!(starts(&declaring(r#"{"io.modelcontextprotocol/tasks":{}}"#)));
    assert!(starts(&declaring(r#"{"io.modelcontextprotocol\/tasks":{}}"#)));
    assert!(!starts(&declaring("{}")));
}

#[test]
fn credentials_of_other_protocols_are_refused() {
    let auth = r#"{"type":"api_key","api_key":"k"}"#;
    for body in [
        request("tools/call", &format!(r#"{{"name":"a","auth":{auth}}}"#)),
        request("x/y", &format!(r#"{{"\u0061uth":{auth}}}"#)),
        request("tools/call", &format!(r#"{{"name":"a","Auth":{auth}}}"#)),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","auth":{auth}}}"#),
    ] {
        assert_eq!(refusal(&body), format!("credential: {AUTH}"), "{body}");
    }
    for params in [r#"{"name":"a","auth":"none"}"#, r#"{"name":"a","arguments":{"auth":{"type":"api_key"}}}"#]
    {
        parse(&request("tools/call", params)).unwrap();
    }
}
