//! What the operator reads when a component fails: where it was, what it had said, and what was asked.

use serde_json::json;
use witgate_tests::gateway::{Running, Setup};

use crate::talk::Caller;

/// A guest of an interpreted language imports all that its world has.
const GRANTS: &str = "grants = { crypto = true, cache = true, http = [\"https://example.com\"], secrets = [\"vault\"] }\n\
                      limits = { memory_mib = 64, timeout_ms = 20000 }";

/// A gateway whose authorizer is this component.
fn gateway(name: &str) -> (Running, Caller) {
    let setup = Setup::new();
    setup.component(name);
    let file = name.rsplit('/').next().unwrap();
    setup.config(
        "",
        &format!(
            "[keys.vault]\nsecret = {{ file = \"vault\" }}\n[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.rules]\nkind = \"custom\"\ncomponent = \"plugins/{file}.wasm\"\n{GRANTS}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n"
        ),
    );
    setup.file("vault", "0123456789abcdef0123456789abcdef");
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    (running, caller)
}

/// The line of the log that says so.
async fn fails(name: &str, tool: &str) -> (Running, String) {
    let (running, caller) = gateway(name);
    let answer = caller.call(tool, json!({})).await;
    assert_eq!(answer.reason(), Some("trap"), "{answer:?}");
    let log = running.await_log("the component failed");
    let line = log.lines().find(|line| line.contains("the component failed")).unwrap().to_owned();
    assert!(line.contains(&format!("asked=\"tools/call {tool}\"")), "{line}");
    (running, line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_shows_functions_and_lines_where_the_component_has_them() {
    let (_running, line) = fails("tests/faulty-debug", "traps").await;
    assert!(line.contains("it panicked or aborted"), "{line}");
    assert!(line.contains("tests/guests/faulty/src/lib.rs:40)"), "{line}");
    // Neither the standard library nor the glue around the hook.
    assert!(!line.contains("/rustc/") && !line.contains("sdk/src/guest"), "{line}");
    assert!(line.len() < 4000, "{} bytes", line.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_says_so_where_the_component_has_no_names() {
    let (_running, line) = fails("tests/faulty", "traps").await;
    assert!(line.contains("has no names of its functions") && line.contains("--debug"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until `cargo xtask guests` builds guests in Python"]
async fn a_trap_of_python_shows_its_traceback() {
    let (running, line) = fails("tests/faulty-python", "raises").await;
    for part in ["in look_up", "in authorize", "KeyError: 'raises'", "info: about to look up a rule"] {
        assert!(line.contains(part), "no {part}: {line}");
    }
    let log = running.log();
    assert!(log.contains("ERROR witgate::plugin: KeyError: 'raises'"), "{log}");
    assert!(log.contains("DEBUG witgate::plugin: a line on standard output"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until `cargo xtask guests` builds guests in Python"]
async fn what_a_component_writes_has_the_bounds_of_what_it_logs() {
    let (running, caller) = gateway("tests/faulty-python");
    let answer = caller.call("talks", json!({})).await;
    assert_ne!(answer.reason(), Some("trap"), "{answer:?}");
    let log = running.await_log("witgate::plugin: line 999");
    let lines = log.lines().filter(|line| line.contains("witgate::plugin: line ")).count();
    assert_eq!(lines, 32, "{log}");
    assert!(log.contains("is left out") && !log.contains('\u{1b}'), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until `cargo xtask guests` builds guests in JavaScript, with `stdio`"]
async fn a_trap_of_javascript_shows_its_stack() {
    let (_running, line) = fails("tests/faulty-javascript", "throws").await;
    for part in ["rules[name] is undefined", "lookUp@app.js:26", "authorize@app.js:19"] {
        assert!(line.contains(part), "no {part}: {line}");
    }
}
