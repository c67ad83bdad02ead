//! Bounds that are larger than those of the upstream, which apply first.

use serde_json::{Number, Value};
use witgate_config::limits::CallLimit;
use witgate_config::lint::LintCode;

use super::finding::{LintCheck, LintFinding};
use super::input_schema::{ArgumentPlace, argument, largest, smallest};
use super::placed_rules::PlacedCondition;
use super::scene::LintScene;
use super::snapshot::StatedRate;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::LimitAboveUpstream,
    title: "a bound that is larger than that of the upstream",
    why: "The upstream refuses first, so the bound has no effect, and all callers share the refusals of the upstream, \
          whoever has caused them.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    let rates = scene.config.limits.iter().filter_map(|limit| rate(scene, limit));
    rates.chain(scene.conditions.iter().flat_map(|condition| bounds(scene, condition))).collect()
}

/// The finding about a rate of calls. The smallest upstream that it is for counts.
fn rate(scene: &LintScene, limit: &CallLimit) -> Option<LintFinding> {
    let own = limit.rate?;
    let is_above = |stated: &StatedRate| {
        u128::from(own.count) * u128::from(stated.seconds)
            > u128::from(stated.count) * u128::from(own.period.as_secs())
    };
    let is_for =
        |name: &str| limit.upstreams.as_ref().is_none_or(|names| names.iter().any(|own| own == name));
    let stated = scene.lists.upstreams.iter().filter(|(name, _)| is_for(name));
    let mut stated = stated.filter_map(|(name, upstream)| Some((name, upstream.rate_limit?)));
    let (name, stated) = stated.find(|(_, stated)| is_above(stated))?;
    let StatedRate { count, seconds } = stated;
    let message = format!(
        "the limit `{}` admits {own}, and `{name}` admits {count} requests in {seconds} s",
        limit.name
    );
    let remark = scene.place(&["limits", &limit.name, "rate"]).remark(&message, "more than the upstream");
    Some(LintFinding::new(&limit.name, remark, format!("write at most {count} calls in {seconds} s")))
}

/// The findings about the bounds of a condition.
fn bounds(scene: &LintScene, condition: &PlacedCondition) -> Vec<LintFinding> {
    let Some(schemas) = schemas(scene, condition) else { return Vec::new() };
    let written = &condition.condition;
    let finding = |name: &str,
                   bound: &Option<Number>,
                   of_schema: fn(&Value) -> Option<f64>,
                   is_wider: fn(f64, f64) -> bool| {
        let own = bound.as_ref()?;
        let number = own.as_f64()?;
        let others: Option<Vec<f64>> = schemas.iter().copied().map(of_schema).collect();
        let others = others.filter(|others| others.iter().all(|other| is_wider(number, *other)))?;
        let other = others.first()?;
        let pointer = condition.subject();
        let message =
            format!("`{name} = {own}` changes nothing: the input schema bounds `{pointer}` at {other}");
        let remark = condition.place.below(&[name]).remark(&message, "wider than the schema");
        Some(LintFinding::new(pointer, remark, format!("write a bound within {other}, or remove it")))
    };
    let max = finding("max", &written.max, largest, |own, other| own > other);
    let min = finding("min", &written.min, smallest, |own, other| own < other);
    max.into_iter().chain(min).collect()
}

/// The schemas of the argument in all tools that a condition is about. None: one does not describe it, or there is none.
fn schemas<'s>(scene: &'s LintScene, condition: &PlacedCondition) -> Option<Vec<&'s Value>> {
    let pointer = condition.condition.argument.as_deref()?;
    let mut all = Vec::new();
    for tool in scene.every_tool_of(condition)? {
        match argument(tool, pointer) {
            ArgumentPlace::Described(found) => all.extend(found.schemas),
            ArgumentPlace::Absent(_) | ArgumentPlace::Undescribed => return None,
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, condition, found, with_roles};

    #[test]
    fn a_larger_bound_is_found() {
        let bad = found(super::CHECK, &condition("on = 'get_rows', argument = '/limit', max = 5000"), LISTS);
        assert_eq!(bad.len(), 1);
        assert!(bad[0].remark.to_string().contains("bounds `/limit` at 1000"), "{bad:?}");
        let rate =
            |rate: &str| with_roles(&format!("user = {{ allow = ['pay'] }}\n[limits.all]\nrate = '{rate}'"));
        let bad = found(super::CHECK, &rate("120/min"), LISTS);
        assert_eq!(bad.len(), 1);
        assert!(
            bad[0].remark.to_string().contains("admits 120/min, and `files` admits 100 requests in 60 s")
        );
        assert!(found(super::CHECK, &rate("100/min"), LISTS).is_empty());
        assert!(found(super::CHECK, &rate("120/min"), "{}").is_empty());
    }

    #[test]
    fn a_bound_within_that_of_the_upstream_is_no_finding() {
        for good in [
            "on = 'get_rows', argument = '/limit', max = 1000",
            "on = 'pay', argument = '/amount', max = 5000",
            "on = 'get_*', argument = '/limit', max = 5000",
        ] {
            assert!(found(super::CHECK, &condition(good), LISTS).is_empty(), "{good}");
        }
    }
}
