//! `witgate serve`, killed during a swap, a compilation or a rollback.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use witgate_base::digest::{digest_text, sha256};
use witgate_tests::gateway::{Running, Setup, component};

use super::{Chance, kills};
use crate::caller::{Caller, Upstream, until};

/// Longer than taking over takes, and shorter than compiling does at times.
const LONGEST: Duration = Duration::from_millis(400);

/// A component by its number: even ones are `rbac`, odd ones `read-only`, each with a digest of its own.
fn version(number: u64) -> Vec<u8> {
    let name = if number.is_multiple_of(2) { "rbac" } else { "examples/read-only" };
    let mut bytes = fs::read(component(name)).unwrap();
    bytes.extend([0, 10, 1, b'x']);
    bytes.extend(number.to_be_bytes());
    bytes
}

fn digest(number: u64) -> String {
    digest_text(&sha256(&version(number)))
}

fn setup(upstream: &Upstream) -> Setup {
    let setup = Setup::new();
    let cache = setup.dir().join("cache").display().to_string();
    // A cache of its own, so that components are compiled here, and cached code comes from killed processes.
    let setup = setup.env("WITGATE_CACHE", &cache);
    setup.component("api-key");
    setup.file("plugins/rules.wasm", version(0));
    setup.config("", &crate::swap::with_rules_at(upstream, "plugins/rules.wasm"));
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_after_a_kill_uses_a_whole_version() {
    let upstream = Upstream::start();
    let setup = setup(&upstream);
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let (mut running, mut chance) = (setup.serve(), Chance(0xdead));
    let caller = Caller::new(running.url(), Some(&key));
    let (mut written, mut rolled_back) = (0_u64, 0);
    for number in 1..=kills(20) {
        // Some components were compiled before, so that their code comes from the disk.
        let next = if chance.below(3) == 0 { written.saturating_sub(1 + chance.below(3)) } else { number };
        let path = running.setup().dir().join("plugins/rules.wasm");
        let goes_back = chance.below(3) == 0;
        if goes_back {
            // Something to go back from: a process that has just started knows of nothing earlier.
            written = number;
            crate::swap::rename_over(&path, &version(number));
            let live =
                async || (crate::swap::policy(&running, "rules")["digest"] == digest(number)).then_some(());
            until("what is gone back from", live).await;
            let mut back = running.setup().command(&["plugin", "rollback"]);
            let mut back = back.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(chance.within(LONGEST / 4));
            running.kill();
            back.wait().unwrap();
        } else {
            match chance.below(2) {
                0 => fs::write(&path, version(next)).unwrap(),
                _ => crate::swap::rename_over(&path, &version(next)),
            }
            written = next;
            std::thread::sleep(chance.within(LONGEST));
            running.kill();
        }
        running.start_again();
        let live = check(&running, &caller).await;
        let list = running.plugins();
        if list["rolled_back_to"].is_null() {
            assert_eq!(live, digest(written), "kill {number}: what the file says: {list}");
        } else {
            rolled_back += 1;
            assert!((0..=number).any(|known| live == digest(known)), "kill {number}: {list}");
        }
    }
    assert!(kills(20) < 50 || rolled_back > 0, "nothing was ever rolled back");
    whatever_is_kept_is_whole(&running);
}

/// Asserts that the live component alone decides.
async fn check(running: &Running, caller: &Caller) -> String {
    let rules = crate::swap::policy(running, "rules");
    assert_eq!((&rules["state"], &rules["source"]), (&json!("live"), &json!("component")), "{rules}");
    let live = rules["digest"].as_str().unwrap().to_owned();
    let reads_only = rules["version"].is_string() && is_read_only(&live);
    for (tool, reason) in [("greet", None), ("test_error_handling", Some("denied"))] {
        let answer = caller.call(tool, json!({ "name": "you" })).await;
        let expected = if reads_only { Some("not-read-only") } else { reason };
        assert_eq!(answer.reason(), expected, "{tool} under {live}: {answer:?}");
    }
    live
}

fn is_read_only(live: &str) -> bool {
    (0..=kills(20)).any(|number| number % 2 == 1 && digest(number) == live)
}

fn whatever_is_kept_is_whole(running: &Running) {
    let components = running.setup().dir().join("witgate.state/components");
    for file in fs::read_dir(components).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(name) = file.file_stem().filter(|_| file.extension().is_some_and(|suffix| suffix == "wasm"))
        else {
            continue;
        };
        let digest = digest_text(&sha256(&fs::read(&file).unwrap()));
        assert_eq!(digest.trim_start_matches("sha256:"), name.to_str().unwrap(), "{}", file.display());
    }
}
