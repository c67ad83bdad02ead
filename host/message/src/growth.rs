//! Tests that the time of the parsers of messages grows no faster than the messages.

use bytes::Bytes;

use witgate_testing::growth::assert_linear;

use crate::call::Call;

/// The name of a case, the first size, and the function that makes a message of a given size.
type Case = (&'static str, usize, fn(usize) -> Bytes);

fn joined(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

fn members(count: usize, name: &str) -> String {
    joined(count, |n| format!(r#""{name}{n}":{n}"#))
}

fn request(method: &str, params: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#).into()
}

fn arguments(arguments: &str) -> Bytes {
    request("tools/call", &format!(r#"{{"name":"a","arguments":{arguments}}}"#))
}

#[test]
fn the_parse_of_a_message_is_linear() {
    let cases: [Case; 19] = [
        ("members of the envelope", 10_000, |n| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping",{}}}"#, members(n, "k")).into()
        }),
        ("members of params", 10_000, |n| request("x/y", &format!("{{{}}}", members(n, "k")))),
        ("members of _meta", 10_000, |n| request("ping", &format!(r#"{{"_meta":{{{}}}}}"#, members(n, "k")))),
        ("members of arguments", 10_000, |n| arguments(&format!("{{{}}}", members(n, "k")))),
        ("capital members", 10_000, |n| arguments(&format!("{{{}}}", members(n, "KEY")))),
        ("members outside of ASCII", 5_000, |n| arguments(&format!("{{{}}}", members(n, "\u{c4}")))),
        ("a member of marks", 50_000, |n| arguments(&format!(r#"{{"a{}":1}}"#, "\u{301}\u{323}".repeat(n)))),
        ("members with escapes", 10_000, |n| arguments(&format!("{{{}}}", members(n, r"\u0061")))),
        ("objects", 5_000, |n| {
            arguments(&format!(r#"{{"a":[{}]}}"#, joined(n, |_| r#"{"a":1,"b":{"a":2}}"#.into())))
        }),
        ("deep arrays", 200, |n| {
            let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
            arguments(&format!(r#"{{"a":[{}]}}"#, joined(n, |_| deep.clone())))
        }),
        ("numbers", 20_000, |n| arguments(&format!(r#"{{"a":[{}]}}"#, joined(n, |n| format!("{n}.5e-3"))))),
        ("digits of a number", 100_000, |n| arguments(&format!(r#"{{"a":1.{}e2}}"#, "0".repeat(n)))),
        ("strings", 20_000, |n| arguments(&format!(r#"{{"a":[{}]}}"#, joined(n, |_| r#""x\n""#.into())))),
        ("a string with escapes", 100_000, |n| arguments(&format!(r#"{{"a":"{}"}}"#, r#"\""#.repeat(n)))),
        ("blanks", 400_000, |n| arguments(&format!(r#"{{"a":{}1}}"#, " ".repeat(n)))),
        ("tasks of a subscription", 500, |n| {
            let tasks = joined(n, |n| format!(r#""t{n}""#));
            request("subscriptions/listen", &format!(r#"{{"notifications":{{"taskIds":[{tasks}]}}}}"#))
        }),
        ("resources of a subscription", 500, |n| {
            let uris = joined(n, |n| format!(r#""file:///a/{n}""#));
            request(
                "subscriptions/listen",
                &format!(r#"{{"notifications":{{"resourceSubscriptions":[{uris}]}}}}"#),
            )
        }),
        ("segments of a URI", 1_000, |n| {
            request("resources/read", &format!(r#"{{"uri":"file:///{}"}}"#, "%C3%BC/".repeat(n / 2)))
        }),
        ("expressions of a template", 1_000, |n| {
            let uri = format!("file:///{}", "{a}/".repeat(n / 2));
            let reference = format!(r#"{{"ref":{{"type":"ref/resource","uri":"{uri}"}}}}"#);
            request("completion/complete", &reference)
        }),
    ];
    for (what, size, make) in cases {
        assert!(Call::parse(make(size)).is_ok(), "{what}: {:?}", Call::parse(make(size)));
        assert_linear(what, size, make, |body| drop(Call::parse(body)));
    }
}

#[test]
fn the_refusal_of_a_message_is_linear() {
    let cases: [Case; 5] = [
        ("tasks of a subscription", 20_000, |n| {
            let tasks = joined(n, |n| format!(r#""t{n}""#));
            request("subscriptions/listen", &format!(r#"{{"notifications":{{"taskIds":[{tasks}]}}}}"#))
        }),
        ("a name", 200_000, |n| request("tools/call", &format!(r#"{{"name":"{}"}}"#, "\u{e9}".repeat(n)))),
        ("a URI", 200_000, |n| request("resources/read", &format!(r#"{{"uri":"x:{}"}}"#, "/..".repeat(n)))),
        ("a method", 400_000, |n| request(&"x".repeat(n), "{}")),
        ("an id", 400_000, |n| {
            format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(n)).into()
        }),
    ];
    for (what, size, make) in cases {
        assert!(Call::parse(make(size)).is_err(), "{what}");
        assert_linear(what, size, make, |body| drop(Call::parse(body)));
    }
}

#[test]
fn splitting_and_joining_an_object_is_linear() {
    use crate::json::{Members, names, splice};
    let make = |n| format!("{{{}}}", members(n, "k"));
    assert_linear("members", 10_000, make, |text| {
        let mut members = Members::read(&text).unwrap();
        members.set("k7", "1".to_owned());
        members.remove("k8");
        assert!(members.render().len() > 10);
    });
    assert_linear("names", 10_000, make, |text| assert!(names(&text).contains("k7")));
    assert_linear(
        "splices",
        20_000,
        |n| "x".repeat(n),
        |text| {
            let mut splices: Vec<_> = (0..text.len() / 10).map(|n| (n * 10..n * 10 + 1, "y")).collect();
            assert_eq!(splice(text.as_bytes(), &mut splices).len(), text.len());
        },
    );
}

#[test]
fn the_view_of_policies_on_a_message_is_linear() {
    use witgate_plugin::{Glob, json};
    let make = |n| format!("{{{}}}", members(n, "k"));
    assert_linear("arguments", 10_000, make, |text| {
        assert!(json::parse(&text).unwrap().pointer("/k7").is_some());
    });
    let glob = Glob::new("*a*a*b*a*c");
    assert_linear("a name under a pattern", 200_000, |n| "a".repeat(n), |name| assert!(!glob.matches(&name)));
}
