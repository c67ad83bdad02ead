//! The line of the configuration or of a key store on which the decision of a shipped policy rests, with the actual value
//! beside it. The policies tell no place in their settings, so the rule is found by the reason and by the settings.

use std::collections::BTreeMap;

use serde_json::Value;
use witgate_api_key::store::Store;
use witgate_flow::explanation::Explanation;
use witgate_message::call::Target;
use witgate_plugin::{Glob, Identity};
use witgate_rbac::settings::Condition;

use super::scene::ExplanationScene;
use crate::access::written_rules::{WrittenRules, covers};
use witgate_config::diagnostic::Diagnostic;
use witgate_config::resolve::remark_in;
use witgate_config::{Policy, PolicyKind};

/// The rule for the decision. None: no single rule has decided, or a policy that is not shipped.
pub(super) fn deciding(
    scene: &ExplanationScene,
    upstream: usize,
    explanation: &Explanation,
) -> Option<Diagnostic> {
    let policies = &scene.config.policies;
    match &explanation.cause {
        None => {
            let allowing = explanation.stages.iter().flat_map(|stage| &stage.hooks);
            let mut allowing = allowing.filter(|asked| asked.hook.verdict == "allow");
            allowing.find_map(|asked| allowed_by(scene, policies.get(&*asked.hook.policy)?, explanation))
        }
        Some(cause) => match cause.policy.as_ref().and_then(|policy| policies.get(policy)) {
            Some(policy) => refused_by(scene, policy, explanation),
            None => Some(without_policy(scene, upstream, &cause.reason)),
        },
    }
}

/// A remark at a setting of the configuration.
fn remark(scene: &ExplanationScene, at: &[&str], message: &str, label: &str) -> Diagnostic {
    let path = scene.config.path.as_deref().map(|path| path.display().to_string());
    remark_in((path.as_deref().unwrap_or("the environment"), &scene.config.text), at, message, label)
}

/// A remark at a setting of a policy.
fn at_policy(
    scene: &ExplanationScene,
    policy: &Policy,
    at: &[&str],
    message: &str,
    label: &str,
) -> Diagnostic {
    remark(scene, &[&["policies", &policy.name, "config"], at].concat(), message, label)
}

fn without_policy(scene: &ExplanationScene, upstream: usize, reason: &str) -> Diagnostic {
    let name = scene.upstream_at(upstream).map_or("", |upstream| upstream.name.as_str());
    let own = ["upstreams", name, "pipeline"];
    let has_own = witgate_config::document::Document::parse("", &scene.config.text).0.has(&own);
    let at: &[&str] = if has_own { &own } else { &["pipeline"] };
    let message = match reason {
        "no-credential" => "the pipeline requires a credential",
        "unrecognised" => "no policy of the pipeline knows the credential",
        "not-allowed" => "no policy of the pipeline has allowed the call",
        _ => "the pipeline has refused",
    };
    remark(scene, at, message, reason)
}

fn allowed_by(scene: &ExplanationScene, policy: &Policy, explanation: &Explanation) -> Option<Diagnostic> {
    let (target, caller) = (explanation.targets.first()?, explanation.caller.as_ref()?);
    match policy.kind {
        PolicyKind::Rbac => {
            let rules = WrittenRules::of(policy)?;
            let roles = rules.roles_of(caller.identity(), caller.proven_by());
            roles.iter().find_map(|name| {
                let place = covering(&rules.role(name)?.allow, target)?.to_string();
                let label = format!("covers {}", named(target));
                let at = ["roles", name, "allow", &place];
                Some(at_policy(scene, policy, &at, &format!("the role `{name}` allows the call"), &label))
            })
        }
        PolicyKind::ApiKey => at_key(scene, policy, explanation, "allow", "the key allows the call"),
        _ => None,
    }
}

