//! Rules without an effect, because another one precedes them.

use witgate_config::lint::LintCode;

use super::coverage::{covers, is_wildcard};
use super::finding::{LintCheck, LintFinding};
use super::placed_rules::{PatternUse, PlacedCondition, PlacedPattern, RuleSet};
use super::scene::{LintScene, PlacedRules};

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::ShadowedRule,
    title: "a rule without an effect, because another one precedes it",
    why: "Whoever reads or changes the rule believes that it decides, and another one does.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    let patterns = scene.rule_sets.iter().flat_map(shadowed_patterns);
    patterns.chain(scene.conditions.iter().filter_map(|condition| avoided(scene, condition))).collect()
}

fn shadowed_patterns(set: &RuleSet) -> Vec<LintFinding> {
    let denying = |allow: &PlacedPattern| set.every_deny().find(|deny| covers(&deny.text, &allow.text));
    let denied = set.allow.iter().filter_map(|allow| {
        let deny = denying(allow)?;
        let message = format!("`{}` allows nothing: {} also denies `{}`", allow.text, set.owner, deny.text);
        Some(shadowed(allow, &message, "remove one of the two"))
    });
    let repeated = [&set.allow, &set.deny].into_iter().flat_map(|list| {
        let wider = |place: usize, pattern: &PlacedPattern| {
            let is_wider = |(other, wide): &(usize, &PlacedPattern)| {
                *other != place
                    && covers(&wide.text, &pattern.text)
                    && (*other < place || wide.text != pattern.text)
            };
            list.iter().enumerate().find(is_wider).map(|(_, wide)| wide.text.clone())
        };
        list.iter().enumerate().filter_map(move |(place, pattern)| {
            let is_denied = pattern.usage == PatternUse::Allow && denying(pattern).is_some();
            let wide = wider(place, pattern).filter(|_| !is_denied)?;
            let message = format!("`{}` changes nothing: `{wide}` covers it for {}", pattern.text, set.owner);
            Some(shadowed(pattern, &message, "remove it, or the wider pattern"))
        })
    });
    denied.chain(repeated).collect()
}

fn shadowed(pattern: &PlacedPattern, message: &str, fix: &str) -> LintFinding {
    LintFinding::new(&pattern.text, pattern.place.remark(message, "has no effect"), fix)
}

/// The condition of a role, if everybody with this role also has one that allows the same without a condition.
fn avoided(scene: &LintScene, condition: &PlacedCondition) -> Option<LintFinding> {
    let role = condition.role.as_deref()?;
    let policy = scene.policies.iter().find(|policy| policy.policy == condition.policy)?;
    let on = &condition.condition.on;
    let inherited = policy.inherited(role);
    let other = inherited.into_iter().find(|other| allows_freely(policy, other, on))?;
    let message = format!(
        "the condition on `{on}` has no effect: the role `{other}`, which is inherited, allows it without one"
    );
    let fix = format!("move the condition to the role `{other}`, or the pattern out of it");
    let remark = condition.place.remark(&message, "does not count");
    Some(LintFinding::new(on, remark, fix))
}

/// True if a role allows everything that the pattern `on` covers, and has no condition on any of it.
fn allows_freely(policy: &PlacedRules, role: &str, on: &str) -> bool {
    let Some(role) = policy.rules.roles.get(role) else { return false };
    let may_overlap =
        |other: &str| covers(other, on) || covers(on, other) || (is_wildcard(other) && is_wildcard(on));
    role.allow.iter().any(|pattern| covers(pattern, on))
        && !role.conditions.iter().any(|condition| may_overlap(&condition.on))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{found, with_keys, with_roles};

    fn names(roles: &str) -> Vec<String> {
        found(super::CHECK, &with_roles(roles), "{}").into_iter().map(|it| it.name).collect()
    }

    #[test]
    fn a_pattern_that_another_covers_is_found() {
        for (roles, expected) in [
            ("user = { allow = ['get_*', 'get_sum'] }", vec!["get_sum"]),
            ("user = { allow = ['echo', 'echo'] }", vec!["echo"]),
            ("user = { allow = ['get_sum'], deny = ['get_*'] }", vec!["get_sum"]),
            ("user = { allow = ['get_sum'], inherits = ['base'] }\nbase = { deny = ['*'] }", vec!["get_sum"]),
            ("user = { allow = ['*'], deny = ['drop_*', 'drop_all'] }", vec!["drop_all"]),
        ] {
            assert_eq!(names(roles), expected, "{roles}");
        }
        let keys = found(super::CHECK, &with_keys("user = { allow = ['*'] }"), "{}");
        assert_eq!(keys.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["get_sum"]);
        assert!(keys[0].remark.to_string().contains("keys.toml:"), "{keys:?}");
    }

    #[test]
    fn a_condition_that_an_inherited_role_avoids_is_found() {
        let user = "user = { allow = ['pay'], inherits = ['base'], conditions = [{ on = 'pay', argument = '/amount', max = 5 }] }";
        let found = |base: &str| names(&format!("{user}\nbase = {base}"));
        assert_eq!(found("{ allow = ['p*'] }"), ["pay"]);
        for good in [
            "{ allow = ['echo'] }",
            "{ allow = ['pay'], conditions = [{ on = 'p*', argument = '/amount', max = 9 }] }",
        ] {
            assert!(found(good).is_empty(), "{good}");
        }
    }

    #[test]
    fn rules_with_an_effect_are_no_findings() {
        for good in [
            "user = { allow = ['*', 'method:tasks/list'], deny = ['get_secret'] }",
            "user = { allow = ['get_*', 'resource:get_sum'] }",
            "user = { allow = ['get_*', '*_sum'] }",
            "user = { allow = ['get_sum'] }\nbase = { deny = ['get_*'] }",
        ] {
            assert!(names(good).is_empty(), "{good}");
        }
    }
}
