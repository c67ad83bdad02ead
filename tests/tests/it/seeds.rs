//! The seeds of the fuzz targets, put to their checks: what a fuzzer has once found is looked at
//! on every toolchain.

use std::path::PathBuf;

use witgate_checks::CHECKS;
use witgate_tests::gateway::workspace;

#[test]
fn every_seed_passes_the_check_of_its_target() {
    let mut failures = Vec::new();
    for (target, check) in CHECKS {
        let seeds = files(&format!("fuzz/seeds/{target}"));
        assert!(seeds.len() >= 5, "fuzz/seeds/{target} has {} seeds", seeds.len());
        for seed in seeds {
            let input = std::fs::read(&seed).unwrap();
            // What does not hold is told as it panics.
            if std::panic::catch_unwind(|| check(&input)).is_err() {
                failures.push(seed);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A check that no target calls, or seeds that no check gets, would prove nothing.
#[test]
fn every_check_has_its_target_and_its_seeds() {
    let names = |dir: &str| -> Vec<String> {
        let mut names: Vec<_> =
            files(dir).iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let checks: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz/fuzz_targets"), checks);
    assert_eq!(names("fuzz/seeds"), checks);
}

fn files(dir: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace().join(dir)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}
