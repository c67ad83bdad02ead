//! Hundreds of changes under load: no call is affected, nothing is left behind, and the last change is in force.
//! `cargo xtask swaps` makes ten thousand.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use witgate_base::digest::{digest_text, sha256};
use witgate_tests::gateway::{Running, Setup, component};

use super::{PATIENT, another, policy, rename_over};
use crate::caller::{Answer, Caller, Upstream, until};

const SWAPS: usize = 200;

const TOOLS: [&str; 3] = ["greet", "get-even", "get-odd"];

/// A component and a configuration: any two successive states differ in an answer.
#[derive(Clone, Copy, Debug)]
struct State {
    /// The component's version: even versions are `rbac`, odd ones `read-only`.
    version: usize,
    /// The configuration's number. It determines the store, the role of its keys, and the forbidden tool.
    config: usize,
}

impl State {
    /// Status and reason. An authenticator of one generation with an authorizer of another would give a role without
    /// rules, which no state has.
    fn answer(self, tool: &str) -> Option<&'static str> {
        let reads_only = self.version % 2 == 1;
        match (tool, self.config) {
            ("greet", _) if reads_only => Some("not-read-only"),
            ("get-even", 0) | ("get-odd", 1) => Some(if reads_only { "role-denies" } else { "denied" }),
            _ => None,
        }
    }

    fn gives(self, tool: &str, answer: &Answer) -> bool {
        // The fixture does not know two of the tools, and says so: that counts as an answer.
        let forwarded = answer.status == 200 && answer.reason().is_none();
        self.answer(tool).map_or(forwarded, |reason| answer.reason() == Some(reason))
    }

    fn toml(self, upstream: &Upstream) -> String {
        let (config, denied) = (self.config, ["get-even", "get-odd"][self.config]);
        format!(
            "[upstreams.fixture]\nurl = \"{}\"\n\
             [policies.keys]\nkind = \"api-key\"\ncomponent = \"plugins/api-key.wasm\"\n{PATIENT}\n\
             config = {{ store = \"keys-{config}.toml\" }}\n\
             [policies.rules]\nkind = \"rbac\"\ncomponent = \"current/rules.wasm\"\n{PATIENT}\n\
             config = {{ roles = {{ role-{config} = {{ allow = [\"*\"], deny = [\"{denied}\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n",
            upstream.url
        )
    }
}

/// All states so far, and the first that can be in force: no later call may be decided by a state before one that an
/// answer has shown.
struct Timeline {
    begun: Mutex<Vec<State>>,
    shown: AtomicUsize,
}

async fn load(caller: Caller, timeline: Arc<Timeline>, stop: Arc<AtomicBool>) -> usize {
    let mut calls = 0;
    for tool in TOOLS.into_iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let since = timeline.shown.load(Ordering::SeqCst);
        let answer = caller.call(tool, json!({ "name": "you" })).await;
        let possible = timeline.begun.lock().unwrap()[since..].to_vec();
        let right = possible.iter().any(|state| state.gives(tool, &answer));
        assert!(right, "{tool} under one of {possible:?}: {answer:?}");
        calls += 1;
    }
    calls
}

fn versions() -> Vec<Vec<u8>> {
    let kinds = [fs::read(component("rbac")).unwrap(), fs::read(component("examples/read-only")).unwrap()];
    (0..4_u8).map(|version| another(&kinds[usize::from(version % 2)], b'a' + version)).collect()
}

/// A gateway in the first state, and a key that is valid in all states.
fn start(upstream: &Upstream, versions: &[Vec<u8>]) -> (Running, String) {
    let setup = Setup::new();
    setup.component("api-key");
    setup.file("releases/b/rules.wasm", "");
    setup.file("releases/a/rules.wasm", &versions[0]);
    symlink("releases/a", setup.dir().join("current")).unwrap();
    setup.config("", &State { version: 0, config: 0 }.toml(upstream));
    let key = setup.key(&["user", "--allow", "*", "--role", "role-0", "--store", "keys-0.toml"]);
    let store = fs::read_to_string(setup.dir().join("keys-0.toml")).unwrap();
    setup.file("keys-1.toml", store.replace("role-0", "role-1"));
    (setup.serve(), key)
}

/// The state after the next change: every fourth change is of the configuration.
fn next(number: usize, was: State) -> State {
    match number % 4 {
        3 => State { config: 1 - was.config, ..was },
        _ => State { version: (was.version + 1) % 4, ..was },
    }
}

