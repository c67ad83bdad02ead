//! A suggestion as a file of cases: what each caller has used is allowed, and what only others have used is not.

use std::collections::BTreeSet;

use super::least_policy::LeastPolicy;
use super::toml_text::{quoted, settings};
use crate::cli::call_history::SeenCaller;

/// The most cases in a file.
const MOST: usize = 1000;

/// The text of the file, and the number of cases without room in it.
pub(super) fn cases(policy: &LeastPolicy, since: &str) -> (String, usize) {
    let mut text = format!(
        "# Cases for an `rbac` policy of the upstream `{}`: the calls that the audit log has as allowed since {since}.\n\
         # Run them with `witgate plugin test FILE`. For `cases` of a policy in the configuration, remove the tables\n\
         # below `config`: then they test its own settings.\n\
         builtin = \"rbac\"\nupstream = {}\n\n{}",
        policy.upstream.replace(char::is_control, " "),
        quoted(&policy.upstream),
        settings(policy, "config")
    );
    let patterns: BTreeSet<&String> = policy.roles.values().flatten().collect();
    let questions =
        policy.holders.keys().flat_map(|caller| patterns.iter().map(move |pattern| (caller, *pattern)));
    let (allowed, denied): (Vec<_>, Vec<_>) =
        questions.partition(|(caller, pattern)| policy.allows(caller, pattern));
    let all = allowed.len() + denied.len();
    let each = allowed.into_iter().map(|question| (question, true));
    let each = each.chain(denied.into_iter().map(|question| (question, false)));
    for (number, ((caller, pattern), is_allowed)) in (1..=MOST).zip(each) {
        text.push_str(&case(number, caller, pattern, is_allowed));
    }
    (text, all.saturating_sub(MOST))
}

fn case(number: usize, caller: &SeenCaller, pattern: &str, is_allowed: bool) -> String {
    let verb = if is_allowed { "may" } else { "may not" };
    let name = format!("{number}: {} of {} {verb} use {pattern}", caller.subject, caller.proven_by);
    let issuer = caller.issuer.as_ref().map(|issuer| format!(", issuer = {}", quoted(issuer)));
    let expect = if is_allowed { "expect = \"allow\"" } else { "expect.denied = \"not-allowed\"" };
    format!(
        "[[case]]\nname = {}\ncall = {}\nprincipal = {{ subject = {}, proven_by = {}{} }}\n{expect}\n\n",
        quoted(&name),
        quoted(pattern),
        quoted(&caller.subject),
        quoted(&caller.proven_by),
        issuer.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use witgate_cases::Suite;
    use witgate_rbac::Config as RbacConfig;

    use super::*;
    use crate::cli::call_history::tests::history;

    /// Callers whose names need quotes, and targets of each kind.
    fn policy() -> LeastPolicy {
        let history = history(&[
            ("ada", "allowed", "tools/call", "echo"),
            ("ada \"the first\"", "allowed", "tools/call", "echo"),
            ("ben", "allowed", "resources/read", "resource:file:///a"),
            ("ben", "allowed", "tools/call", "echo"),
            ("ben", "denied", "tools/call", "drop_all"),
            ("eve", "allowed", "tools/call", "resource:trap"),
            ("eve", "allowed", "tools/call", "a*"),
        ]);
        let mut policies = LeastPolicy::of(&history, None);
        assert_eq!(policies.len(), 1);
        policies.remove(0)
    }

    #[test]
    fn callers_with_the_same_calls_share_a_role_and_inexact_names_are_left_out() {
        let policy = policy();
        let roles: Vec<_> = policy.holders.values().collect();
        assert_eq!(roles, ["suggested-1", "suggested-1", "suggested-2"]);
        assert_eq!(policy.notes.len(), 2, "{:?}", policy.notes);
    }

    #[test]
    fn the_texts_are_read_as_they_are_meant() {
        let policy = policy();
        let rbac = super::super::toml_text::rbac(std::slice::from_ref(&policy), "2026-11-01T00:00:00Z");
        let table: toml::Table = rbac.parse().unwrap_or_else(|error| panic!("{error}: {rbac}"));
        let config = table["policies"]["suggested-files"]["config"].clone();
        let rules: RbacConfig = config.try_into().unwrap();
        let own: RbacConfig = serde_json::from_value(policy.to_json()["config"].clone()).unwrap();
        assert_eq!(rules, own);
        assert_eq!(rules.subjects.len(), 3);

        let (text, left_out) = cases(&policy, "2026-11-01T00:00:00Z");
        let suite = Suite::parse(Path::new("cases.toml"), &text);
        let suite = suite.unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!((suite.cases.len(), left_out), (6, 0));
    }
}
