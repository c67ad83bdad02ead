//! The seeds of the fuzz targets, run through their checks: every toolchain checks what a fuzzer has found once.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use witgate_checks::{CHECKS, Check};
use witgate_tests::gateway::workspace;

use crate::properties::cases;

#[test]
fn every_seed_passes_the_check_of_its_target() {
    let mut failures = Vec::new();
    for (target, check) in CHECKS {
        let seeds = files(&format!("fuzz/seeds/{target}"));
        assert!(seeds.len() >= 5, "fuzz/seeds/{target} has {} seeds", seeds.len());
        for seed in seeds {
            let input = std::fs::read(&seed).unwrap();
            // A failed check panics with its message.
            if std::panic::catch_unwind(|| check(&input)).is_err() {
                failures.push(seed);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A check that no target calls, or seeds without a check, would prove nothing.
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

/// The first steps of a fuzzer, without one.
#[test]
fn mutations_of_seeds_pass_the_checks() {
    for (target, check) in CHECKS {
        let mut seeds = files(&format!("fuzz/seeds/{target}"));
        seeds.sort();
        let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| std::fs::read(seed).unwrap()).collect();
        let near = (any::<Index>(), prop::collection::vec(edit(), 1..6));
        let outcome = TestRunner::new(cases(1000)).run(&near, |(seed, edits)| {
            let mut input = seed.get(&seeds).clone();
            edits.iter().for_each(|edit| edit.make(&mut input, &seeds));
            holds(*check, &input).map_err(TestCaseError::fail)
        });
        outcome.unwrap_or_else(|error| panic!("{target}: {error}"));
    }
}

/// A failure prints the input: the edits alone say little.
fn holds(check: Check, input: &[u8]) -> Result<(), String> {
    std::panic::catch_unwind(|| check(input)).map_err(|_| format!("{:?}", input.escape_ascii().to_string()))
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index, usize),
    /// A part that is repeated.
    Repeat(Index, usize),
    /// A part of a seed: its number, beginning and length.
    Splice(Index, Index, Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(b"\"'{}[]:,.=\\ \n*0aA_-\0".to_vec())];
    let place = any::<Index>;
    prop_oneof![
        (place(), byte()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (place(), byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        (place(), 1..8_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (place(), 1..64_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
        (place(), place(), place(), 1..64_usize)
            .prop_map(|(at, seed, from, length)| Edit::Splice(at, seed, from, length)),
    ]
}

impl Edit {
    fn make(&self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let (Self::Replace(at, _)
        | Self::Insert(at, _)
        | Self::Remove(at, _)
        | Self::Repeat(at, _)
        | Self::Splice(at, ..)) = self;
        let at = at.index(input.len() + 1);
        let end = |length: usize| (at + length).min(input.len());
        match self {
            Self::Replace(_, byte) => drop(input.splice(at..end(1), [*byte])),
            Self::Insert(_, byte) => input.insert(at, *byte),
            Self::Remove(_, length) => drop(input.drain(at..end(*length))),
            Self::Repeat(_, length) => {
                let part = input[at..end(*length)].to_vec();
                input.splice(at..at, part);
            }
            Self::Splice(_, seed, from, length) => {
                let part = seed.get(seeds);
                let from = from.index(part.len() + 1);
                let part = part[from..(from + length).min(part.len())].to_vec();
                input.splice(at..at, part);
            }
        }
    }
}

fn files(dir: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace().join(dir)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}
