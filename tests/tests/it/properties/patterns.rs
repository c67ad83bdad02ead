//! The matcher of patterns, compared with a slow and simple one.

use proptest::prelude::*;
use witgate_plugin::{Glob, Pattern, TargetKind};

use super::cases;

/// The meaning of a glob: `*` matches nothing, or one more character of the name.
fn fits(glob: &[char], name: &[char]) -> bool {
    match (glob, name) {
        ([], []) => true,
        (['*', rest @ ..], _) if fits(rest, name) => true,
        (['*', ..], [_, others @ ..]) => fits(glob, others),
        ([own, rest @ ..], [first, others @ ..]) => own == first && fits(rest, others),
        _ => false,
    }
}

/// The meaning of a pattern.
fn covers(pattern: &str, kind: TargetKind, name: &str) -> bool {
    if pattern == "*" {
        return kind != TargetKind::Method;
    }
    let (own, glob) = match pattern.split_once(':') {
        Some(("resource", glob)) => (TargetKind::Resource, glob),
        Some(("prompt", glob)) => (TargetKind::Prompt, glob),
        Some(("method", glob)) => (TargetKind::Method, glob),
        _ => (TargetKind::Tool, pattern),
    };
    let characters = |text: &str| text.chars().collect::<Vec<_>>();
    own == kind && fits(&characters(glob), &characters(name))
}

/// Half of the names match, because they are made from the pattern with a few letters for each `*`.
fn glob_and_name() -> impl Strategy<Value = (String, String)> {
    let glob = "[ab*]{0,4}|[ab*é]{0,10}|[a*]{0,12}";
    (glob, prop::collection::vec("[ab]{0,2}", 12), "[abé]{0,10}", any::<bool>()).prop_map(
        |(glob, runs, other, fitting)| {
            let mut runs = runs.into_iter();
            let filled = |c: char| if c == '*' { runs.next().unwrap_or_default() } else { c.to_string() };
            let name = if fitting { glob.chars().map(filled).collect() } else { other };
            (glob, name)
        },
    )
}

fn kind() -> impl Strategy<Value = TargetKind> {
    use TargetKind::{Method, Prompt, Resource, Tool};
    prop::sample::select(vec![Tool, Resource, Prompt, Method])
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn a_glob_matches_like_its_definition((glob, name) in glob_and_name()) {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(Glob::new(&glob).matches(&name), fits(&characters(&glob), &characters(&name)));
    }

    #[test]
    fn a_pattern_covers_like_its_definition(
        (glob, name) in glob_and_name(),
        prefix in "(resource:x:|prompt:|method:|tool:|)",
        kind in kind(),
    ) {
        // Of resources there are only URIs.
        let (glob, name) = match prefix.starts_with("resource:") {
            true => (glob.replace('é', "~"), format!("x:{}", name.replace('é', "~"))),
            false => (glob, name),
        };
        let text = format!("{prefix}{glob}");
        match text.parse::<Pattern>() {
            Ok(pattern) => prop_assert_eq!(pattern.matches(kind, &name), covers(&text, kind, &name)),
            Err(_) => prop_assert!(glob.is_empty(), "{} is a pattern", text),
        }
    }
}
