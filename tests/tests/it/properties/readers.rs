//! Agreement of readers: a URI, a name or a number that passes the strict parser means the same to all readers. URIs
//! are compared with the `url` crate, RFC 3986's rules, Node's `URL` and pydantic's `AnyUrl`; names with readers that
//! compose characters; numbers with readers that keep doubles, integers and decimals.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use url::Url;
use witgate_message::call::Call;
use witgate_plugin::Pattern;
use witgate_tests::clients::Clients;

const URIS: usize = 100_000;
const NAMES: usize = 20_000;
const NUMBERS: usize = 20_000;

#[test]
fn an_accepted_uri_is_the_same_to_every_reader() {
    let uris = generate(&uri(), URIS);
    let passed: Vec<&String> =
        uris.iter().filter(|uri| passes("resources/read", &json!({ "uri": uri }))).collect();
    assert!((20_000..80_000).contains(&passed.len()), "{} of {URIS} passed: little is shown", passed.len());
    let questions: Vec<Value> = passed.iter().map(|uri| json!({ "uri": uri })).collect();
    let (python, node) = ask_both(&questions);
    let mut findings = Vec::new();
    for ((uri, python), node) in passed.iter().zip(&python).zip(&node) {
        let own = reading(uri);
        for (reader, answer) in
            [("pydantic", &python["pydantic"]), ("RFC 3986", &python["rfc"]), ("Node", node)]
        {
            if *answer != own {
                findings.push(format!("{uri:?} is {own} to url, {answer} to {reader}"));
            }
        }
        // A rule can name it, and a `*` in the rule can match any part of it.
        for pattern in [format!("resource:{uri}"), starred(uri)] {
            if !uri.contains('*') && pattern.parse::<Pattern>().is_err() {
                findings.push(format!("{uri:?} passes, and {pattern:?} is refused"));
            }
        }
    }
    assert!(findings.is_empty(), "{} findings, such as:\n{}", findings.len(), first(&findings));
}

#[test]
fn an_accepted_name_is_composed_to_every_reader() {
    let names = generate(&name(), NAMES);
    let passed: Vec<&String> =
        names.iter().filter(|name| passes("tools/call", &json!({ "name": name }))).collect();
    assert!((NAMES / 5..NAMES * 4 / 5).contains(&passed.len()), "{} of {NAMES} passed", passed.len());
    let questions: Vec<Value> = passed.iter().map(|name| json!({ "name": name })).collect();
    let (python, node) = ask_both(&questions);
    for ((name, python), node) in passed.iter().zip(&python).zip(&node) {
        assert_eq!((python, node), (&json!(name), &json!(name)), "{name:?}");
    }
}

