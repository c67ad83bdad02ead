//! Bodies that a lenient reader behind Witgate could read in another way than Witgate does.

use serde_json::{Value, json};
use witgate_tests::wire::{Request, STATELESS};

use super::testbed::{ENDPOINTS, Findings, MARK, Testbed, over_stdio};

const PARSE: (u16, i64, &str) = (400, -32700, "parse-error");
const INVALID: (u16, i64, &str) = (400, -32600, "invalid-request");
const PARAMS: (u16, i64, &str) = (400, -32602, "invalid-params");

/// A call with these members in `params`.
fn call(params: &str) -> Vec<u8> {
    message("tools/call", &format!("{{{params}}}"))
}

/// A call with these arguments.
fn arguments(arguments: &str) -> Vec<u8> {
    call(&format!(r#""name":"greet","arguments":{arguments}"#))
}

fn message(method: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":"{MARK}","method":"{method}","params":{params}}}"#).into_bytes()
}

/// An envelope with these members.
fn envelope(members: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0",{members},"x":"{MARK}"}}"#).into_bytes()
}

fn nested(levels: usize) -> String {
    // The message, params and arguments are three levels themselves.
    let inner = levels - 3;
    format!(r#"{{"a":{}{}}}"#, "[".repeat(inner), "]".repeat(inner))
}

type Case = (&'static str, Vec<u8>, (u16, i64, &'static str));

fn duplicates() -> Vec<Case> {
    let greet = r#""params":{"name":"greet"}"#;
    let many: String = (0..40).map(|n| format!(r#""k{n}":0,"#)).collect();
    vec![
        ("params.name twice", call(r#""name":"greet","name":"test_simple_text""#), PARSE),
        ("params.name twice, the same", call(r#""name":"greet","name":"greet""#), PARSE),
        ("params.name escaped", call(r#""name":"greet","n\u0061me":"test_simple_text""#), PARSE),
        ("params.name escaped first", call(r#""\u006Eame":"greet","name":"test_simple_text""#), PARSE),
        ("params.arguments twice", call(r#""name":"greet","arguments":{},"arguments":{"a":1}"#), PARSE),
        ("params.uri twice", message("resources/read", r#"{"uri":"test://a","uri":"test://b"}"#), PARSE),
        ("arguments", arguments(r#"{"name":"a","name":"b"}"#), PARSE),
        ("arguments, escaped", arguments(r#"{"name":"a","nam\u0065":"b"}"#), PARSE),
        ("arguments, escaped solidus", arguments(r#"{"a/b":1,"a\/b":2}"#), PARSE),
        ("arguments, surrogates", arguments(r#"{"😀":1,"\ud83d\ude00":2}"#), PARSE),
        ("arguments, empty keys", arguments(r#"{"":1,"":2}"#), PARSE),
        ("arguments, deep", arguments(r#"{"a":[{"b":[0,{"c":1,"c":2}]}]}"#), PARSE),
        ("arguments, among many", arguments(&format!(r#"{{{many}"k7":1}}"#)), PARSE),
        ("_meta", call(r#""name":"greet","_meta":{"a":1,"a":2}"#), PARSE),
        ("_meta, deep", call(r#""name":"greet","_meta":{"x":{"a":1,"a":2}}"#), PARSE),
        ("_meta twice", call(r#""name":"greet","_meta":{},"_meta":{"progressToken":1}"#), PARSE),
        ("an unknown member of params", call(r#""name":"greet","future":{"a":1,"a":2}"#), PARSE),
        (
            "method",
            envelope(&format!(r#""id":1,"method":"tools/list","method":"tools/call",{greet}"#)),
            PARSE,
        ),
        (
            "method, escaped",
            envelope(&format!(r#""id":1,"method":"tools/list","m\u0065thod":"tools/call",{greet}"#)),
            PARSE,
        ),
        ("id", envelope(&format!(r#""id":1,"id":2,"method":"tools/call",{greet}"#)), PARSE),
        ("params", envelope(&format!(r#""id":1,"method":"tools/call","params":{{}},{greet}"#)), PARSE),
        ("jsonrpc", envelope(&format!(r#""jsonrpc":"2.0","id":1,"method":"tools/call",{greet}"#)), PARSE),
        (
            "an unknown member of the envelope",
            envelope(&format!(r#""id":1,"method":"tools/call",{greet},"y":{{"a":1,"a":2}}"#)),
            PARSE,
        ),
        ("in an answer", envelope(r#""id":1,"result":{"action":"accept","content":{"a":1,"a":2}}"#), PARSE),
    ]
}

fn no_json() -> Vec<Case> {
    let plain = arguments("{}");
    let text = String::from_utf8(plain.clone()).unwrap();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with = |bytes: &[u8]| {
        let mut body = arguments(r#"{"a":"?"}"#);
        let at = body.iter().position(|byte| *byte == b'?').unwrap();
        body.splice(at..=at, bytes.iter().copied());
        body
    };
    vec![
        ("129 levels", arguments(&nested(129)), PARSE),
        ("100,000 levels", arguments(&nested(100_000)), PARSE),
        ("invalid UTF-8", with(b"\xff"), PARSE),
        ("overlong UTF-8", with(b"\xc0\xaf"), PARSE),
        ("a surrogate in UTF-8", with(b"\xed\xa0\x80"), PARSE),
        ("half a surrogate pair", with(br"\ud800"), PARSE),
        ("half a surrogate pair in a key", arguments(r#"{"\ud800":1}"#), PARSE),
        ("NUL in a string", with(b"\0"), PARSE),
        ("a line break in a string", with(b"\n"), PARSE),
        ("NUL at the end", [&plain[..], b"\0"].concat(), PARSE),
        ("a byte order mark", [b"\xef\xbb\xbf", &plain[..]].concat(), PARSE),
        ("UTF-16", utf16, PARSE),
        ("two messages", [&plain[..], b"\n", &plain[..]].concat(), PARSE),
        ("NaN", arguments(r#"{"a":NaN}"#), PARSE),
        ("Infinity", arguments(r#"{"a":-Infinity}"#), PARSE),
        ("a number beyond all", arguments(r#"{"a":1e400}"#), PARSE),
        ("a hexadecimal number", arguments(r#"{"a":0x10}"#), PARSE),
        ("a leading zero", arguments(r#"{"a":01}"#), PARSE),
        ("a plus sign", arguments(r#"{"a":+1}"#), PARSE),
        ("no digit before the point", arguments(r#"{"a":.5}"#), PARSE),
        ("a comment", arguments("{/* */}"), PARSE),
        ("a trailing comma", arguments(r#"{"a":1,}"#), PARSE),
        ("single quotes", arguments("{'a':1}"), PARSE),
        ("cut off", plain[..plain.len() - 2].to_vec(), PARSE),
        ("no message", Vec::new(), PARSE),
        ("a string", format!("\"{MARK}\"").into_bytes(), PARSE),
        ("null", b"null".to_vec(), PARSE),
    ]
}

fn shapes() -> Vec<Case> {
    let batch = format!("[{}]", String::from_utf8(arguments("{}")).unwrap());
    let greet = r#""method":"tools/call","params":{"name":"greet"}"#;
    let with_id = |id: &str| envelope(&format!(r#""id":{id},{greet}"#));
    vec![
        ("a batch", batch.clone().into_bytes(), INVALID),
        ("a batch after blanks", format!(" \r\n\t{batch}").into_bytes(), INVALID),
        ("an empty batch", b"[]".to_vec(), INVALID),
        ("Method", envelope(r#""id":1,"method":"ping","Method":"tools/call""#), INVALID),
        ("METHOD alone", envelope(r#""id":1,"METHOD":"tools/call""#), INVALID),
        ("Params", envelope(&format!(r#""id":1,"Params":{{"name":"test_simple_text"}},{greet}"#)), INVALID),
        ("ID", envelope(&format!(r#""id":1,"ID":2,{greet}"#)), INVALID),
        ("JSONRPC", envelope(&format!(r#""id":1,"JSONRPC":"2.0",{greet}"#)), INVALID),
        ("NAME", call(r#""name":"greet","NAME":"test_simple_text""#), INVALID),
        ("Name, escaped", call(r#""name":"greet","N\u0061me":"test_simple_text""#), INVALID),
        ("Arguments", call(r#""name":"greet","Arguments":{}"#), INVALID),
        ("_Meta", call(r#""name":"greet","_Meta":{}"#), INVALID),
        ("task with a Kelvin sign", call("\"name\":\"greet\",\"tas\u{212a}\":{}"), INVALID),
        ("arguments with a long s", call("\"name\":\"greet\",\"argument\u{17f}\":{}"), INVALID),
        ("URI", message("resources/read", r#"{"uri":"test://a","URI":"test://b"}"#), INVALID),
        ("ProgressToken", call(r#""name":"greet","_meta":{"ProgressToken":1}"#), INVALID),
        (
            "Name in ref",
            message("completion/complete", r#"{"ref":{"type":"ref/prompt","Name":"b"}}"#),
            INVALID,
        ),
        (
            "ResourceSubscriptions",
            message("subscriptions/listen", r#"{"notifications":{"ResourceSubscriptions":["test://a"]}}"#),
            INVALID,
        ),
        ("id null", with_id("null"), INVALID),
        ("id 1.5", with_id("1.5"), INVALID),
        ("id 1e3", with_id("1e3"), INVALID),
        ("id true", with_id("true"), INVALID),
        ("id {}", with_id("{}"), INVALID),
        ("id beyond 64 bits", with_id("99999999999999999999999"), INVALID),
        ("id of a megabyte of digits", with_id(&"9".repeat(1 << 20)), INVALID),
        ("no jsonrpc", format!(r#"{{"id":1,{greet},"x":"{MARK}"}}"#).into_bytes(), INVALID),
        ("jsonrpc 1.0", format!(r#"{{"jsonrpc":"1.0","id":1,{greet},"x":"{MARK}"}}"#).into_bytes(), INVALID),
        ("jsonrpc 2.0 as a number", format!(r#"{{"jsonrpc":2.0,"id":1,{greet}}}"#).into_bytes(), INVALID),
        ("a method that is no string", envelope(r#""id":1,"method":["tools/call"],"params":{}"#), INVALID),
        ("method and result", envelope(&format!(r#""id":1,{greet},"result":{{}}"#)), INVALID),
        ("result and error", envelope(r#""id":1,"result":{},"error":{}"#), INVALID),
        ("neither", envelope(r#""id":1"#), INVALID),
        ("an answer without an id", envelope(r#""result":{}"#), INVALID),
        ("an answer with params", envelope(r#""id":1,"result":{},"params":{"name":"greet"}"#), INVALID),
        ("a call without an id", envelope(greet), INVALID),
        ("a notification with an id", envelope(r#""id":1,"method":"notifications/cancelled""#), INVALID),
    ]
}

/// rmcp takes each of these for a custom request of a known name.
fn known_methods_in_wrong_shapes() -> Vec<Case> {
    vec![
        ("params []", message("tools/call", r#"["greet"]"#), PARAMS),
        ("params null", message("tools/call", "null"), PARAMS),
        ("params a string", message("tools/call", r#""greet""#), PARAMS),
        ("no params", envelope(r#""id":1,"method":"tools/call""#), PARAMS),
        ("no name", call(r#""arguments":{}"#), PARAMS),
        ("name null", call(r#""name":null"#), PARAMS),
        ("name 1", call(r#""name":1"#), PARAMS),
        ("name []", call(r#""name":["greet"]"#), PARAMS),
        ("name {}", call(r#""name":{"name":"greet"}"#), PARAMS),
        ("arguments []", arguments("[]"), PARAMS),
        ("arguments a string", arguments(r#""{}""#), PARAMS),
        ("_meta []", call(r#""name":"greet","_meta":[]"#), PARAMS),
        ("progress token {}", call(r#""name":"greet","_meta":{"progressToken":{}}"#), PARAMS),
        ("progress token 1.5", call(r#""name":"greet","_meta":{"progressToken":1.5}"#), PARAMS),
        (
            "protocol version 1",
            call(r#""name":"greet","_meta":{"io.modelcontextprotocol/protocolVersion":1}"#),
            PARAMS,
        ),
        (
            "capabilities []",
            call(
                r#""name":"greet","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}"#,
            ),
            PARAMS,
        ),
        ("uri missing", message("resources/read", "{}"), PARAMS),
        ("uri []", message("resources/read", r#"{"uri":["test://a"]}"#), PARAMS),
        ("subscribe without uri", message("resources/subscribe", r#"{"name":"a"}"#), PARAMS),
        ("prompt name 1", message("prompts/get", r#"{"name":1}"#), PARAMS),
        ("no ref", message("completion/complete", r#"{"argument":{}}"#), PARAMS),
        ("ref of no type", message("completion/complete", r#"{"ref":{"name":"a"}}"#), PARAMS),
        (
            "ref of another type",
            message("completion/complete", r#"{"ref":{"type":"ref/tool","name":"a"}}"#),
            PARAMS,
        ),
        (
            "ref with the other's member",
            message("completion/complete", r#"{"ref":{"type":"ref/prompt","uri":"test://a"}}"#),
            PARAMS,
        ),
        (
            "ref twice",
            message("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"a","name":"b"}}"#),
            PARSE,
        ),
        ("cursor 1", message("tools/list", r#"{"cursor":1}"#), PARAMS),
        ("no taskId", message("tasks/get", "{}"), PARAMS),
        ("taskId []", message("tasks/cancel", r#"{"taskId":["a"]}"#), PARAMS),
        ("no notifications", message("subscriptions/listen", "{}"), PARAMS),
        ("notifications []", message("subscriptions/listen", r#"{"notifications":[]}"#), PARAMS),
        (
            "resourceSubscriptions a string",
            message("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":"test://a"}}"#),
            PARAMS,
        ),
        (
            "resourceSubscriptions null",
            message("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":null}}"#),
            PARAMS,
        ),
        ("initialize without version", message("initialize", r#"{"capabilities":{}}"#), PARAMS),
        ("setLevel without level", message("logging/setLevel", "{}"), PARAMS),
    ]
}

/// A Go server takes these keys for one, a server on the official SDKs these URIs, one on a file system
/// these names, and one that reads doubles these numbers.
fn read_in_two_ways() -> Vec<Case> {
    let read = |uri: &str| message("resources/read", &json!({ "uri": uri }).to_string());
    let mut cases = vec![
        ("limit and Limit", arguments(r#"{"limit":1,"Limit":100000}"#), PARSE),
        ("limit and LIMIT, escaped", arguments(r#"{"limit":1,"L\u0049MIT":100000}"#), PARSE),
        ("a Kelvin sign", arguments("{\"task\":1,\"tas\u{212a}\":2}"), PARSE),
        ("keys that compose", arguments("{\"\u{e9}\":1,\"e\u{301}\":2}"), PARSE),
        ("keys alike, deep", arguments(r#"{"a":[{"b":{"path":1,"PATH":2}}]}"#), PARSE),
        ("keys alike in an unknown member", call(r#""name":"greet","future":{"a":1,"A":2}"#), PARSE),
        ("keys alike in _meta", call(r#""name":"greet","_meta":{"x/a":1,"x/A":2}"#), PARSE),
        ("2^53 + 1", arguments(r#"{"a":9007199254740993}"#), PARSE),
        ("thirty digits", arguments(r#"{"a":123456789012345678901234567890}"#), PARSE),
        ("an underflow", arguments(r#"{"a":1e-400}"#), PARSE),
        ("more digits than a double has", arguments(r#"{"a":[{"b":10.0000000000000001}]}"#), PARSE),
        ("a tool's name decomposed", call("\"name\":\"gre\u{301}et\""), PARAMS),
        ("a prompt's name decomposed", message("prompts/get", "{\"name\":\"gre\u{301}et\"}"), PARAMS),
        ("dots, subscribe", message("resources/subscribe", r#"{"uri":"test://a/../b"}"#), PARAMS),
        ("dots, unsubscribe", message("resources/unsubscribe", r#"{"uri":"test://a/../b"}"#), PARAMS),
        (
            "dots, complete",
            message(
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","uri":"test://a/../{b}"},"argument":{"name":"b","value":""}}"#,
            ),
            PARAMS,
        ),
        (
            "dots, listen",
            message(
                "subscriptions/listen",
                r#"{"notifications":{"resourceSubscriptions":["test://a","test://a/../b"]}}"#,
            ),
            PARAMS,
        ),
    ];
    cases.extend([
        ("dots", read("file:///docs/../secret/key"), PARAMS),
        ("dots, encoded", read("file:///docs/%2e%2e/secret/key"), PARAMS),
        ("dots, half encoded", read("file:///docs/.%2E/secret/key"), PARAMS),
        ("a scheme in capitals", read("FILE:///docs/a"), PARAMS),
        ("a host in capitals", read("test://Static-text"), PARAMS),
        ("missing slashes", read("file:/docs/a"), PARAMS),
        ("backslashes", read("file:\\\\\\docs\\a"), PARAMS),
        ("a tab inside", read("file:///docs/.\t./secret/key"), PARAMS),
        ("a line end inside", read("file:///docs/.\n./secret/key"), PARAMS),
        ("blanks around", read(" file:///docs/a "), PARAMS),
        ("encoded slashes", read("test://static-text/..%2F..%2Fsecret"), PARAMS),
        ("empty segments of a file", read("file:///docs//secret/key"), PARAMS),
        ("another form of Unicode", read("test://u%CC%88ber"), PARAMS),
        ("a control character", read("test://a%00b"), PARAMS),
        ("no URI", read("../secret/key"), PARAMS),
    ]);
    cases
}

#[test]
fn ambiguous_bodies_are_refused() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let cases =
        [duplicates(), no_json(), shapes(), known_methods_in_wrong_shapes(), read_in_two_ways()].concat();
    for path in ENDPOINTS {
        for (name, body, expected) in &cases {
            let answer = testbed.post(path, body.clone()).send();
            findings.expect(&format!("{path}: {name}"), &answer, *expected);
        }
        // The body is refused before anything else, with any headers and for any caller.
        for (name, body, expected) in cases.iter().step_by(5) {
            let modern = Request::post(&testbed.gateway.address(), path, body.clone())
                .with("MCP-Protocol-Version", STATELESS)
                .with("Mcp-Method", "tools/call")
                .with("Mcp-Name", "greet");
            findings.expect(&format!("{path}: {name}, modern headers"), &modern.send(), *expected);
        }
    }
    testbed.nothing_forged_arrived();
    findings.report();
}

/// Over stdio there are no headers, and a message is a line; otherwise nothing is different.
#[test]
fn ambiguous_lines_are_refused() {
    let cases =
        [duplicates(), no_json(), shapes(), known_methods_in_wrong_shapes(), read_in_two_ways()].concat();
    let is_line = |(name, body, _): &&Case| !body.contains(&b'\n') && *name != "no message";
    // JSON-RPC answers neither notifications nor responses, even invalid ones.
    let is_answered = |(_, body, expected): &&Case| {
        let message: Value = serde_json::from_slice(body).unwrap_or_default();
        let is_request = message.get("id").is_some() && message.get("method").is_some();
        *expected != INVALID || is_request || message.is_array()
    };
    let cases: Vec<_> = cases.iter().filter(is_line).collect();
    assert!(cases.len() > 100);
    let (answers, arrived) = over_stdio(cases.iter().map(|(_, body, _)| body.as_slice()));
    let mut refusals: Vec<_> = answers
        .iter()
        .map(|answer| (answer["error"]["code"].as_i64(), answer["error"]["data"]["reason"].as_str()))
        .collect();
    let mut expected: Vec<_> = cases
        .iter()
        .filter(|case| is_answered(case))
        .map(|(_, _, (_, code, reason))| (Some(*code), Some(*reason)))
        .collect();
    refusals.sort_unstable();
    expected.sort_unstable();
    assert_eq!(refusals, expected);
    assert!(!arrived.contains(MARK), "{arrived}");
}

/// The counterpart: strictness refuses nothing with only one meaning, and such a message arrives unchanged.
#[test]
fn unusual_but_unambiguous_bodies_are_forwarded() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let greet = |id: &str, rest: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools\/call","params":{{"n\u0061me":"greet",{meta}{rest}}}}}"#
        )
    };
    let cases = [
        ("escapes", greet("1", "")),
        ("128 levels", greet("1", &format!(r#","arguments":{}"#, nested(128)))),
        ("the largest id", greet("18446744073709551615", "")),
        ("the least id", greet("-9223372036854775808", "")),
        ("a text as id", greet(r#""\u0000 \"☃""#, "")),
        ("blanks", format!(" \t\r\n{}\n ", greet("1", ""))),
        (
            "numbers",
            greet(
                "1",
                r#","arguments":{"a":1000000000000000000,"b":1.0,"c":1E+2,"d":-0,"e":0.30000000000000004}"#,
            ),
        ),
        ("unknown members", greet("1", r#","future":{"Name":"x"}"#)),
        ("keys alike at different depths", greet("1", r#","arguments":{"name":{"Name":{"NAME":"c"}}}"#)),
    ];
    // At the first message Witgate asks which eras the recorder speaks.
    let _ = testbed.stateless("all", "/record/mcp", "tools/call", json!({ "name": "greet" })).send();
    for (name, body) in &cases {
        let send = |path| {
            let request = testbed.post(path, body.as_str()).with("MCP-Protocol-Version", STATELESS);
            request.with("Mcp-Method", "tools/call").with("Mcp-Name", "greet").send()
        };
        let before = testbed.recorder.seen().len();
        let answer = send("/record/mcp");
        // The recorder itself, which is lenient otherwise, reads no 128 levels.
        let is_answered = answer.result()["content"] != json!(null) || *name == "128 levels";
        findings.check(name, answer.status == 200 && is_answered, &answer);
        let record = testbed.recorder.seen().split_off(before);
        findings.check(&format!("{name}: verbatim"), record.ends_with(body.as_bytes()), &answer);
        let answer = send("/stateless/mcp");
        findings.check(name, answer.status == 200, &answer);
    }
    findings.report();
}
