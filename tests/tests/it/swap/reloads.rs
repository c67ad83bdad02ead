//! Reloads of what is beside the policies: upstreams that are added, changed and removed under load, the settings of
//! the listener and its address, and the commands that tell and cause reloads.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some, free_port, workspace};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::contains;

use super::rename_over;
use crate::caller::{Caller, until};

const POLICIES: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                        [policies.rules]\nkind = 'rbac'\nconfig = { roles = { user = { allow = ['*'] } } }\n\
                        [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n";

/// A child process that tells `token`, which is also its last argument.
pub(super) fn child(token: &str) -> String {
    let script = workspace().join("tests/tests/it/swap/environment_server.py");
    format!(
        "[upstreams.env]\npath = '/env'\ncommand = ['python3', {script:?}, '{token}']\nenv = {{ TOKEN = {{ file = '{token}' }} }}\n"
    )
}

pub(super) fn over_http(name: &str, recorder: &Recorder) -> String {
    format!("[upstreams.{name}]\npath = '/{name}'\nurl = '{}'\n", recorder.url())
}

pub(super) struct Scene {
    pub(super) running: Running,
    key: String,
}

impl Scene {
    pub(super) fn serve(server: &str, upstreams: &str) -> Self {
        let setup = Setup::new();
        ["first", "second"].iter().for_each(|token| drop(setup.file(token, token)));
        setup.config(server, &format!("{upstreams}{POLICIES}"));
        let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
        Self { running: setup.serve(), key }
    }

    pub(super) fn at(&self, path: &str) -> Caller {
        Caller::new(format!("http://{}{path}", self.running.address()), Some(&self.key))
    }

    pub(super) fn file(&self) -> PathBuf {
        self.running.setup().dir().join("witgate.toml")
    }

    /// Changes the configuration.
    pub(super) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.file()).unwrap();
        assert!(text.contains(from), "{text}");
        rename_over(&self.file(), text.replace(from, to).as_bytes());
    }

    /// Runs `witgate reload` with these arguments: its exit code and its report.
    pub(super) fn reload(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.running.setup().run(&[&["reload", "--json"], arguments].concat());
        let report = serde_json::from_slice(&output.stdout);
        (output.status.code(), report.unwrap_or_else(|_| panic!("{output:?}")))
    }

    /// The processes that run the server of [`child`] with this token.
    pub(super) fn processes(&self, token: &str) -> usize {
        let children = |pid: String| {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            children.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let line = |pid: &String| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let parts = |pid: &String| line(pid).split('\0').any(|argument| argument == token);
        // A thread of the runtime may have started them.
        let tasks = fs::read_dir(format!("/proc/{}/task", self.running.pid())).unwrap();
        let own = tasks.flatten().flat_map(|task| {
            let path = task.path().join("children");
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        });
        let own: Vec<_> = own.collect();
        own.iter().cloned().chain(own.iter().cloned().flat_map(children)).filter(parts).count()
    }
}

