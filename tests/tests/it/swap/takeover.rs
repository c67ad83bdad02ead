//! A good component goes live: at once, in every way of replacing it, and without a lost call.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use witgate_tests::gateway::{Setup, component};

use super::{PATIENT, ROLES, another, config, policy, rename_over, user};
use crate::caller::{Answer, Caller, Upstream, metric, until};

/// From the file event to the first call that the new component decides.
const BOUND: Duration = Duration::from_millis(300);

/// The number of attempts in each way. The bound applies to the best attempt, because other tests compile on this
/// machine meanwhile.
const SWAPS: usize = 4;

/// The component that has decided the call. Any other answer is a lost call.
fn decided_by(tool: &str, answer: &Answer) -> &'static str {
    match (tool, answer.status, answer.reason()) {
        ("greet", 200, None) if answer.is_result() => "rbac",
        ("test_error_handling", 403, Some("denied")) => "rbac",
        (_, 403, Some("not-read-only")) => "read-only",
        _ => panic!("decided by neither: {tool}: {answer:?}"),
    }
}

/// Calls one after the other until told to stop.
async fn load(caller: Caller, stop: Arc<AtomicBool>) -> [usize; 2] {
    let mut decided = [0, 0];
    while !stop.load(Ordering::Relaxed) {
        for tool in ["greet", "test_error_handling"] {
            let answer = caller.call(tool, json!({ "name": "you" })).await;
            decided[usize::from(decided_by(tool, &answer) == "read-only")] += 1;
        }
    }
    decided
}

/// A way of replacing a component.
enum Way {
    /// Written elsewhere and renamed to the file's name.
    Rename,
    /// Written into the file.
    InPlace,
    /// As in Kubernetes: another directory, to which a link is changed.
    Flip,
    /// As in deployments: the link to the file's directory is changed.
    Release,
}

/// Three directories with the component, each replaced in its own way.
struct Places(PathBuf);

impl Places {
    fn new(dir: &Path) -> Self {
        let places = Self(dir.to_owned());
        for place in ["plugins", "mounted", "releases"] {
            fs::create_dir_all(dir.join(place)).unwrap();
        }
        places.put(&Way::Flip, 0, &fs::read(component("rbac")).unwrap());
        symlink("..data/rules.wasm", dir.join("mounted/rules.wasm")).unwrap();
        places.put(&Way::Release, 0, &fs::read(component("rbac")).unwrap());
        places.put(&Way::Rename, 0, &fs::read(component("rbac")).unwrap());
        places
    }

    fn file(way: &Way) -> &'static str {
        match way {
            Way::Rename | Way::InPlace => "plugins/rules.wasm",
            Way::Flip => "mounted/rules.wasm",
            Way::Release => "current/rules.wasm",
        }
    }

    /// Replaces a component, and returns the time.
    fn put(&self, way: &Way, number: usize, content: &[u8]) -> Instant {
        match way {
            Way::Rename => rename_over(&self.0.join("plugins/rules.wasm"), content),
            Way::InPlace => fs::write(self.0.join("plugins/rules.wasm"), content).unwrap(),
            Way::Flip => self.flip(&format!("mounted/..{number}"), "mounted/..data", content),
            Way::Release => self.flip(&format!("releases/{number}"), "current", content),
        }
        Instant::now()
    }

    fn flip(&self, to: &str, link: &str, content: &[u8]) {
        let to = self.0.join(to);
        fs::create_dir_all(&to).unwrap();
        fs::write(to.join("rules.wasm"), content).unwrap();
        let new = self.0.join(format!("{link}_tmp"));
        symlink(&to, &new).unwrap();
        fs::rename(&new, self.0.join(link)).unwrap();
    }
}

