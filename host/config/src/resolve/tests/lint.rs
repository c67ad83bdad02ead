//! `[lint]`.

use super::{Folder, good};
use crate::lint::{LintCode, LintException};

const REST: &str = "[upstreams.u]\nown_tools = true\n[pipeline]\nauthorize = ['rules']\nanonymous = { roles = [] }\n\
                    [policies.rules]\nkind = 'rbac'\nconfig = { roles = {} }\n";

#[test]
fn accepted_findings_are_of_a_lint_or_of_one_name() {
    let config =
        good(&format!("{REST}[lint]\nallow = ['destructive-wildcard', 'unknown-name:resource:file:///a']\n"));
    let wildcard = LintException { code: LintCode::DestructiveWildcard, name: None };
    let name = Some("resource:file:///a".to_owned());
    let one = LintException { code: LintCode::UnknownName, name };
    assert_eq!(config.lint_exceptions, [wildcard.clone(), one.clone()]);
    assert!(wildcard.covers(LintCode::DestructiveWildcard, "*"));
    assert!(one.covers(LintCode::UnknownName, "resource:file:///a"));
    assert!(!one.covers(LintCode::UnknownName, "echo") && !one.covers(LintCode::ShadowedRule, "echo"));
}

#[test]
fn an_unknown_lint_is_a_warning_with_the_nearest_code() {
    let said = Folder::with(&format!("{REST}[lint]\nallow = ['unknown-names']\n")).says();
    assert!(said.contains("there is no lint `unknown-names` (did you mean `unknown-name`?)"), "{said}");
    let said = Folder::with(&format!("{REST}[lint]\nalow = []\n")).says();
    assert!(said.contains("did you mean `allow`?"), "{said}");
}

#[test]
fn each_code_has_a_name_of_its_own() {
    for code in LintCode::ALL {
        assert_eq!(LintCode::of(code.name()), Some(code));
    }
}
