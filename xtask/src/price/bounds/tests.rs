use super::{Bounds, Finding};
use crate::price::measurement::Measurement;

const CALLS: &str = "scene: allocations";
const STEPS: &str = "scene: instructions";

fn measured(figures: &[(&str, u64)]) -> Measurement {
    let figures = figures.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    Measurement { figures, compiler: "one".to_owned(), uncounted: None }
}

fn bounds(figures: &[(&str, u64)]) -> Bounds {
    Bounds::of(&measured(figures))
}

#[test]
fn a_figure_above_its_bound_fails_and_says_what_to_do() {
    let findings = bounds(&[(CALLS, 1000)]).judge(&measured(&[(CALLS, 1031)]));
    assert_eq!(findings, [Finding::Above { figure: CALLS.to_owned(), bound: 1000, value: 1031 }]);
    let text = findings[0].to_string();
    assert!(findings[0].is_failure());
    for part in ["scene", "allocations", "1000", "1031", "+3.1 %", "cheaper", "raise the bound", "why"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_figure_within_three_percent_of_its_bound_is_fine() {
    for value in [970, 1000, 1030] {
        assert_eq!(bounds(&[(CALLS, 1000)]).judge(&measured(&[(CALLS, value)])), []);
    }
    assert_eq!(bounds(&[(CALLS, 0)]).judge(&measured(&[(CALLS, 0)])), []);
}

#[test]
fn a_figure_below_its_bound_asks_for_a_lower_one() {
    let findings = bounds(&[(CALLS, 1000)]).judge(&measured(&[(CALLS, 969)]));
    assert_eq!(findings, [Finding::Below { figure: CALLS.to_owned(), bound: 1000, value: 969 }]);
    assert!(!findings[0].is_failure());
    assert!(findings[0].to_string().contains("lower the bound"));
}

#[test]
fn a_figure_without_a_bound_and_a_bound_without_a_figure_fail() {
    let findings = bounds(&[("old", 1)]).judge(&measured(&[("new", 2)]));
    let expected = [
        Finding::Missing { figure: "new".to_owned(), value: 2 },
        Finding::Unknown { figure: "old".to_owned() },
    ];
    assert_eq!(findings, expected);
    assert!(findings.iter().all(Finding::is_failure));
}

#[test]
fn instructions_of_another_compiler_are_not_judged_but_allocations_are() {
    let bounds = bounds(&[(CALLS, 100), (STEPS, 100)]);
    let other = Measurement { compiler: "another".to_owned(), ..measured(&[(CALLS, 200), (STEPS, 200)]) };
    assert_eq!(bounds.judge(&other), [Finding::Above { figure: CALLS.to_owned(), bound: 100, value: 200 }]);
    assert!(bounds.unjudged(&other).is_some_and(|message| message.contains("another")));
}

#[test]
fn instructions_that_were_not_counted_are_not_missed() {
    let without = Measurement { uncounted: Some("no valgrind".to_owned()), ..measured(&[(CALLS, 100)]) };
    assert_eq!(bounds(&[(CALLS, 100), (STEPS, 100)]).judge(&without), []);
}

#[test]
fn written_bounds_are_read_again() {
    let bounds = bounds(&[(STEPS, 5), (CALLS, 1)]);
    assert_eq!(Bounds::parse(&bounds.text()).unwrap(), bounds);
    assert!(bounds.text().ends_with("[figures]\n\"scene: allocations\" = 1\n\"scene: instructions\" = 5\n"));
}
