//! The report of a component's failure to the operator: the place of the failure, the component's output, and the
//! question.

mod sections;

use std::time::{Duration, Instant};

use serde_json::json;
use witgate_tests::gateway::{Running, Setup, component};

use crate::caller::Caller;

/// A guest of an interpreted language imports all that its world has.
const GRANTS: &str = "grants = { crypto = true, cache = true, http = [\"https://example.com\"], secrets = [\"vault\"] }\n\
                      limits = { memory_mib = 64, timeout_ms = 20000 }";

/// A gateway whose authorizer is this component.
fn gateway(name: &str) -> (Running, Caller) {
    gateway_of(&std::fs::read(component(name)).unwrap())
}

fn gateway_of(content: &[u8]) -> (Running, Caller) {
    let setup = Setup::new();
    setup.file("plugins/own.wasm", content);
    setup.config(
        "",
        &format!(
            "[keys.vault]\nsecret = {{ file = \"vault\" }}\n[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.rules]\nkind = \"custom\"\ncomponent = \"plugins/own.wasm\"\n{GRANTS}\n\
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
async fn a_trap_shows_functions_if_the_component_has_their_names() {
    let (_running, line) = fails("tests/faulty-debug", "traps").await;
    assert!(line.contains("it panicked or aborted"), "{line}");
    assert!(line.contains("witgate:auth/authorization@0.1.0#authorize"), "{line}");
    assert!(line.contains("its last output: error: panicked at"), "{line}");
    assert!(line.len() < 4000, "{} bytes", line.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_reports_missing_names_of_the_component() {
    let (_running, line) = fails("tests/faulty", "traps").await;
    assert!(line.contains("has no names of its functions") && line.contains("--debug"), "{line}");
    // The component's own message, which says more than function names.
    assert!(line.contains("its last output: error: panicked at") && line.contains("asked to"), "{line}");
}

/// Debug information that says the same a hundred times over, and is read for each frame of each trap by who reads it.
#[tokio::test(flavor = "multi_thread")]
async fn slow_debug_information_does_not_slow_the_gateway() {
    let plain = std::fs::read(component("tests/faulty-debug")).unwrap();
    let slow = sections::repeated(&plain, ".debug_info", 100);
    assert!(slow.len() > 20 * plain.len(), "{} bytes", slow.len());

    let setup = Setup::new();
    setup.file("slow.wasm", &slow);
    let file = component("tests/faulty-debug").display().to_string();
    let by_command = |file: &str| {
        let output = setup.run(&["--json", "plugin", "run", file, "--call", "traps"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["asked"][0]["wall_us"].as_u64().unwrap()
    };
    let (fast_read, slow_read) = (by_command(&file), by_command("slow.wasm"));
    assert!(slow_read > 5 * fast_read, "it is none: {slow_read} µs, and {fast_read} µs");

    let (own, other) = (gateway_of(&plain), gateway_of(&slow));
    let took = [trapping(&own.1).await, trapping(&other.1).await];
    assert!(
        took[1] < 3 * took[0] + Duration::from_millis(20),
        "{took:?}, where a command takes {slow_read} µs"
    );
}

/// The median of how long a call takes that ends in a trap.
async fn trapping(caller: &Caller) -> Duration {
    let mut took = Vec::new();
    for _ in 0..9 {
        let began = Instant::now();
        let answer = caller.call("traps", json!({})).await;
        took.push(began.elapsed());
        assert_eq!(answer.reason(), Some("trap"), "{answer:?}");
    }
    took.sort_unstable();
    took[took.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
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
async fn output_of_a_component_has_the_limits_of_its_log() {
    let (running, caller) = gateway("tests/faulty-python");
    let answer = caller.call("talks", json!({})).await;
    assert_ne!(answer.reason(), Some("trap"), "{answer:?}");
    let log = running.await_log("witgate::plugin: line 999");
    let lines = log.lines().filter(|line| line.contains("witgate::plugin: line ")).count();
    assert_eq!(lines, 32, "{log}");
    assert!(log.contains("is left out") && !log.contains('\u{1b}'), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_of_javascript_shows_its_stack() {
    let (_running, line) = fails("tests/faulty-javascript", "throws").await;
    for part in ["rules[name] is undefined", "lookUp@app.js:26", "authorize@app.js:19"] {
        assert!(line.contains(part), "no {part}: {line}");
    }
}