fn refused_by(scene: &ExplanationScene, policy: &Policy, explanation: &Explanation) -> Option<Diagnostic> {
    let cause = explanation.cause.as_ref()?;
    let (reason, detail) = (cause.reason.as_str(), cause.detail.as_deref().unwrap_or(&cause.reason));
    match policy.kind {
        PolicyKind::Custom => None,
        PolicyKind::Rbac => refused_by_rbac(scene, policy, explanation),
        PolicyKind::ApiKey if reason == "denied" => at_key(scene, policy, explanation, "deny", detail),
        PolicyKind::ApiKey if reason == "not-allowed" => at_key(scene, policy, explanation, "allow", detail),
        // The settings of authenticators have the names of the reasons, if there is one.
        _ => {
            let names = [reason, &format!("{reason}s"), &reason.replace('-', "_")].map(str::to_owned);
            let found = names.iter().find(|name| policy.config.get(name.as_str()).is_some());
            let at = found.map(|name| vec![name.as_str()]).unwrap_or_default();
            Some(at_policy(scene, policy, &at, detail, reason))
        }
    }
}

/// The rule of an entry in a key store.
fn at_key(
    scene: &ExplanationScene,
    policy: &Policy,
    explanation: &Explanation,
    list: &str,
    message: &str,
) -> Option<Diagnostic> {
    let subject = &explanation.caller.as_ref()?.identity().subject;
    let target = explanation.targets.first()?;
    let path = scene.config.dir().join(policy.config.get("store").and_then(Value::as_str)?);
    let text = std::fs::read_to_string(&path).ok()?;
    let store = Store::parse(&text).ok()?;
    let (place, key) = store.keys.iter().enumerate().find(|(_, key)| key.name == *subject)?;
    let patterns = if list == "deny" { &key.deny } else { &key.allow };
    let pattern = covering(patterns, target).map(|place| place.to_string());
    let place = place.to_string();
    let at = [&["keys", &place, list], pattern.as_deref().as_slice()].concat();
    let covers = if pattern.is_some() { "covers" } else { "does not cover" };
    let label = format!("{covers} {}", named(target));
    Some(remark_in((&path.display().to_string(), &text), &at, message, &label))
}

fn refused_by_rbac(
    scene: &ExplanationScene,
    policy: &Policy,
    explanation: &Explanation,
) -> Option<Diagnostic> {
    let (cause, caller) = (explanation.cause.as_ref()?, explanation.caller.as_ref()?);
    let (target, rules) = (explanation.targets.first()?, WrittenRules::of(policy)?);
    let (identity, name) = (caller.identity(), named(target));
    let roles = rules.roles_of(identity, caller.proven_by());
    let message = cause.detail.as_deref().unwrap_or(&cause.reason);
    let at = |at: &[&str], label: &str| Some(at_policy(scene, policy, at, message, label));
    match cause.reason.as_str() {
        "denied" => roles.iter().find_map(|role| {
            let place = covering(&rules.role(role)?.deny, target)?.to_string();
            at(&["roles", role, "deny", &place], &format!("covers {name}"))
        }),
        "not-allowed" => {
            let held = if identity.roles.is_empty() { "none".to_owned() } else { identity.roles.join(", ") };
            match roles.iter().find(|role| rules.settings().roles.contains_key(**role)) {
                Some(role) => at(&["roles", role, "allow"], &format!("does not cover {name}; roles: {held}")),
                None => at(&["roles"], &format!("the caller has none of these; roles: {held}")),
            }
        }
        "insufficient-scope" => {
            let mut patterns = rules.settings().scopes.keys().filter(|pattern| covers(pattern, target));
            let held =
                if identity.scopes.is_empty() { "none".to_owned() } else { identity.scopes.join(", ") };
            match patterns.next() {
                Some(pattern) => at(&["scopes", pattern], &format!("scopes of the caller: {held}")),
                None => at(&["scope_template"], &format!("scopes of the caller: {held}")),
            }
        }
        "condition" => {
            let is_general = message.starts_with("condition ");
            let mut failing = rules.conditions(&roles).filter_map(|(place, condition)| {
                let is_candidate = (place.len() == 2) == is_general && covers(&condition.on, target);
                let actual = actual_value(condition, explanation, identity);
                (is_candidate && !fits(condition, actual.as_ref())).then_some((place, actual))
            });
            let (place, actual) = failing.next()?;
            let actual = actual.map_or_else(|| "missing".to_owned(), |value| shortened(&value.to_string()));
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            at(&place, &format!("actual value: {actual}"))
        }
        _ => None,
    }
}

