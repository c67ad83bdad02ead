//! Real file systems under a gateway with load: one without room, one that does not answer, one that is slow, and a
//! directory that nobody may write to. No decision is wrong, nothing answered is lost, and Witgate recovers by itself.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;
use witgate_audit::verify::LogVerdict;
use witgate_tests::gateway::{PATIENCE, Running, Setup, may};

use super::{config, directory, of_kind, verified};
use crate::caller::{Caller, until_late};

/// A file system at the directory of the log, until this value is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// A file system in memory. None: this machine permits no mounts.
    fn in_memory(setup: &Setup, size: &str) -> Option<Self> {
        let at = place(setup);
        let options = format!("size={size},mode=0700");
        Self::mount(at, "a mount", &["-t", "tmpfs", "-o", &options, "tmpfs"])
    }

    /// A file system that can be made to hang.
    fn in_a_file(setup: &Setup) -> Option<Self> {
        let image = setup.file("image", vec![0; 16 << 20]);
        let image = image.to_str().unwrap();
        if !may("a file system in a file", &["mkfs.ext4", "-q", "-O", "^has_journal", image]) {
            return None;
        }
        Self::mount(place(setup), "a loop device", &["-o", "loop", image])
    }

    fn mount(at: PathBuf, what: &str, arguments: &[&str]) -> Option<Self> {
        may(what, &[&["mount"], arguments, &[at.to_str().unwrap()]].concat()).then_some(Self(at))
    }

    /// Every write waits until [`Self::thaw`].
    fn freeze(&self) {
        run("fsfreeze", &["-f"], &self.0);
    }

    fn thaw(&self) {
        run("fsfreeze", &["-u"], &self.0);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // After a failed test, writes may still wait.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).output();
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn place(setup: &Setup) -> PathBuf {
    let at = directory(setup);
    std::fs::create_dir(&at).unwrap();
    at
}

#[track_caller]
fn run(program: &str, arguments: &[&str], path: &Path) {
    let output = Command::new(program).args(arguments).arg(path).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}

/// Callers that call without a pause, and one who may not.
struct Load {
    is_over: Arc<AtomicBool>,
    /// The number of calls that were denied because of the audit.
    denied: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<HashSet<String>>>,
    stranger: JoinHandle<usize>,
}

impl Load {
    fn start(running: &Running, key: &str, stranger: &str) -> Self {
        let (is_over, denied) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let callers = (0..4)
            .map(|number| {
                let caller = Caller::new(running.url(), Some(key));
                tokio::spawn(call(caller, number, Arc::clone(&is_over), Arc::clone(&denied)))
            })
            .collect();
        let caller = Caller::new(running.url(), Some(stranger));
        let stranger = tokio::spawn(call_without_right(caller, Arc::clone(&is_over)));
        Self { is_over, denied, callers, stranger }
    }

    /// Waits until a call is denied because of the audit. With `before-answer`, all of these callers may first wait for
    /// their entries, up to a deadline.
    async fn await_denial(&self) {
        let denied = async || (self.denied() > 0).then_some(());
        until_late("a denial of these callers", 2 * PATIENCE, denied).await;
    }

    fn denied(&self) -> usize {
        self.denied.load(Ordering::Relaxed)
    }

    /// Ends the load. Returns the names of the tools whose calls were answered.
    async fn end(self) -> HashSet<String> {
        self.is_over.store(true, Ordering::Relaxed);
        assert!(self.stranger.await.unwrap() > 0);
        let mut answered = HashSet::new();
        for caller in self.callers {
            answered.extend(caller.await.unwrap());
        }
        answered
    }
}

async fn call(
    caller: Caller,
    number: usize,
    is_over: Arc<AtomicBool>,
    denied: Arc<AtomicUsize>,
) -> HashSet<String> {
    let mut answered = HashSet::new();
    for count in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let tool = format!("tool-{number}-{count}");
        let answer = caller.call(&tool, json!({})).await;
        assert!(answer.took < Duration::from_secs(10), "a deadline holds: {answer:?}");
        if answer.reason() == Some("audit-unavailable") {
            denied.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            answered.insert(tool);
        }
    }
    answered
}

