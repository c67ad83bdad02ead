//! Keys that rotate every second, under load: no valid token is refused, and no withdrawn key is accepted for longer
//! than its bound. `WITGATE_ROTATION_S` sets a longer duration.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use witgate_tests::gateway::Running;
use witgate_tests::issuer::{Issuer, Signer};

use super::{call, gateway, outcome, token};

/// The duration of the rotation unless it is set otherwise.
const USUALLY_S: u64 = 15;
/// The number of keys in the published set.
const OVERLAP: usize = 4;
/// A set lives for five seconds at least; one more is for those that come while it is fetched, and the rest for
/// machines that are busy with other things.
const BOUND: Duration = Duration::from_secs(10);
const CALLERS: usize = 4;

/// The keys by their age, and when each was withdrawn.
#[derive(Default)]
struct Keys {
    published: VecDeque<Arc<Signer>>,
    withdrawn: VecDeque<(Arc<Signer>, Instant)>,
}

struct Scene {
    gateway: Running,
    issuer: Issuer,
    keys: Mutex<Keys>,
    is_over: AtomicBool,
    taken: AtomicU64,
    findings: Mutex<Vec<String>>,
}

impl Scene {
    /// The newest key signs from the moment on at which it is published.
    fn rotate(&self, number: u64) {
        let mut keys = self.keys.lock().unwrap();
        keys.published.push_back(Arc::new(Signer::new(format!("key-{number}"))));
        let out = (keys.published.len() > OVERLAP).then(|| keys.published.pop_front()).flatten();
        let published: Vec<&Signer> = keys.published.iter().map(Arc::as_ref).collect();
        self.issuer.publish(&published, "max-age=1");
        keys.withdrawn.extend(out.map(|key| (key, Instant::now())));
    }

    /// Calls with the newest two of the keys: the others may be withdrawn while the call is under way.
    fn call_by_turns(&self, caller: usize) {
        let mut turn = caller;
        while !self.is_over.load(Ordering::Relaxed) {
            turn += 1;
            let signer = {
                let keys = self.keys.lock().unwrap();
                let from_behind = turn % 2 + 1;
                Arc::clone(&keys.published[keys.published.len() - from_behind.min(keys.published.len())])
            };
            let begin = Instant::now();
            let found = outcome(&call(&self.gateway, &token(&self.gateway, &self.issuer, &signer)));
            // If the machine stood still for so long, the key was withdrawn meanwhile, and the refusal is right.
            let is_in_time = begin.elapsed() < Duration::from_secs(1);
            match found.0 {
                200 => drop(self.taken.fetch_add(1, Ordering::Relaxed)),
                _ if is_in_time => self.find(format!("a good token is refused: {found:?}, {signer:?}")),
                _ => {}
            }
        }
    }

    /// Calls with keys that were withdrawn.
    fn call_too_late(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let late = {
                let keys = self.keys.lock().unwrap();
                let is_late = |(_, since): &&(Arc<Signer>, Instant)| since.elapsed() > BOUND;
                keys.withdrawn.iter().rev().find(is_late).map(|(signer, _)| Arc::clone(signer))
            };
            if let Some(signer) = late {
                let found = outcome(&call(&self.gateway, &token(&self.gateway, &self.issuer, &signer)));
                if found != (401, "unknown-key".to_owned()) {
                    self.find(format!("a withdrawn key: {found:?}, {signer:?}"));
                }
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// Enough to see what it is; a refusal takes less than a millisecond.
    fn find(&self, finding: String) {
        let mut findings = self.findings.lock().unwrap();
        if findings.len() < 20 {
            findings.push(finding);
        }
    }
}

#[test]
fn keys_rotate_every_second_under_load() {
    let seconds =
        std::env::var("WITGATE_ROTATION_S").ok().and_then(|text| text.parse().ok()).unwrap_or(USUALLY_S);
    let issuer = Issuer::start();
    let scene = Scene {
        gateway: gateway(true, &format!("issuer = '{}'", issuer.url())),
        issuer,
        keys: Mutex::default(),
        is_over: AtomicBool::new(false),
        taken: AtomicU64::new(0),
        findings: Mutex::default(),
    };
    scene.rotate(0);
    scene.rotate(1);
    thread::scope(|scope| {
        (0..CALLERS).for_each(|caller| {
            drop(scope.spawn({
                let scene = &scene;
                move || scene.call_by_turns(caller)
            }))
        });
        scope.spawn(|| scene.call_too_late());
        for number in 2..seconds + 2 {
            thread::sleep(Duration::from_secs(1));
            scene.rotate(number);
        }
        scene.is_over.store(true, Ordering::Relaxed);
    });
    let findings = scene.findings.lock().unwrap();
    assert!(
        findings.is_empty(),
        "{} findings:\n{}\n{}",
        findings.len(),
        findings.join("\n"),
        scene.gateway.log()
    );
    let (taken, requests) = (scene.taken.load(Ordering::Relaxed), scene.issuer.count("/jwks"));
    assert!(taken > 20, "only {taken} calls");
    // At most one request for each new key, and one for each lifetime of a set.
    let allowed = usize::try_from(seconds * 2).unwrap() + 5;
    assert!(requests <= allowed, "{requests} requests in {seconds} s");
}
