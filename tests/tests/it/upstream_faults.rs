//! Upstreams that crash, hang, send nonsense or send too much: callers get a clear error within a time limit, and no
//! other caller is affected.

mod bad_http;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::gateway::{PATIENCE, Running, Setup, workspace};

use crate::caller::{Answer, Caller, alive, until};

/// The `timeout_s` of upstreams that do not answer. The first answer of a child takes the time of its start.
const TIMEOUT: u64 = 4;

/// That of upstreams that do answer, however slow the machine is.
const LONG: u64 = 100;

/// Time limit for an error: the timeout, and a reserve for a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// Upstreams, each at its own path: `NAME = SETTINGS`. Without a `timeout_s`, it is [`TIMEOUT`].
fn serve(upstreams: &[(&str, String)]) -> (Running, impl Fn(&str) -> Caller + use<>) {
    let setup = Setup::new();
    let mut text = String::new();
    for (name, settings) in upstreams {
        text += &format!("[upstreams.{name}]\n{settings}\n");
        if !settings.contains("timeout_s") {
            text += &format!("timeout_s = {TIMEOUT}\n");
        }
    }
    setup.config(
        "shutdown_grace_s = 1",
        &format!(
            "{text}[policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {{ user = {{ allow = [\"*\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n"
        ),
    );
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let running = setup.serve();
    let address = running.address();
    (running, move |name: &str| Caller::new(format!("http://{address}/{name}/mcp"), Some(&key)))
}

/// A child that fails in the way that the tool's name says.
fn faulty_server() -> String {
    let script = workspace().join("tests/tests/it/faulty_server.py");
    format!("command = [\"python3\", {script:?}]")
}

/// The same, whose answers come, and may take long on a slow machine.
fn answering_server() -> String {
    format!("{}\ntimeout_s = {LONG}", faulty_server())
}

/// A JSON-RPC error of the caller's request, with the reason and a sentence, in time.
fn assert_fault(what: &str, answer: &Answer, reason: &str) {
    assert_eq!(answer.reason(), Some(reason), "{what}: {answer:?}");
    assert_eq!((answer.status, &answer.body["id"]), (200, &json!(7)), "{what}: {answer:?}");
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.contains(' ') && !message.contains("panic"), "{what}: {message}");
    let bound = if reason == "upstream-timeout" { BOUND } else { PATIENCE };
    assert!(answer.took < bound, "{what}: {answer:?}");
}

async fn pid(caller: &Caller) -> u64 {
    let answer = caller.call("pids", json!({})).await;
    assert!(answer.is_result(), "{answer:?}");
    answer.content()[0].as_u64().unwrap()
}