/// Calls what this caller may not call, and returns the number of refusals.
async fn call_without_right(caller: Caller, is_over: Arc<AtomicBool>) -> usize {
    let mut refused = 0;
    while !is_over.load(Ordering::Relaxed) {
        let answer = caller.call("get_time", json!({})).await;
        let reason = answer.reason();
        assert!(matches!(reason, Some("audit-unavailable" | "not-allowed")), "a wrong decision: {answer:?}");
        refused += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    refused
}

/// Waits until calls are denied because of the audit, or pass again.
async fn await_calls(caller: &Caller, are_denied: bool) {
    let end = Instant::now() + 2 * PATIENCE;
    let is_denied =
        async || caller.call("echo", json!({ "text": "x" })).await.reason() == Some("audit-unavailable");
    while is_denied().await != are_denied {
        assert!(Instant::now() < end, "calls are not denied, or do not recover: {are_denied}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ends the gateway, and checks that its log is intact and has these calls.
fn assert_complete(running: &mut Running, answered: &HashSet<String>) {
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    let setup = running.setup();
    assert_eq!(verified(setup).verdict, LogVerdict::Intact);
    let decisions = of_kind(setup, "decision");
    let recorded: HashSet<_> = decisions.iter().filter_map(|entry| entry["target"].as_str()).collect();
    let missing: Vec<_> = answered.iter().filter(|tool| !recorded.contains(tool.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {}", answered.len());
}

/// The keys of a caller and of one who may not call.
fn keys(setup: &Setup, settings: &str) -> (String, String) {
    config(setup, settings);
    (setup.key(&["user", "--allow", "*"]), setup.key(&["stranger", "--allow", "nothing"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_of_a_few_mib_that_is_full_denies_until_it_has_room() {
    for sync in ["before-answer", "batched"] {
        let setup = Setup::new();
        let Some(_disk) = Mounted::in_memory(&setup, "2m") else { return };
        let (key, stranger) = keys(&setup, &format!("sync = '{sync}'"));
        // Most of the disk is full of something else.
        let other = directory(&setup).join("other");
        std::fs::write(&other, vec![0; 1800 << 10]).unwrap();
        let mut running = setup.serve();
        let caller = Caller::new(running.url(), Some(&key));
        let load = Load::start(&running, &key, &stranger);
        await_calls(&caller, true).await;
        load.await_denial().await;
        std::fs::remove_file(&other).unwrap();
        await_calls(&caller, false).await;
        let answered = load.end().await;
        assert!(answered.len() > 50, "{} answered", answered.len());
        assert_complete(&mut running, &answered);
        let recovered = of_kind(running.setup(), "recovered");
        assert!(
            recovered.iter().any(|entry| entry["reason"].as_str().unwrap().contains("space")),
            "{recovered:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_denies_in_time_until_it_answers() {
    let setup = Setup::new();
    let Some(disk) = Mounted::in_a_file(&setup) else { return };
    let (key, stranger) = keys(&setup, "sync = 'before-answer'");
    let mut running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let load = Load::start(&running, &key, &stranger);
    await_calls(&caller, false).await;
    disk.freeze();
    // The first call may be denied before the write counts as hung, because it came before the write.
    await_calls(&caller, true).await;
    await_calls(&caller, true).await;
    load.await_denial().await;
    disk.thaw();
    await_calls(&caller, false).await;
    let answered = load.end().await;
    assert_complete(&mut running, &answered);
    let recovered = of_kind(running.setup(), "recovered");
    assert!(recovered.iter().any(|entry| entry["after_ms"].as_u64() > Some(2000)), "{recovered:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_delays_calls_and_denies_none() {
    let setup = Setup::new();
    let Some(disk) = Mounted::in_a_file(&setup) else { return };
    let (key, stranger) = keys(&setup, "sync = 'before-answer'");
    let mut running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let load = Load::start(&running, &key, &stranger);
    await_calls(&caller, false).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..8 {
        disk.freeze();
        let calling = tokio::spawn({
            let caller = caller.clone();
            async move { caller.call("echo", json!({ "text": "x" })).await }
        });
        tokio::time::sleep(Duration::from_millis(400)).await;
        disk.thaw();
        let answer = calling.await.unwrap();
        assert!(answer.is_result(), "{answer:?}");
        slowest = slowest.max(answer.took);
    }
    assert!(slowest > Duration::from_millis(300), "the disk is slow: {slowest:?}");
    assert_eq!(load.denied(), 0);
    let answered = load.end().await;
    assert_complete(&mut running, &answered);
}

/// Root may write to a directory without permission, but not to one that is immutable.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_permission_denies_at_its_next_segment() {
    let setup = Setup::new();
    let Some(_disk) = Mounted::in_a_file(&setup) else { return };
    let (key, stranger) = keys(&setup, "sync = 'before-answer'\nrotate_size_mib = 1\ncompress = false");
    let mut running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    await_calls(&caller, false).await;
    let log = directory(running.setup());
    run("chattr", &["+i"], &log);
    let load = Load::start(&running, &key, &stranger);
    await_calls(&caller, true).await;
    load.await_denial().await;
    run("chattr", &["-i"], &log);
    await_calls(&caller, false).await;
    let answered = load.end().await;
    assert_complete(&mut running, &answered);
    assert!(!of_kind(running.setup(), "recovered").is_empty());
    assert!(of_kind(running.setup(), "segment").len() > 1);
}