#[test]
fn an_accepted_number_is_the_same_to_every_reader() {
    let numbers = generate(&number(), NUMBERS);
    let body = |number: &String| {
        let params = format!(r#"{{"name":"a","arguments":{{"n":{number}}}}}"#);
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#))
    };
    let passed: Vec<&String> = numbers.iter().filter(|number| Call::parse(body(number)).is_ok()).collect();
    assert!((NUMBERS / 5..NUMBERS * 4 / 5).contains(&passed.len()), "{} of {NUMBERS} passed", passed.len());
    let questions: Vec<Value> = passed.iter().map(|number| json!({ "number": number })).collect();
    let (python, node) = ask_both(&questions);
    for ((number, python), node) in passed.iter().zip(&python).zip(&node) {
        let double: f64 = number.parse().unwrap();
        let read = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
        assert_eq!((read(&python[0]), read(node)), (Some(double), Some(double)), "{number}");
        assert_eq!(python[1], true, "{number} is another decimal than its double");
    }
}

fn passes(method: &str, params: &Value) -> bool {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    Call::parse(Bytes::from(body.to_string())).is_ok()
}

/// The parts that each reader returns: the whole, scheme, host, path, query, fragment.
fn reading(uri: &str) -> Value {
    let url = Url::parse(uri).unwrap();
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let [query, fragment] = [url.query(), url.fragment()].map(Option::unwrap_or_default);
    json!([url.as_str(), url.scheme(), host, url.path(), query, fragment])
}

/// The pattern with a `*` for the middle third.
fn starred(uri: &str) -> String {
    let third = uri.len() / 3;
    format!("resource:{}*{}", &uri[..third], &uri[2 * third..])
}

fn first(findings: &[String]) -> String {
    findings.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
}

fn generate(strategy: &impl Strategy<Value = String>, count: usize) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn uri() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        12 => prop::sample::select(vec!["file", "http", "https", "demo", "memo", "ws", "postgres", "x-y.z+1"]),
        1 => prop::sample::select(vec!["FILE", "Http", "1x", "", "javascript", "data"]),
    ];
    let begin =
        prop_oneof![12 => Just("://"), 2 => Just(":///"), 2 => Just(":"), 1 => Just(":/"), 1 => Just("")];
    let authority = prop_oneof![
        6 => "[a-z][a-z0-9-]{0,6}(\\.[a-z][a-z0-9]{0,4})?".prop_map(String::from),
        2 => prop::sample::select(vec![
            "", "example.com", "h:8080", "h:443", "u@h", "127.0.0.1", "[::1]", "xn--bcher-kva.de", "a_b", "a..b", "h.", "*",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "EXAMPLE.com", "h:80", "h:", "h:080", "u:p@h", "@h", "u:@h", "0x7f.1", "127.1", "1", "[0:0::1]", "[::127.0.0.1]",
            "b%C3%BCcher.de", "a b", "h%2Fx", "localhost", "%41", "xn--a", "xn--", "\u{fc}", "h:99999", "[v1.a]", "-", "a'b", "a;b",
        ]).prop_map(str::to_owned),
    ];
    let segment = prop_oneof![
        10 => "[a-zA-Z0-9._~!$&()+,;=:@-]{1,8}".prop_map(String::from),
        3 => prop::sample::select(vec!["a%20b", "%C3%BC", "c%2Fd", "...", "a..", "*", "C:", "", "%25", "%23", "v=1;w"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "..", ".", "%2e", "%2E%2E", ".%2e", "..%2F", "..%5Cb", "a b", "\u{fc}", "u%CC%88", "%FF", "%00", "\t", "a\\b", "'",
            "[", "|", "^", "{x}", "C|", "%7E", "%7e", "%2f", "%", "%zz", "\"", "`", "\u{7f}", "\u{200b}", "\u{ff0e}\u{ff0e}",
        ]).prop_map(str::to_owned),
    ];
    let path = prop::collection::vec(segment, 0..4)
        .prop_map(|segments| segments.iter().fold(String::new(), |path, segment| path + "/" + segment));
    let tail = |mark: &'static str| {
        prop_oneof![
            10 => Just(String::new()),
            3 => "[a-zA-Z0-9._~!$&()+,;=:@/?-]{0,8}".prop_map(move |text| format!("{mark}{text}")),
            1 => prop::sample::select(vec!["a='b'", "a[]=1", "../x", "\u{fc}", "%20", "a b", "%e4", "#", "%0A", "`"])
                .prop_map(move |text| format!("{mark}{text}")),
        ]
    };
    let whole = (scheme, begin, authority, path, tail("?"), tail("#")).prop_map(
        |(scheme, begin, authority, path, query, fragment)| {
            let authority = if begin == "://" { authority } else { String::new() };
            format!("{scheme}{begin}{authority}{path}{query}{fragment}")
        },
    );
    let odd = prop::sample::select(
        "\t\n\r %\\/.:@?#A\u{0}\u{fc}\u{2024}\u{3002}[]'^|{}".chars().collect::<Vec<_>>(),
    );
    (whole, prop::option::weighted(0.1, (odd, any::<prop::sample::Index>()))).prop_map(|(mut uri, change)| {
        if let Some((odd, index)) = change {
            let places: Vec<usize> = uri.char_indices().map(|(at, _)| at).chain([uri.len()]).collect();
            uri.insert(*index.get(&places), odd);
        }
        uri
    })
}

/// Letters with marks, in whatever order and form.
fn name() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z_]{1,4}".prop_map(String::from),
        4 => prop::sample::select("\u{e9}\u{fc}\u{df}\u{d55c}\u{ae00}\u{4e2d}\u{3b1}\u{416}\u{e01}\u{939}\u{1e9b}\u{1ea5}".chars().collect::<Vec<_>>())
            .prop_map(String::from),
        4 => prop::sample::select(
            "\u{300}\u{301}\u{308}\u{323}\u{327}\u{93c}\u{1161}\u{11a8}\u{1100}\u{212b}\u{2126}\u{340}\u{f73}\u{958}\u{fb1d}\u{2000}"
                .chars()
                .collect::<Vec<_>>()
        )
        .prop_map(String::from),
    ];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,21})",
        "-?(0|[1-9][0-9]{0,9})\\.[0-9]{1,18}",
        "-?[1-9](\\.[0-9]{1,18})?[eE][-+]?[0-9]{1,3}",
        any::<f64>()
            .prop_filter("JSON has finite ones", |number| number.is_finite())
            .prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON has finite ones", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        any::<i64>().prop_map(|number| number.to_string()),
        (1_u64 << 52..1 << 55).prop_map(|number| number.to_string()),
    ]
}

fn ask_both(questions: &[Value]) -> (Vec<Value>, Vec<Value>) {
    let clients = Clients::installed().unwrap();
    (ask(clients.python(), "readers.py", questions), ask(clients.node(), "readers.mjs", questions))
}

/// The results of another reader, in the order of its inputs.
fn ask(program: PathBuf, script: &str, questions: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges").join(script);
    let mut command = Command::new(program);
    command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = questions.iter().map(|one| one.to_string() + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let answers: Vec<Value> = answers.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success(), "{command:?}");
    assert_eq!(answers.len(), questions.len());
    answers
}
