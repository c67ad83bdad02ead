//! The shutdown: running calls finish, new ones are refused, and nothing is left behind.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some, workspace};

use crate::caller::{Answer, Caller, alive, until};

/// Longer than the slow call and than any pause of a machine.
const GRACE: u64 = 20;

fn setup(grace: u64, stubborn: bool) -> Setup {
    let setup = Setup::new();
    let script = workspace().join("tests/tests/it/faulty_server.py");
    let pids = setup.dir().join("pids");
    let stubborn = if stubborn { ", STUBBORN = \"1\"" } else { "" };
    setup.config(
        &format!("shutdown_grace_s = {grace}"),
        &format!(
            "[upstreams.faulty]\ncommand = [\"python3\", {script:?}]\nenv = {{ PIDS = {pids:?}{stubborn} }}\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {{ user = {{ allow = [\"*\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n"
        ),
    );
    setup
}

fn serve(grace: u64, stubborn: bool) -> (Running, Caller) {
    let setup = setup(grace, stubborn);
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    (running, caller)
}

/// Every process that was started, with its descendants, and those for the detection of the era.
fn pids(setup: &Setup) -> Vec<u64> {
    let text = std::fs::read_to_string(setup.dir().join("pids")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn assert_nothing_left(setup: &Setup) {
    let pids = pids(setup);
    assert!(pids.len() >= 2, "{pids:?}");
    await_some(&format!("{pids:?} to end"), || pids.iter().all(|pid| !alive(*pid)).then_some(()));
    assert!(!setup.dir().join("witgate.sock").exists(), "the socket was left");
}

/// Begins a call that takes a while, and returns once it has begun.
async fn begin(
    running: &Running,
    caller: &Caller,
    seconds: f64,
) -> tokio::task::JoinHandle<reqwest::Result<Answer>> {
    let warm = caller.call("pids", json!({})).await;
    assert!(warm.is_result(), "{warm:?}");
    let other = caller.clone();
    let call = tokio::spawn(async move { other.try_call("slow", json!({ "seconds": seconds })).await });
    let mark = running.setup().dir().join("pids.slow");
    until("the call to begin", async || mark.exists().then_some(())).await;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_call_finishes_and_new_ones_are_refused() {
    let (mut running, caller) = serve(GRACE, false);
    // The socket may come a moment after the port.
    let socket = running.setup().dir().join("witgate.sock");
    until("the control socket to be there", async || socket.exists().then_some(())).await;
    let session = caller.open_session().await;
    let _stream = caller.listen(&session).await;
    let call = begin(&running, &caller, 2.0).await;
    let ready = async || reqwest::get(format!("{}/readyz", running.admin_url())).await.unwrap().status();
    assert_eq!(ready().await, 200);
    let start = Instant::now();
    running.signal("TERM");
    running.await_log("stopping");
    until("readyz to say no", async || (ready().await == 503).then_some(())).await;
    until("new calls to be refused", async || {
        let new = Caller::new(running.url(), None).try_call("pids", json!({})).await;
        new.is_err().then_some(())
    })
    .await;
    assert!(!call.is_finished(), "the call is still running while others are refused");
    let answer = call.await.unwrap().unwrap();
    assert!(answer.is_result() && answer.content() == "done", "{answer:?}");
    assert_eq!(running.wait(), Some(0), "{}", running.log());
    assert!(start.elapsed() < Duration::from_secs(GRACE), "an open stream does not use up the grace");
    assert_nothing_left(running.setup());
}

/// Neither the child nor its own child reacts to the end of its input or to SIGTERM; and one call never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_finish_in_time_is_ended() {
    let (mut running, caller) = serve(1, true);
    let call = begin(&running, &caller, 1000.0).await;
    let start = Instant::now();
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0), "{}", running.log());
    // The grace, and what a child gets to end by itself and on SIGTERM.
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert_nothing_left(running.setup());
    drop(call);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_witgate_at_once() {
    let (mut running, caller) = serve(GRACE, true);
    let _call = begin(&running, &caller, 1000.0).await;
    running.signal("INT");
    running.await_log("stopping");
    let start = Instant::now();
    running.signal("TERM");
    let code = running.wait();
    assert!(start.elapsed() < Duration::from_secs(GRACE / 2), "{:?}", start.elapsed());
    assert!(code.is_some_and(|code| code != 0), "{code:?}: what was cut off did not end well");
    let log = running.log();
    let has_record = log.lines().any(|line| line.contains("witgate::audit") && line.contains(r#""slow""#));
    assert!(has_record, "the call that was cut off has a record: {log}");
    assert_nothing_left(running.setup());
}

/// The client closes its end: running calls are answered, then the process ends.
#[test]
fn the_end_of_input_ends_witgate_over_stdio() {
    let setup = setup(GRACE, false);
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let mut child = setup
        .command(&["serve", "--transport", "stdio"])
        .env("MCP_API_KEY", &key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut next_message = || -> Value { serde_json::from_str(&lines.next().expect("a line")).unwrap() };
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
    let mut say = |message: Value| writeln!(input, "{message}").unwrap();
    say(json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }));
    assert_eq!(next_message()["id"], 1);
    say(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    say(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": { "name": "slow", "arguments": { "seconds": 0.5 } } }));
    drop(input);
    let answer = next_message();
    assert!(answer["id"] == 2 && answer["result"].is_object(), "what ran is answered: {answer}");
    let status = await_some("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_nothing_left(&setup);
}