/// Makes the change, in each way in turn.
fn change(number: usize, to: State, setup: &Setup, upstream: &Upstream, versions: &[Vec<u8>]) {
    let (dir, content) = (setup.dir(), &versions[to.version]);
    match number % 4 {
        0 => rename_over(&dir.join("current/rules.wasm"), content),
        1 => fs::write(dir.join("current/rules.wasm"), content).unwrap(),
        2 => flip(dir, content),
        _ => {
            let path = dir.join("witgate.toml");
            let text = fs::read_to_string(&path).unwrap();
            let server = text.split("[upstreams").next().unwrap();
            rename_over(&path, format!("{server}{}", to.toml(upstream)).as_bytes());
        }
    }
}

fn flip(dir: &Path, content: &[u8]) {
    let now = fs::read_link(dir.join("current")).unwrap();
    let other = if now.ends_with("a") { "releases/b" } else { "releases/a" };
    fs::write(dir.join(other).join("rules.wasm"), content).unwrap();
    symlink(other, dir.join("new")).unwrap();
    fs::rename(dir.join("new"), dir.join("current")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_swaps_lose_no_call_and_leak_nothing() {
    let (upstream, versions) = (Upstream::start(), versions());
    let (running, key) = start(&upstream, &versions);
    let (caller, stop) = (Caller::new(running.url(), Some(&key)), Arc::new(AtomicBool::new(false)));
    let mut state = State { version: 0, config: 0 };
    let timeline = Arc::new(Timeline { begun: Mutex::new(vec![state]), shown: AtomicUsize::new(0) });
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        calls.spawn(load(caller.clone(), Arc::clone(&timeline), Arc::clone(&stop)));
    }
    let mut before = None;
    for number in 0..SWAPS {
        let was = state;
        state = next(number, was);
        // Recorded before the change: an answer may show it before the change has ended.
        timeline.begun.lock().unwrap().push(state);
        change(number, state, running.setup(), &upstream, &versions);
        let tool = TOOLS.into_iter().find(|tool| was.answer(tool) != state.answer(tool)).unwrap();
        until(&format!("{was:?} to become {state:?}"), async || {
            let answer = caller.call(tool, json!({ "name": "you" })).await;
            state.gives(tool, &answer).then_some(())
        })
        .await;
        timeline.shown.store(number + 1, Ordering::SeqCst);
        // Once all components are compiled and all connections are open.
        if number == SWAPS / 4 {
            before = Some(running.threads_and_files());
        }
        assert!(!calls.is_empty() && calls.try_join_next().is_none(), "a caller has given up");
    }
    let (threads, files) = before.unwrap();
    let after = running.threads_and_files();
    stop.store(true, Ordering::Relaxed);
    let mut made = 0;
    while let Some(count) = calls.join_next().await {
        made += count.expect("no call is lost or wrongly decided");
    }
    assert!(made > SWAPS, "there was no load: {made}");
    // A compiler or a blocking thread may be about to end; a leak would show hundreds of times.
    assert!(after.0 <= threads + 8 && after.1 <= files + 16, "{threads} and {files} became {after:?}");
    for name in ["keys", "rules"] {
        let instances = policy(&running, name)["instances"].as_u64().unwrap();
        assert!((1..=8).contains(&instances), "{name}: {instances} instances");
    }
}

/// Some changes write half a component, in every way that files are written.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_one_of_many_quick_writes_goes_live() {
    let (upstream, versions) = (Upstream::start(), versions());
    let (running, key) = start(&upstream, &versions);
    let caller = Caller::new(running.url(), Some(&key));
    let file = running.setup().dir().join("current/rules.wasm");
    let start_time = Instant::now();
    for number in 0..100_u8 {
        let content = another(&versions[usize::from(number % 2)], number);
        match number % 5 {
            0 => flip(running.setup().dir(), &content),
            1 => rename_over(&file, &content),
            2 => fs::write(&file, &content[..content.len() / 2]).unwrap(),
            _ => fs::write(&file, &content).unwrap(),
        }
        std::thread::sleep(Duration::from_millis(8));
    }
    assert!(start_time.elapsed() < Duration::from_secs(20), "this was no burst");
    let last = digest_text(&sha256(&another(&versions[1], 99)));
    until("the last one", async || (policy(&running, "rules")["digest"] == last).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let list = running.plugins();
    let rules = policy(&running, "rules");
    assert_eq!((&rules["digest"], &rules["state"]), (&json!(last), &json!("live")), "{list}");
    let answer = caller.call("greet", json!({ "name": "you" })).await;
    assert_eq!(answer.reason(), Some("not-read-only"), "{answer:?}");
}