/// Both components were compiled before: the figure is the delay of the swap, without the compiler.
async fn takes_over(way: Way) {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let key = user(setup_with(&setup, &upstream, &way));
    let places = Places::new(setup.dir());
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let stop = Arc::new(AtomicBool::new(false));
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        calls.spawn(load(caller.clone(), Arc::clone(&stop)));
    }

    let both = [fs::read(component("rbac")).unwrap(), fs::read(component("examples/read-only")).unwrap()];
    let mut took = Vec::new();
    for swap in 1..=SWAPS + 2 {
        let (content, expected) = (&both[swap % 2], ["rbac", "read-only"][swap % 2]);
        let start = places.put(&way, swap, content);
        until(&format!("{expected} to take over"), async || {
            let answer = caller.call("greet", json!({ "name": "you" })).await;
            (decided_by("greet", &answer) == expected).then_some(())
        })
        .await;
        // The first of each has compiled it.
        if swap > 2 {
            took.push(start.elapsed());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut decided = [0, 0];
    while let Some(counts) = calls.join_next().await {
        let counts = counts.expect("no call is lost");
        decided = [decided[0] + counts[0], decided[1] + counts[1]];
    }
    assert!(decided.iter().all(|count| *count > 20), "there was no load: {decided:?}");
    assert!(took.iter().min().unwrap() < &BOUND, "{took:?}");
}

fn setup_with<'a>(setup: &'a Setup, upstream: &Upstream, way: &Way) -> &'a Setup {
    let rules = format!("component = \"{}\"\n{PATIENT}\nconfig = {{ roles = {ROLES} }}", Places::file(way));
    setup.component("api-key");
    setup.config("", &config(upstream, "component = \"plugins/api-key.wasm\"", &rules));
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_replaced_by_rename_goes_live() {
    takes_over(Way::Rename).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_written_in_place_goes_live() {
    takes_over(Way::InPlace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_replaced_like_in_kubernetes_goes_live() {
    takes_over(Way::Flip).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_replaced_by_a_release_link_goes_live() {
    takes_over(Way::Release).await;
}

/// The authenticator, too: all running calls are admitted meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_authenticator_goes_live() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let key = user(setup_with(&setup, &upstream, &Way::Rename));
    Places::new(setup.dir());
    let running = setup.serve();
    let stop = Arc::new(AtomicBool::new(false));
    let calls = tokio::spawn(load(Caller::new(running.url(), Some(&key)), Arc::clone(&stop)));
    let shipped = fs::read(component("api-key")).unwrap();
    let file = running.setup().dir().join("plugins/api-key.wasm");
    for version in 0..3 {
        let before = policy(&running, "keys")["digest"].clone();
        rename_over(&file, &another(&shipped, version));
        until("the new digest", async || (policy(&running, "keys")["digest"] != before).then_some(())).await;
        assert_eq!(policy(&running, "keys")["state"], "live");
        running.await_log("swapped sha256:");
    }
    stop.store(true, Ordering::Relaxed);
    let [allowed, _] = calls.await.expect("no call is lost");
    assert!(allowed > 20, "there was no load: {allowed}");
    let stranger = Caller::new(running.url(), Some("wgk_not_a_key")).call("greet", json!({})).await;
    assert_eq!(stranger.status, 401, "the new one checks: {stranger:?}");
}

/// A file that is being written is not taken because another one beside it is finished meanwhile.
/// That it is left alone for as long as its writer pauses is not promised, and the machine may make
/// it pause; so one of several rounds is enough.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_file_does_not_go_live() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let key = user(setup_with(&setup, &upstream, &Way::Rename));
    Places::new(setup.dir());
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let both = [fs::read(component("rbac")).unwrap(), fs::read(component("examples/read-only")).unwrap()];
    let refused = async || metric(&running.admin_url(), "witgate_reloads_total", "refused").await;
    let mut tried = Vec::new();
    for round in 1..=5 {
        let before = refused().await;
        write_slowly(running.setup(), &both[round % 2]);
        until("the new component", async || {
            let answer = caller.call("greet", json!({ "name": "you" })).await;
            (decided_by("greet", &answer) == ["rbac", "read-only"][round % 2]).then_some(())
        })
        .await;
        tried.push(refused().await - before);
    }
    assert!(tried.contains(&0.0), "half of it was tried each time: {tried:?}\n{}", running.log());
}

fn write_slowly(setup: &Setup, content: &[u8]) {
    use std::io::Write as _;
    let mut file = fs::File::create(setup.dir().join("plugins/rules.wasm")).unwrap();
    for part in content.chunks(content.len() / 12) {
        file.write_all(part).unwrap();
        setup.file("plugins/unrelated.txt", "whole");
        std::thread::sleep(Duration::from_millis(10));
    }
}
