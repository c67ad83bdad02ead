//! All lints. docs/lint.md has a paragraph about each.

use super::finding::{LintCheck, LintFinding};
use super::scene::LintScene;
use super::{
    contradictory_condition, denied_ui, destructive_wildcard, impossible_value, limit_above_upstream,
    optional_argument, overlapping_issuers, shadowed_rule, single_item, unknown_argument, unknown_name,
    unreachable_role, unsupported_scope, unusable_origin,
};

/// All lints, in the order of reports.
pub(super) const CHECKS: [LintCheck; 14] = [
    unknown_name::CHECK,
    unknown_argument::CHECK,
    impossible_value::CHECK,
    contradictory_condition::CHECK,
    optional_argument::CHECK,
    single_item::CHECK,
    unreachable_role::CHECK,
    shadowed_rule::CHECK,
    unsupported_scope::CHECK,
    denied_ui::CHECK,
    destructive_wildcard::CHECK,
    limit_above_upstream::CHECK,
    overlapping_issuers::CHECK,
    unusable_origin::CHECK,
];

/// The most findings of one lint, so that a report ends.
const MOST: usize = 200;

/// The findings of all lints.
pub(super) struct LintResult {
    /// Those that remain, and those that the configuration accepts.
    pub(super) remaining: Vec<(LintCheck, LintFinding)>,
    pub(super) accepted: Vec<(LintCheck, LintFinding)>,
    /// The number of findings beyond the bound.
    pub(super) left_out: usize,
}

impl LintResult {
    pub(super) fn of(scene: &LintScene) -> Self {
        let mut result = Self { remaining: Vec::new(), accepted: Vec::new(), left_out: 0 };
        for check in CHECKS {
            let found = (check.find)(scene);
            result.left_out += found.len().saturating_sub(MOST);
            for finding in found.into_iter().take(MOST) {
                let is_accepted = scene
                    .config
                    .lint_exceptions
                    .iter()
                    .any(|except| except.covers(check.code, &finding.name));
                let list = if is_accepted { &mut result.accepted } else { &mut result.remaining };
                list.push((check, finding));
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use witgate_config::lint::LintCode;

    use super::super::fixture::{LISTS, scene, with_roles};
    use super::super::snapshot::ListSnapshot;
    use super::*;

    #[test]
    fn each_code_has_a_lint_and_a_paragraph() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lint.md");
        let page = std::fs::read_to_string(page).unwrap();
        let titles = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
        let documented: Vec<_> = titles.collect();
        assert_eq!(documented, CHECKS.map(|check| check.code.name()));
        let codes: BTreeSet<_> = CHECKS.iter().map(|check| check.code).collect();
        assert_eq!(codes, LintCode::ALL.into_iter().collect());
    }

    #[test]
    fn accepted_findings_do_not_remain() {
        let roles = with_roles("user = { allow = ['*', 'get_smu'] }");
        let result = |allow: &str| {
            let mut lists = ListSnapshot::default();
            lists.upstreams.insert("files".to_owned(), serde_json::from_str(LISTS).unwrap());
            let result = LintResult::of(&scene(&format!("{roles}[lint]\nallow = {allow}\n")).with(lists));
            let codes = |found: &[(LintCheck, LintFinding)]| {
                found.iter().map(|(check, _)| check.code.name()).collect::<Vec<_>>()
            };
            (codes(&result.remaining), codes(&result.accepted))
        };
        let all = ["unknown-name", "shadowed-rule", "destructive-wildcard"];
        assert_eq!(result("[]"), (all.to_vec(), vec![]));
        assert_eq!(
            result("['destructive-wildcard:*', 'unknown-name:other', 'shadowed-rule']"),
            (vec!["unknown-name"], vec!["shadowed-rule", "destructive-wildcard"])
        );
    }
}
