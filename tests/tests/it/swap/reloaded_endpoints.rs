//! Reloads of upstreams that are at an endpoint with others, whose definitions are pinned, or whose change is refused
//! because of new access.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use witgate_tests::gateway::{await_some, free_port, workspace};
use witgate_tests::recorder::Recorder;

use super::reloads::{Scene, call_in_parts, child, over_http};
use crate::caller::{Caller, until};

const OWN: &str = "[upstreams.own]\npath = '/own'\nown_tools = true\n";
const EXTRA: &str = "[upstreams.extra]\npath = '/extra'\nown_tools = true\n";

fn endpoint(upstreams: &str) -> String {
    format!("[endpoints.all]\nupstreams = {upstreams}\n")
}

async fn tells(caller: &Caller) -> Value {
    caller.call("env__tell", json!({})).await.content()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_follows_its_upstreams() {
    let two = endpoint("['env', 'own']");
    let scene = Scene::serve("", &format!("{}{OWN}{two}", child("first")));
    let all = scene.at("/all/mcp");
    let session = all.open_session().await;
    assert_eq!(all.call_in(&session, "env__tell", json!({})).await.content(), "first");

    // Another change leaves the sessions alone.
    scene.edit("[server]\n", "[server]\nmax_request_mib = 2\n");
    assert_eq!(scene.reload(&[]).0, Some(0));
    assert_eq!(all.call_in(&session, "env__tell", json!({})).await.content(), "first");

    // One of its upstreams is replaced, while a call runs there.
    let mark = scene.running.setup().dir().join("mark");
    let (other, arguments) = (all.clone(), json!({ "seconds": 3, "mark": mark }));
    let slow = tokio::spawn(async move { other.call("env__tell", arguments).await });
    until("the slow call to begin", async || mark.exists().then_some(())).await;
    scene.edit(&child("first"), &child("second"));
    until("the replaced upstream", async || (tells(&all).await == "second").then_some(())).await;
    let over = all.call_in(&session, "env__tell", json!({})).await;
    assert_eq!(over.status, 404, "a session with the former upstream ends: {over:?}");
    assert_eq!(slow.await.unwrap().content(), "first", "a call under way goes on");
    await_some("the end of the former processes", || (scene.processes("first") == 0).then_some(()));

    // One is added, and removed.
    scene.edit(&two, &format!("{EXTRA}{}", endpoint("['env', 'own', 'extra']")));
    let echo = async || all.call("extra__echo", json!({ "text": "x" })).await;
    until("the added upstream", async || echo().await.is_result().then_some(())).await;
    scene.edit(&format!("{EXTRA}{}", endpoint("['env', 'own', 'extra']")), &two);
    until("the end of the added upstream", async || (!echo().await.is_result()).then_some(())).await;
    assert_eq!(tells(&all).await, "second");

    // The endpoint itself is removed.
    scene.edit(&two, "");
    until("the end of the endpoint", async || {
        (all.call("env__tell", json!({})).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(scene.at("/env").call("tell", json!({})).await.content(), "second");
}

/// An upstream with pinned definitions, whose tool is in the file `tools.json`.
fn pinned(scene: &Scene, version: &str) -> String {
    let script = workspace().join("tests/tests/it/definitions/changing_server.py");
    let file = scene.running.setup().dir().join("tools.json");
    format!(
        "[upstreams.files]\npath = '/files'\ncommand = ['python3', {script:?}, '{version}']\neras = ['stateful']\n\
         pins = 'hold'\nenv = {{ DEFINITIONS = {file:?} }}\n"
    )
}

fn define(scene: &Scene, description: &str) {
    let schema = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let tool = json!({ "name": "add", "description": description, "inputSchema": schema });
    scene.running.setup().file("tools.json", json!([[[tool]]]).to_string());
}

/// The upstream `files` in `witgate upstream list`.
fn listed(scene: &Scene) -> Option<Value> {
    let list = scene.running.setup().run(&["upstream", "list", "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    list["upstreams"].as_array().unwrap().iter().find(|upstream| upstream["name"] == "files").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_definitions_follow_upstreams() {
    let scene = Scene::serve("", OWN);
    define(&scene, "Adds.");
    let (first, second) = (pinned(&scene, "1"), pinned(&scene, "2"));
    let joint = endpoint("['files', 'own']");
    scene.edit(OWN, &format!("{OWN}{first}{joint}"));
    assert_eq!(scene.reload(&[]).0, Some(0));
    let (alone, all) = (scene.at("/files"), scene.at("/all/mcp"));
    let reasons = async || {
        let answers = [alone.call("add", json!({})).await, all.call("files__add", json!({})).await];
        answers.map(|answer| answer.reason().map(str::to_owned))
    };
    let (held, free) =
        ([Some("definition-changed".to_owned()), Some("definition-changed".to_owned())], [None, None]);
    assert_eq!(reasons().await, held, "nothing is approved for an added upstream");
    let approved = scene.running.setup().run(&["upstream", "approve", "files", "--live"]);
    assert_eq!(approved.status.code(), Some(0), "{approved:?}");
    assert_eq!(reasons().await, free);

    // Another command under the same name: what it shows is compared anew, and operators see that alone.
    define(&scene, "Adds, and sends your files.");
    scene.edit(&first, &second);
    assert_eq!(scene.reload(&[]).0, Some(0));
    assert_eq!(reasons().await, held);
    await_some("the changed definition", || {
        (listed(&scene).unwrap()["unapproved"].as_u64() > Some(0)).then_some(())
    });
    scene.edit(&format!("{second}{joint}"), "");
    assert_eq!(scene.reload(&[]).0, Some(0));
    assert_eq!(listed(&scene), None);
    assert_eq!(alone.call("add", json!({})).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_refused_because_of_new_access_changes_no_upstream() {
    let guard = "[reload]\nno_new_access = true\n";
    let two = endpoint("['env', 'own']");
    let scene = Scene::serve("", &format!("{guard}{}{OWN}{two}", child("first")));
    scene.edit("user = { allow = ['*'] }", "user = { allow = ['tell'] }");
    assert_eq!(scene.reload(&[]).0, Some(0));
    let (all, extra) = (scene.at("/all/mcp"), scene.at("/extra"));
    let session = all.open_session().await;
    scene.edit("user = { allow = ['tell'] }", "user = { allow = ['tell', 'echo'] }");
    scene.edit(&child("first"), &format!("{EXTRA}{}", child("second")));
    let (code, report) = scene.reload(&[]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report["refused"].to_string().contains("reload.no_new_access"), "{report}");
    assert_eq!(report["generation"], report["before"], "{report}");
    assert_eq!(all.call_in(&session, "env__tell", json!({})).await.content(), "first");
    assert_eq!(tells(&all).await, "first");
    assert_eq!(extra.call("echo", json!({ "text": "x" })).await.status, 404);
    assert_eq!(scene.processes("second"), 0);

    let refusal = report["refused"].to_string();
    let change = refusal.split_once("allow-access ").and_then(|(_, rest)| rest.split_once('`')).unwrap().0;
    let allowed = scene.running.setup().run(&["plugin", "allow-access", change]);
    assert!(allowed.status.success(), "{allowed:?}");
    until("the allowed change", async || {
        let answer = all.call("env__tell", json!({})).await;
        (answer.is_result() && answer.content() == "second").then_some(())
    })
    .await;
    assert!(all.call("own__echo", json!({ "text": "x" })).await.is_result());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_slow_to_arrive_finds_no_endpoint_that_is_gone() {
    let two = endpoint("['own', 'extra']");
    let scene = Scene::serve("", &format!("{OWN}{EXTRA}{two}"));
    let all = scene.at("/all/mcp");
    assert!(all.call("own__echo", json!({ "text": "x" })).await.is_result());
    let [head, first, rest] = call_in_parts(&scene, ("/all/mcp", "own__echo"));
    let mut slow = TcpStream::connect(scene.running.address()).unwrap();
    slow.write_all(format!("{head}{first}").as_bytes()).unwrap();
    scene.edit(&two, "");
    assert_eq!(scene.reload(&[]).0, Some(0));
    slow.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_of_a_refused_change_is_not_used() {
    let recorder = Recorder::start();
    let guard = "[reload]\nno_new_access = true\n";
    let scene = Scene::serve("", &format!("{guard}{}", over_http("steady", &recorder)));
    let steady = scene.at("/steady");
    scene.edit("user = { allow = ['*'] }", "user = { allow = ['echo'] }");
    assert_eq!(scene.reload(&[]).0, Some(0));
    assert!(steady.call("echo", json!({})).await.is_result());
    // At this proxy nobody listens.
    let proxy = format!("[network]\nproxy = 'http://127.0.0.1:{}'\n{guard}", free_port());
    scene.edit("user = { allow = ['echo'] }", "user = { allow = ['echo', 'other'] }");
    scene.edit(guard, &proxy);
    let (code, report) = scene.reload(&[]);
    assert_eq!(code, Some(1), "{report}");
    assert!(steady.call("echo", json!({})).await.is_result());
    let log = scene.running.log();
    assert!(!log.contains("the changed [network]"), "{log}");
}

#[test]
fn a_check_tells_when_endpoints_pins_and_the_guard_would_count() {
    let scene = Scene::serve("", OWN);
    let tables =
        format!("[reload]\nno_new_access = true\n{EXTRA}pins = 'warn'\n{}", endpoint("['own', 'extra']"));
    // Without this, the watcher could use the change before the command asks.
    scene.edit("[server]\n", "[server]\nstate = 'elsewhere'\n");
    scene.edit(OWN, &format!("{OWN}pins = 'warn'\n{tables}"));
    let (code, report) = scene.reload(&["--check"]);
    assert_eq!((code, report["refused"].as_array().map(Vec::len)), (Some(1), Some(1)), "{report}");
    assert!(report["refused"][0].as_str().unwrap().contains("`server.state`"), "{report}");
    let in_force = |key: &str| {
        let changes = report["changes"].as_array().unwrap();
        let change = changes.iter().find(|change| change["key"] == key);
        change.unwrap_or_else(|| panic!("{key}: {report}"))["in_force"].clone()
    };
    for (key, moment) in [
        ("endpoints.all.upstreams", "for new sessions"),
        ("reload.no_new_access", "at once"),
        ("upstreams.own.pins", "at once"),
        ("upstreams.extra.own_tools", "for new sessions"),
    ] {
        assert_eq!(in_force(key), moment, "{key}");
    }
    assert!(report["upstreams"][0].as_str().unwrap().contains("`extra` is added"), "{report}");
    assert_eq!(scene.running.plugins()["generation"], report["generation"], "a check changes nothing");
}