/// The value that a condition tests.
fn actual_value(condition: &Condition, explanation: &Explanation, identity: &Identity) -> Option<Value> {
    let parsed = |text: Option<&str>| text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    match (&condition.argument, &condition.claim) {
        (Some(pointer), _) => parsed(explanation.arguments.as_deref())?.pointer(pointer).cloned(),
        (None, Some(claim)) => {
            let claims = parsed(identity.claims.as_deref())?;
            claim.split('.').try_fold(&claims, |at, step| at.get(step)).cloned()
        }
        (None, None) => {
            let annotation = condition.annotation?;
            explanation.annotations.map(|all| annotation.of(&all).into())
        }
    }
}

/// The annotations of the tool for which a condition of the refusing policy does not hold, in sentences. Only the server
/// could change them, so no edit of the call is one of them.
pub(super) fn unmet_annotations(scene: &ExplanationScene, explanation: &Explanation) -> Vec<String> {
    let cause = explanation.cause.as_ref().filter(|cause| cause.reason == "condition");
    let policy = cause.and_then(|cause| scene.config.policies.get(cause.policy.as_ref()?));
    let (Some(rules), Some(target), Some(caller)) =
        (policy.and_then(WrittenRules::of), explanation.targets.first(), explanation.caller.as_ref())
    else {
        return Vec::new();
    };
    let roles = rules.roles_of(caller.identity(), caller.proven_by());
    let counts = |place: &[String]| match place {
        [_, role, ..] if place.len() > 2 => {
            rules.role(role).is_some_and(|role| covering(&role.allow, target).is_some())
        }
        _ => true,
    };
    let unmet = rules.conditions(&roles).filter_map(|(place, condition)| {
        let is_about = counts(&place) && covers(&condition.on, target);
        let annotation = condition.annotation.filter(|_| is_about)?;
        let actual = explanation.annotations.map(|all| annotation.of(&all));
        (!fits(condition, actual.map(Value::from).as_ref())).then_some((annotation.name(), actual))
    });
    let unmet: BTreeMap<&str, Option<bool>> = unmet.collect();
    let sentence = |(name, actual): (&str, Option<bool>)| match actual {
        Some(actual) => format!(
            "`{name}` of {} is {actual} in its approved definition: only another definition of the server could change \
             that, and no change of the call",
            named(target)
        ),
        None => format!("{} has no approved `{name}`: no change of the call gives it one", named(target)),
    };
    unmet.into_iter().map(sentence).collect()
}

/// True if a value seems to pass the tests of a condition. Only the choice of the line depends on that.
pub(in crate::cli) fn fits(condition: &Condition, actual: Option<&Value>) -> bool {
    let Some(actual) = actual else { return false };
    let is_in = |bound: &Option<serde_json::Number>, holds: fn(f64, f64) -> bool| {
        let pair = bound.as_ref().map(|bound| (actual.as_f64(), bound.as_f64()));
        pair.is_none_or(|pair| matches!(pair, (Some(actual), Some(bound)) if holds(actual, bound)))
    };
    condition.equals.as_ref().is_none_or(|wanted| wanted == actual)
        && condition.one_of.as_ref().is_none_or(|wanted| wanted.contains(actual))
        && condition
            .matches
            .as_ref()
            .is_none_or(|glob| actual.as_str().is_some_and(|text| Glob::new(glob).matches(text)))
        && is_in(&condition.min, |actual, bound| actual >= bound)
        && is_in(&condition.max, |actual, bound| actual <= bound)
        && condition
            .contains
            .as_ref()
            .is_none_or(|wanted| actual.as_array().is_some_and(|all| all.contains(wanted)))
}

/// The place of the first pattern that covers a target.
fn covering(patterns: &[String], target: &Target) -> Option<usize> {
    patterns.iter().position(|pattern| covers(pattern, target))
}

/// The name of a target, as patterns write it.
pub(super) fn named(target: &Target) -> String {
    format!("`{}{}`", target.prefix(), target.name)
}

/// The beginning of a text.
pub(super) fn shortened(text: &str) -> String {
    /// The longest value that is shown completely, in characters.
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => text.to_owned(),
    }
}