/// Calls until `stop`, and returns the number of calls. Each has to have a result.
async fn calling(caller: Caller, tool: &'static str, stop: Arc<AtomicBool>) -> usize {
    let mut calls = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = caller.call(tool, json!({})).await;
        assert!(answer.is_result(), "call {calls}: {answer:?}");
        calls += 1;
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_added_changed_and_removed_without_a_failed_call() {
    let recorder = Recorder::start();
    let scene = Scene::serve("", &format!("{}{}", over_http("steady", &recorder), child("first")));
    let stop = Arc::<AtomicBool>::default();
    let loads = [("/steady", "echo"), ("/env", "tell")]
        .map(|(path, tool)| tokio::spawn(calling(scene.at(path), tool, Arc::clone(&stop))));
    let env = scene.at("/env");
    let session = env.open_session().await;
    assert_eq!(env.call_in(&session, "tell", json!({})).await.content(), "first");

    // Added.
    let extra = scene.at("/extra");
    assert_eq!(extra.call("echo", json!({ "text": "x" })).await.status, 404);
    let own = "[upstreams.extra]\npath = '/extra'\nown_tools = true\n";
    scene.edit(POLICIES, &format!("{own}{POLICIES}"));
    until("the added upstream", async || {
        extra.call("echo", json!({ "text": "x" })).await.is_result().then_some(())
    })
    .await;

    // Changed, while a call runs.
    let mark = scene.running.setup().dir().join("mark");
    let (other, named) = (env.clone(), session.clone());
    let arguments = json!({ "seconds": 3, "mark": mark });
    let slow = tokio::spawn(async move { other.call_in(&named, "tell", arguments).await });
    until("the slow call to begin", async || mark.exists().then_some(())).await;
    scene.edit(&child("first"), &child("second"));
    until("the changed upstream", async || {
        (env.call("tell", json!({})).await.content() == "second").then_some(())
    })
    .await;
    let over = env.call_in(&session, "tell", json!({})).await;
    assert_eq!(over.status, 404, "a session of the former upstream ends: {over:?}");
    let session = env.open_session().await;
    assert_eq!(env.call_in(&session, "tell", json!({})).await.content(), "second");
    assert_eq!(slow.await.unwrap().content(), "first", "a call under way goes on");
    await_some("the end of the former processes", || (scene.processes("first") == 0).then_some(()));

    // Removed.
    scene.edit(own, "");
    until("the end of the added upstream", async || {
        (extra.call("echo", json!({ "text": "x" })).await.status == 404).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        assert!(load.await.unwrap() > 20);
    }
    assert_eq!(scene.running.plugins()["whole"], true);
    assert_eq!(scene.running.plugins()["last_change"]["errors"], json!(null));
}

/// A call of `tool` at `path`, whose arguments contain `slow-message`: the head, and the body in two parts.
pub(super) fn call_in_parts(scene: &Scene, (path, tool): (&str, &str)) -> [String; 3] {
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {} });
    let params = json!({ "name": tool, "arguments": { "text": "slow-message" }, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        scene.running.address(),
        scene.key,
        body.len()
    );
    let (first, rest) = body.split_at(20);
    [head, first.to_owned(), rest.to_owned()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_slow_to_arrive_goes_to_the_upstream_that_is_served_then() {
    let (former, next) = (Recorder::start(), Recorder::start());
    let scene = Scene::serve("", &over_http("steady", &former));
    let [head, first, rest] = call_in_parts(&scene, ("/steady", "echo"));
    let mut slow = TcpStream::connect(scene.running.address()).unwrap();
    slow.write_all(format!("{head}{first}").as_bytes()).unwrap();
    let caller = scene.at("/steady");
    assert!(caller.call("echo", json!({})).await.is_result());
    scene.edit(&former.url(), &next.url());
    until("the changed upstream", async || {
        assert!(caller.call("echo", json!({})).await.is_result());
        (!next.seen().is_empty()).then_some(())
    })
    .await;
    slow.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(contains(&next.seen(), b"slow-message") && !contains(&former.seen(), b"slow-message"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_with_the_name_of_a_removed_one_inherits_nothing() {
    let recorder = Recorder::start();
    let scene = Scene::serve("", &format!("{}{}", over_http("steady", &recorder), child("first")));
    let env = scene.at("/env");
    let session = env.open_session().await;
    let mut stream = env.listen(&session).await;
    scene.edit(&child("first"), "");
    until("the end of the upstream", async || {
        (env.call("tell", json!({})).await.status == 404).then_some(())
    })
    .await;
    assert!(stream.chunk().await.unwrap().is_none(), "its streams end");
    scene.edit(POLICIES, &format!("{}{POLICIES}", child("second")));
    until("the other upstream", async || env.call("tell", json!({})).await.is_result().then_some(())).await;
    assert_eq!(env.call_in(&session, "tell", json!({})).await.status, 404);
    assert_eq!(env.call("tell", json!({})).await.content(), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_upstreams_back() {
    let recorder = Recorder::start();
    let extra = "[upstreams.extra]\npath = '/extra'\nown_tools = true\n";
    let scene = Scene::serve("", &format!("{}{extra}", over_http("steady", &recorder)));
    let caller = scene.at("/extra");
    let is_there = async || caller.call("echo", json!({ "text": "x" })).await.is_result();
    assert!(is_there().await);
    scene.edit(extra, "");
    until("the end of the upstream", async || (!is_there().await).then_some(())).await;
    let output = scene.running.setup().run(&["plugin", "rollback"]);
    assert!(output.status.success(), "{output:?}");
    assert!(is_there().await);
    assert!(scene.at("/steady").call("echo", json!({})).await.is_result());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_moves_and_the_settings_of_the_server_change() {
    let recorder = Recorder::start();
    let scene = Scene::serve("allowed_origins = []", &over_http("steady", &recorder));
    let (before, port) = (scene.running.address(), free_port());
    let client = reqwest::Client::new();
    let from_page = async |address: &str| {
        let request = client.get(format!("http://{address}/steady")).header("Origin", "https://app.example");
        request.send().await.map(|response| {
            response
                .headers()
                .get("access-control-allow-origin")
                .map(|origin| origin.to_str().unwrap().to_owned())
        })
    };
    assert_eq!(from_page(&before).await.unwrap(), None);
    scene.edit("allowed_origins = []", "allowed_origins = ['https://app.example']");
    until("the origin", async || {
        from_page(&before).await.unwrap().filter(|origin| origin == "https://app.example")
    })
    .await;

    let occupied = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let taken = occupied.local_addr().unwrap().to_string();
    scene.edit(&format!("listen = \"{before}\""), &format!("listen = \"{taken}\""));
    scene.running.await_log("cannot listen on");
    assert!(from_page(&before).await.is_ok(), "a refused change changes nothing");

    let after = format!("127.0.0.1:{port}");
    scene.edit(&format!("listen = \"{taken}\""), &format!("listen = \"{after}\""));
    until("the other address", async || from_page(&after).await.ok()).await;
    let there = Caller::new(format!("http://{after}/steady"), Some(&scene.key));
    assert!(there.call("echo", json!({})).await.is_result());
    await_some("the end of the former address", || TcpStream::connect(&before).err());
}

#[test]
fn a_change_that_needs_a_restart_is_refused_as_a_whole() {
    let recorder = Recorder::start();
    let scene = Scene::serve("", &over_http("steady", &recorder));
    let (code, report) = scene.reload(&["--check"]);
    assert_eq!((code, &report["changes"], &report["refused"]), (Some(0), &json!([]), &json!([])), "{report}");
    let before = report["generation"].as_u64().unwrap();

    scene.edit("[server]\n", "[server]\nstate = 'elsewhere'\nmax_request_mib = 2\n");
    let (code, report) = scene.reload(&["--check"]);
    assert_eq!(code, Some(1), "{report}");
    let state = &report["changes"][1];
    assert_eq!((&state["key"], &state["in_force"]), (&json!("server.state"), &json!("after a restart")));
    let (code, report) = scene.reload(&[]);
    assert_eq!((code, report["generation"].as_u64()), (Some(1), Some(before)), "{report}");
    assert!(report["refused"][0].as_str().unwrap().contains("needs a restart: `server.state`"), "{report}");
    let waiting = &scene.running.plugins()["waiting_for_restart"];
    assert!(waiting[0].as_str().unwrap().contains("server.state"), "{waiting}");

    scene.edit("state = 'elsewhere'\n", "");
    let (code, report) = scene.reload(&[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report["generation"].as_u64().unwrap() > before, "{report}");
    assert_eq!(scene.running.plugins()["waiting_for_restart"], json!([]));
    let added = "[upstreams.extra]\npath = '/extra'\nown_tools = true\n";
    // Written in place of the watched file only after the check.
    scene.edit(POLICIES, &format!("{added}{POLICIES}"));
    let (code, report) = scene.reload(&[]);
    assert_eq!((code, &report["refused"]), (Some(0), &json!([])), "{report}");
}

#[test]
fn a_storm_of_requests_becomes_few_reloads() {
    let recorder = Recorder::start();
    let scene = Scene::serve("", &over_http("steady", &recorder));
    let before = scene.running.plugins()["generation"].as_u64().unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        scene.running.signal("HUP");
    }
    let (code, report) = scene.reload(&[]);
    assert_eq!(code, Some(0), "{report}");
    let most = 3 + begun.elapsed().as_millis() / 250;
    let made = report["generation"].as_u64().unwrap() - before;
    assert!(u128::from(made) <= most, "{made} generations in {:?}", begun.elapsed());
}