/// The process that serves, once there is one.
async fn served_again(caller: &Caller) -> u64 {
    let start = Instant::now();
    loop {
        let answer = caller.call("pids", json!({})).await;
        if answer.is_result() {
            return answer.content()[0].as_u64().unwrap();
        }
        assert!(start.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const FAULTS: [(&str, &str); 7] = [
    ("crash", "upstream-unreachable"),
    ("hang", "upstream-timeout"),
    ("never", "upstream-timeout"),
    ("garbage", "upstream-timeout"),
    ("bytes", "upstream-timeout"),
    ("huge", "upstream-flood"),
    ("unasked", "upstream-flood"),
];

/// Faults that cost a call but not the process: it answers the next call.
const MILD: [&str; 4] = ["never", "garbage", "bytes", "huge"];

/// Each fault on its own upstream at the same time, so that none has to wait for another's
/// back-off, and one that does nothing wrong beside them.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_children_fail_their_calls() {
    let server = |reason: &str| match reason {
        "upstream-timeout" => faulty_server(),
        _ => answering_server(),
    };
    let mut upstreams = FAULTS.map(|(name, reason)| (name, server(reason))).to_vec();
    upstreams.push(("steady", answering_server()));
    let (running, caller) = serve(&upstreams);
    let steady = caller("steady");
    let steady_pid = pid(&steady).await;
    let tasks = FAULTS.map(|(name, reason)| {
        let caller = caller(name);
        tokio::spawn(async move {
            let before = pid(&caller).await;
            assert_fault(name, &caller.call(name, json!({})).await, reason);
            // A session of the stateful era has a child of its own, and gets the same error.
            let session = caller.open_session().await;
            assert_fault(name, &caller.call_in(&session, name, json!({})).await, reason);
            let after = served_again(&caller).await;
            assert_eq!(before == after, MILD.contains(&name), "{name}: {before} and {after}");
            // So does the session, once its own child has been felt for.
            let start = Instant::now();
            while !caller.call_in(&session, "pids", json!({})).await.is_result() {
                assert!(start.elapsed() < PATIENCE, "{name}: the session does not go on");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (name, before)
        })
    });
    let mut slowest = Duration::ZERO;
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        let answer = steady.call("pids", json!({})).await;
        assert!(answer.is_result(), "{answer:?}");
        slowest = slowest.max(answer.took);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for task in tasks {
        let (name, before) = task.await.unwrap();
        if !MILD.contains(&name) {
            until("the old child to end", async || (!alive(before)).then_some(())).await;
        }
    }
    assert_eq!(pid(&steady).await, steady_pid, "its child is still the first");
    assert!(slowest < BOUND, "{slowest:?}");
    assert!(rss(&running) < 400 << 10, "what floods is not kept: {} KiB", rss(&running));
}

/// The delay grows, and meanwhile the caller learns when to retry.
#[tokio::test(flavor = "multi_thread")]
async fn pauses_between_restarts_of_a_crashing_child_grow() {
    let (_running, caller) = serve(&[("broken", answering_server()), ("steady", answering_server())]);
    let (broken, steady) = (caller("broken"), caller("steady"));
    let mut waits = Vec::new();
    let reason = loop {
        let answer = broken.call("crash", json!({})).await;
        assert_fault("crash", &answer, "upstream-unreachable");
        let message = answer.body["error"]["message"].as_str().unwrap().to_owned();
        if message.contains("started again in") {
            break message;
        }
        waits.push(answer.took);
        assert!(waits.len() < 12, "there is no back-off: {waits:?}");
    };
    assert!(waits.len() >= 3, "the first restarts come soon: {waits:?}");
    assert!(waits.last().unwrap() > &waits[1], "{waits:?}");
    let start = Instant::now();
    assert!(steady.call("pids", json!({})).await.is_result());
    assert!(start.elapsed() < BOUND);
    assert!(reason.ends_with(" s"), "{reason}");
    // After the delay the child is started again.
    until("it to be started again", async || broken.call("pids", json!({})).await.is_result().then_some(()))
        .await;
}

/// Programs that end before they speak.
#[tokio::test(flavor = "multi_thread")]
async fn children_that_do_not_start_fail_their_calls() {
    let shell = |what: &str| format!("command = [\"sh\", \"-c\", {what:?}]");
    let cases = [
        ("exits", shell("exit 3"), "upstream-unreachable"),
        ("speaks", shell("yes this is no JSON"), "upstream-bad-answer"),
        ("silent", shell("exec sleep 1000"), "upstream-timeout"),
        ("deaf", shell("exec <&-; exec sleep 1000"), "upstream-"),
    ];
    let upstreams: Vec<_> = cases.iter().map(|(name, settings, _)| (*name, settings.clone())).collect();
    let (_running, caller) = serve(&[&upstreams[..], &[("steady", answering_server())]].concat());
    for (name, _, reason) in cases {
        let caller = caller(name);
        let start = Instant::now();
        let answer = caller.call("pids", json!({})).await;
        let code = answer.reason().unwrap_or_default();
        assert!(code.starts_with(reason), "{name}: {answer:?}");
        // Witgate tries both eras before it gives up.
        assert!(start.elapsed() < 2 * BOUND, "{name}: {:?}", start.elapsed());
        assert_eq!(answer.body["id"], 7);
    }
    assert!(caller("steady").call("pids", json!({})).await.is_result());
}

/// The memory that the process has, in KiB.
fn rss(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// HTTP upstreams with one fault each.
#[tokio::test(flavor = "multi_thread")]
async fn faults_over_http_fail_their_calls() {
    use bad_http::{Bad, Server};

    let list = |bad| (bad, "tools/list");
    let call = |bad| (bad, "tools/call");
    let cases: Vec<((Bad, &str), &str)> = vec![
        (call(Bad::HangsUp), "upstream-unreachable"),
        (call(Bad::BreaksOff), "upstream-unreachable"),
        (call(Bad::Hangs), "upstream-timeout"),
        (call(Bad::HangsInTheMiddle), "upstream-timeout"),
        (list(Bad::HangsInTheMiddle), "upstream-timeout"),
        (call(Bad::Html), "upstream-bad-answer"),
        (call(Bad::NoJson), "upstream-bad-answer"),
        (list(Bad::NoJson), "upstream-bad-answer"),
        (call(Bad::OtherId), "upstream-bad-answer"),
        (call(Bad::OtherJson), "upstream-bad-answer"),
        (list(Bad::OtherId), "upstream-bad-answer"),
        (call(Bad::MovesAway), "upstream-bad-answer"),
        (call(Bad::OldTransport), "upstream-bad-answer"),
        (call(Bad::NoHttp), "upstream-unreachable"),
        (call(Bad::Fails), "upstream-bad-answer"),
        (call(Bad::Refuses), "upstream-bad-answer"),
        (list(Bad::FloodsJson), "upstream-flood"),
    ];
    let settings = |url: &str, reason: &str| match reason {
        "upstream-timeout" => format!("url = {url:?}"),
        _ => format!("url = {url:?}\ntimeout_s = {LONG}"),
    };
    let servers: Vec<Server> = cases.iter().map(|((bad, _), _)| Server::start(*bad)).collect();
    let names: Vec<String> = (0..cases.len()).map(|number| format!("bad-{number}")).collect();
    let port = witgate_tests::gateway::free_port();
    let mut upstreams: Vec<(&str, String)> = names
        .iter()
        .zip(&servers)
        .zip(&cases)
        .map(|((name, server), (_, reason))| (name.as_str(), settings(&server.url, reason)))
        .collect();
    upstreams.push(("gone", format!("url = \"http://127.0.0.1:{port}/mcp\"")));
    let good = Server::start(Bad::Not);
    upstreams.push(("good", settings(&good.url, "")));
    let (running, caller) = serve(&upstreams);
    let calls: Vec<_> = names
        .iter()
        .zip(&cases)
        .map(|(name, ((_, method), _))| (name.as_str(), *method))
        .chain([("gone", "tools/call")])
        .map(|(name, method)| {
            let (caller, method) = (caller(name), method.to_owned());
            tokio::spawn(async move {
                let named = (method == "tools/call").then_some("any");
                let params =
                    if named.is_some() { json!({ "name": "any", "arguments": {} }) } else { json!({}) };
                caller.stateless(&method, named, params).await.unwrap()
            })
        })
        .collect();
    let good = caller("good");
    while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
        let answer = good.call("any", json!({})).await;
        assert!(answer.is_result() && answer.took < BOUND, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let expected = cases.iter().map(|((bad, method), reason)| (format!("{bad:?}, {method}"), *reason));
    for (answer, (what, reason)) in
        calls.into_iter().zip(expected.chain([("gone".into(), "upstream-unreachable")]))
    {
        assert_fault(&what, &answer.await.unwrap(), reason);
    }
    assert!(rss(&running) < 400 << 10, "what floods is not kept: {} KiB", rss(&running));
}

/// Mild faults, which cost nothing: a redirect to another path, an id as text, a JSON-RPC error with whatever HTTP status. And what
/// costs the call says what it is.
#[tokio::test(flavor = "multi_thread")]
async fn minor_faults_over_http_are_tolerated() {
    use bad_http::{Bad, Server};

    let errors =
        ["400 Bad Request", "409 Conflict", "422 Unprocessable", "429 Slow", "500 Sorry", "503 Busy"];
    let good = [Bad::Moves, Bad::TextId];
    let bads = good.into_iter().chain(errors.map(Bad::ErrorWith)).chain([Bad::OldTransport, Bad::MovesAway]);
    let servers: Vec<Server> = bads.map(Server::start).collect();
    let names: Vec<String> = (0..servers.len()).map(|number| format!("mild-{number}")).collect();
    let upstreams = names.iter().zip(&servers);
    let upstreams: Vec<_> =
        upstreams.map(|(name, server)| (name.as_str(), format!("url = {:?}", server.url))).collect();
    let (_running, caller) = serve(&upstreams);
    let mut answers = Vec::new();
    for name in &names {
        answers.push(caller(name).call("any", json!({})).await);
        assert_eq!(answers.last().unwrap().body["id"], 7, "{answers:?}");
    }
    let (good, rest) = answers.split_at(good.len());
    assert!(good.iter().all(Answer::is_result), "{good:?}");
    let (errors, expectations) = rest.split_at(errors.len());
    for answer in errors {
        assert_eq!(answer.body["error"]["message"], "row 3 is locked", "{answer:?}");
    }
    for (answer, words) in expectations.iter().zip(["2024-11-05", "redirects"]) {
        assert!(answer.body["error"]["message"].as_str().unwrap().contains(words), "{answer:?}");
    }
}

/// An answer that passes through ends where the upstream ends it, and a flood waits for its reader.
#[tokio::test(flavor = "multi_thread")]
async fn streamed_answers_end_with_the_upstream_and_wait_for_their_reader() {
    use bad_http::{Bad, Server};

    let flood = Server::start(Bad::FloodsEvents);
    let cut = Server::start(Bad::CutsEvents);
    let (running, caller) =
        serve(&[("flood", format!("url = {:?}", flood.url)), ("cut", format!("url = {:?}", cut.url))]);
    let params = || -> Value { json!({ "name": "any", "arguments": {} }) };
    let unread = caller("flood").begin("tools/call", Some("any"), params()).await.unwrap();
    assert_eq!(unread.status(), 200);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(rss(&running) < 400 << 10, "what nobody reads is not kept: {} KiB", rss(&running));
    assert!(flood.sent() < 64 << 20, "{} bytes were taken", flood.sent());
    let start = Instant::now();
    let cut = caller("cut").stateless("tools/call", Some("any"), params()).await;
    assert!(start.elapsed() < BOUND);
    assert!(cut.is_err() || cut.is_ok_and(|answer| !answer.is_result()), "an answer out of nothing");
    drop(unread);
    until("the upstream to hear that nobody listens", async || flood.is_left().then_some(())).await;
}
