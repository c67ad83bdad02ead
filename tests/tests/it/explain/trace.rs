//! `witgate trace` beside a running gateway.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup};

use super::config;
use crate::caller::Caller;

/// Starts to watch, and waits until it has begun.
fn watch(running: &Running, arguments: &[&str]) -> Child {
    let mut command = running.setup().command(&[&["trace"], arguments].concat());
    let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(watching.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("watching decisions"), "{said}");
    watching
}

fn shown(watching: Child) -> String {
    let output = watching.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_shown_as_they_are_made() {
    let setup = Setup::new();
    config(&setup, "");
    let key = setup.key(&["ada", "--role", "user", "--allow", "*"]);
    let running = setup.serve();
    let all = watch(&running, &["-n", "3"]);
    let denied = watch(&running, &["--outcome", "denied", "-n", "1"]);
    let of_others = watch(&running, &["--subject", "ben"]);
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("echo", json!({ "text": "abc" })).await.is_result());
    assert!(!caller.call("add", json!({ "a": 1, "b": 2 })).await.is_result());
    assert!(!Caller::new(running.url(), Some("wgk_unknown")).call("echo", json!({})).await.is_result());
    let all = shown(all);
    let outcomes: Vec<_> =
        ["  allowed  ", "  denied  ", "  refused  "].iter().map(|of| all.find(of)).collect();
    assert!(outcomes.is_sorted() && outcomes.iter().all(Option::is_some), "{all}");
    assert!(all.contains("authorize roles (builtin): allow"), "{all}");
    assert!(all.contains("authenticate keys (builtin): identity"), "{all}");
    assert!(!all.contains("abc") && !all.contains(&key), "{all}");
    let denied = shown(denied);
    assert!(denied.contains("  add  subject ada  policy roles  reason not-allowed  id "), "{denied}");
    assert!(!denied.contains("allowed  own"), "{denied}");
    let mut of_others = of_others;
    of_others.kill().unwrap();
    assert_eq!(of_others.wait_with_output().unwrap().stdout, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_gateway_ends_a_trace_and_json_has_a_line_for_each_decision() {
    let setup = Setup::new();
    config(&setup, "");
    let key = setup.key(&["ada", "--role", "admin", "--allow", "*"]);
    let mut running = setup.serve();
    let watching = watch(&running, &["--tool", "echo"]);
    let mut command = running.setup().command(&["--json", "trace", "--tool", "echo", "-n", "1"]);
    let mut as_json = command.stdout(Stdio::piped()).spawn().unwrap();
    let caller = Caller::new(running.url(), Some(&key));
    // With `--json`, nothing says that it has begun.
    while as_json.try_wait().unwrap().is_none() {
        assert!(caller.call("echo", json!({ "text": "abc" })).await.is_result());
    }
    let line: Value = serde_json::from_str(&shown(as_json)).unwrap();
    assert_eq!(
        (&line["outcome"], &line["target"], &line["subject"]),
        (&json!("allowed"), &json!("echo"), &json!("ada"))
    );
    assert_eq!(line["hooks"][0]["policy"], "keys");
    assert!(line["stages"]["authorize"].is_u64(), "{line}");
    running.signal("TERM");
    running.wait();
    let output = watching.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Witgate has stopped"), "{output:?}");
}
