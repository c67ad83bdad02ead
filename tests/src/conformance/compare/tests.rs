//! Tests of the definition of a difference.

use super::*;
use crate::conformance::Status::{self, Failure, Skipped, Success, Warning};

fn run<const N: usize>(checks: [(&str, Status); N]) -> Vec<Check> {
    let checks = checks.into_iter();
    checks.map(|(id, status)| Check { scenario: "scenario".into(), id: id.into(), status }).collect()
}

fn expected(check: &str, through: Outcome) -> Expected {
    Expected {
        revision: "2026-07-28".into(),
        upstream: None,
        scenario: "scenario".into(),
        check: check.into(),
        through,
        reason: "a reason".into(),
    }
}

fn unexpected(check: &str, direct: Outcome, through: Outcome) -> Difference {
    Difference::Unexpected { scenario: "scenario".into(), check: check.into(), direct, through }
}

#[test]
fn equal_runs_with_failures_do_not_differ() {
    let checks = run([("a", Success), ("b", Failure), ("c", Skipped)]);
    assert_eq!(compare(&checks, &checks, &[]), []);
}

#[test]
fn worse_and_better_results_are_differences() {
    let direct = run([("a", Success), ("b", Failure)]);
    let through = run([("a", Warning), ("b", Success)]);
    let differences = [
        unexpected("a", Outcome::Ran(Success), Outcome::Ran(Warning)),
        unexpected("b", Outcome::Ran(Failure), Outcome::Ran(Success)),
    ];
    assert_eq!(compare(&direct, &through, &[]), differences);
}

#[test]
fn a_check_in_only_one_run_is_a_difference() {
    let direct = run([("a", Success), ("b", Success)]);
    let through = run([("b", Success), ("c", Failure)]);
    let differences = [
        unexpected("a", Outcome::Ran(Success), Outcome::Missing),
        unexpected("c", Outcome::Missing, Outcome::Ran(Failure)),
    ];
    assert_eq!(compare(&direct, &through, &[]), differences);
}

#[test]
fn an_expected_difference_is_not_reported() {
    let direct = run([("a", Success), ("b", Success)]);
    let through = run([("a", Failure)]);
    let baseline = [expected("a", Outcome::Ran(Failure)), expected("b", Outcome::Missing)];
    assert_eq!(compare(&direct, &through, &baseline), []);
}

#[test]
fn an_unexpected_outcome_of_an_expected_difference_is_reported() {
    let direct = run([("a", Success)]);
    let through = run([("a", Failure)]);
    let baseline = [expected("a", Outcome::Ran(Warning))];
    let difference = unexpected("a", Outcome::Ran(Success), Outcome::Ran(Failure));
    assert_eq!(compare(&direct, &through, &baseline), [difference]);
}

#[test]
fn a_stale_entry_is_a_difference() {
    let checks = run([("a", Success)]);
    let passes_now = expected("a", Outcome::Ran(Failure));
    let never_ran = expected("gone", Outcome::Ran(Failure));
    let found = compare(&checks, &checks, &[never_ran.clone(), passes_now.clone()]);
    assert_eq!(found, [Difference::Stale(passes_now), Difference::Stale(never_ran)]);
}

#[test]
fn the_same_check_of_another_scenario_is_another_check() {
    let direct = run([("a", Success)]);
    let mut through = direct.clone();
    through[0].scenario = "other".into();
    assert_eq!(compare(&direct, &through, &[]).len(), 2);
}
