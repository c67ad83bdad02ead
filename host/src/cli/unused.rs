//! `witgate unused`: rules, roles, keys and tools that no decision of the audit log has used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use witgate_base::party::ANONYMOUS;
use witgate_config::PolicyKind;

use super::call_history::{CallHistory, HistoryOptions, SeenCall, SeenCaller};
use super::context::Context;
use super::lint::ListOptions;
use super::lint::placed_rules::{PlacedPattern, RuleOwner, RuleSet};
use super::lint::scene::{LintScene, PlacedRules};
use super::outcome::{CommandFailure, Exit};
use super::terminal::table;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    history: HistoryOptions,
    #[command(flatten)]
    lists: ListOptions,
}

/// Something that no decision has used.
#[derive(Debug, PartialEq, Eq)]
struct UnusedEntry {
    /// `rule`, `role`, `key`, `user`, `tool`, `prompt` or `resource`.
    kind: &'static str,
    name: String,
    /// The file and the line, or the upstream.
    place: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let (scene, mut notes) = arguments.lists.scene(context)?;
    let history = CallHistory::read(context, &arguments.history)?;
    notes.extend(history.notes.iter().cloned());
    let unused = unused(&scene, &history);
    tell(context, &history, &unused, &notes);
    Ok(if unused.is_empty() { Exit::Done } else { Exit::No })
}

fn unused(scene: &LintScene, history: &CallHistory) -> Vec<UnusedEntry> {
    let usage = HistoryRoles::of(scene, history);
    // Patterns that no pipeline asks about have no effect anyway.
    let sets = scene.rule_sets.iter().filter(|set| !set.upstreams.is_empty());
    let rules = sets.flat_map(|set| unused_patterns(&usage, history, set));
    let roles = scene.policies.iter().flat_map(|policy| unused_roles(scene, &usage, history, policy));
    rules.chain(roles).chain(unused_holders(scene, history)).chain(unused_targets(scene, history)).collect()
}

/// The roles of the callers in the history, by policy.
struct HistoryRoles<'s>(BTreeMap<&'s str, BTreeMap<&'s SeenCaller, Option<BTreeSet<String>>>>);

impl<'s> HistoryRoles<'s> {
    fn of(scene: &'s LintScene, history: &'s CallHistory) -> Self {
        let credentials: Vec<_> =
            history.callers.iter().map(|caller| (caller, credential_roles(scene, caller))).collect();
        let of_policy = |policy: &'s PlacedRules| {
            let roles = credentials
                .iter()
                .map(|(caller, held)| (*caller, held.clone().map(|held| all_roles(policy, caller, held))));
            (policy.policy.as_str(), roles.collect())
        };
        Self(scene.policies.iter().map(of_policy).collect())
    }

    /// All roles that a caller has for a policy. None: they are unknown.
    fn roles(&self, policy: &str, caller: &SeenCaller) -> Option<&BTreeSet<String>> {
        self.0.get(policy)?.get(caller)?.as_ref()
    }

    /// True if a caller may have had this role, or is this entry of a store.
    fn may_be(&self, set: &RuleSet, caller: &SeenCaller) -> bool {
        match &set.owner {
            RuleOwner::Entry(_, name) => caller.proven_by == set.policy && caller.subject == *name,
            RuleOwner::Role(role) => self.roles(&set.policy, caller).is_none_or(|roles| roles.contains(role)),
        }
    }
}

/// The roles of a caller with these roles, with those of `subjects`, and with all from which they inherit.
fn all_roles(policy: &PlacedRules, caller: &SeenCaller, mut roles: BTreeSet<String>) -> BTreeSet<String> {
    let is_theirs = |holder: &&witgate_rbac::settings::RoleHolder| {
        holder.policy == caller.proven_by
            && holder.subject.as_ref().is_none_or(|subject| *subject == caller.subject)
            && (holder.issuer.is_none() || holder.issuer == caller.issuer)
    };
    let assigned = policy.rules.subjects.iter().filter(is_theirs).flat_map(|holder| &holder.roles);
    roles.extend(assigned.cloned());
    let inherited: Vec<_> = roles.iter().flat_map(|role| policy.inherited(role)).map(str::to_owned).collect();
    roles.extend(inherited);
    roles
}

/// The roles of a caller's credential. None: they are unknown.
fn credential_roles(scene: &LintScene, caller: &SeenCaller) -> Option<BTreeSet<String>> {
    if caller.proven_by == ANONYMOUS {
        let pipelines = scene.config.upstreams.iter().map(|upstream| &upstream.pipeline);
        return Some(pipelines.flat_map(|pipeline| pipeline.anonymous.iter().flatten()).cloned().collect());
    }
    let policy = scene.config.policies.get(&caller.proven_by)?;
    if !matches!(policy.kind, PolicyKind::ApiKey | PolicyKind::Basic) {
        return None;
    }
    let mut holders = scene.holders.iter();
    let holder = holders.find(|holder| holder.policy == policy.name && holder.name == caller.subject)?;
    Some(holder.roles.iter().cloned().collect())
}

fn unused_patterns(usage: &HistoryRoles<'_>, history: &CallHistory, set: &RuleSet) -> Vec<UnusedEntry> {
    let calls: Vec<_> =
        history.calls.keys().filter(|call| is_of(set, call) && usage.may_be(set, &call.caller)).collect();
    let unused =
        set.allow.iter().chain(&set.deny).filter(|pattern| !calls.iter().any(|call| covers(pattern, call)));
    let entry = |pattern: &PlacedPattern| UnusedEntry {
        kind: "rule",
        name: format!("{} of {}", pattern.text, set.owner),
        place: pattern.place.position(),
    };
    unused.map(entry).collect()
}

fn is_of(set: &RuleSet, call: &SeenCall) -> bool {
    set.upstreams.contains(&call.upstream)
}

fn covers(pattern: &PlacedPattern, call: &SeenCall) -> bool {
    let (kind, name) = call.target();
    pattern.pattern.matches(kind, name)
}

/// The roles that surely nobody has used. Of callers whose roles are unknown, each call that the role has a pattern for
/// may have used it.
fn unused_roles(
    scene: &LintScene,
    usage: &HistoryRoles<'_>,
    history: &CallHistory,
    policy: &PlacedRules,
) -> Vec<UnusedEntry> {
    let sets = scene.rule_sets.iter().filter(|set| set.policy == policy.policy);
    let is_used = |set: &RuleSet, role: &str| {
        history.calls.keys().filter(|call| is_of(set, call)).any(|call| {
            match usage.roles(&policy.policy, &call.caller) {
                Some(roles) => roles.contains(role),
                None => {
                    let own = set.allow.iter().chain(&set.deny);
                    own.chain(&set.inherited_allow)
                        .chain(&set.inherited_deny)
                        .any(|pattern| covers(pattern, call))
                }
            }
        })
    };
    let entry = |set: &RuleSet| {
        let RuleOwner::Role(role) = &set.owner else { return None };
        let place = policy.place.below(&["roles", role]).position();
        (!is_used(set, role)).then(|| UnusedEntry { kind: "role", name: role.clone(), place })
    };
    sets.filter_map(entry).collect()
}

fn unused_holders(scene: &LintScene, history: &CallHistory) -> Vec<UnusedEntry> {
    let callers: BTreeSet<_> =
        history.callers.iter().map(|caller| (caller.proven_by.as_str(), caller.subject.as_str())).collect();
    let unused = scene
        .holders
        .iter()
        .filter(|holder| !callers.contains(&(holder.policy.as_str(), holder.name.as_str())));
    unused
        .map(|holder| UnusedEntry {
            kind: holder.kind,
            name: holder.name.clone(),
            place: holder.place.position(),
        })
        .collect()
}

/// The tools, prompts and resources of known lists.
fn unused_targets(scene: &LintScene, history: &CallHistory) -> Vec<UnusedEntry> {
    let called: BTreeSet<_> =
        history.calls.keys().map(|call| (call.upstream.as_str(), call.target.as_str())).collect();
    let names = scene.config.upstreams.iter().flat_map(|upstream| {
        scene.lists.names(&upstream.name).into_iter().map(move |name| (upstream.name.as_str(), name))
    });
    let entry = |(upstream, name): (&str, String)| {
        let kind = match name.split_once(':') {
            Some(("resource", _)) => "resource",
            Some(("prompt", _)) => "prompt",
            _ => "tool",
        };
        let is_used = called.contains(&(upstream, name.as_str()));
        (!is_used).then(|| UnusedEntry { kind, name, place: format!("upstream {upstream}") })
    };
    names.filter_map(entry).collect()
}

fn tell(context: &Context, history: &CallHistory, unused: &[UnusedEntry], notes: &[String]) {
    notes.iter().for_each(|note| context.terminal.say(note));
    if context.terminal.is_json() {
        let entry = |unused: &UnusedEntry| {
            let UnusedEntry { kind, name, place } = unused;
            json!({ "kind": kind, "name": name, "place": place })
        };
        let entries: Vec<_> = unused.iter().map(entry).collect();
        let answer = json!({ "version": 1, "since": history.since, "entries": entries, "notes": notes });
        return context.terminal.print_json(&answer);
    }
    let row = |unused: &UnusedEntry| {
        let UnusedEntry { kind, name, place } = unused;
        vec![(*kind).to_owned(), name.clone(), place.clone()]
    };
    let rows: Vec<_> = unused.iter().map(row).collect();
    context.terminal.print(&match rows.is_empty() {
        true => format!("everything was used since {}", history.since),
        false => table(&["KIND", "NAME", "PLACE"], &rows),
    });
}

#[cfg(test)]
mod tests {
    use super::super::call_history::tests::history;
    use super::super::lint::fixture::{LISTS, scene, with_keys, with_tokens};
    use super::super::lint::snapshot::ListSnapshot;
    use super::*;

    fn names(scene: &LintScene, history: &CallHistory) -> Vec<String> {
        unused(scene, history).into_iter().map(|it| format!("{} {}", it.kind, it.name)).collect()
    }

    const ROLES: &str = "user = { allow = ['echo', 'get_sum'] }\nadmin = { allow = ['*'], inherits = ['base'] }\n\
                         base = { deny = ['drop_*'] }";

    #[test]
    fn rules_roles_and_keys_without_a_decision_are_unused() {
        let scene = scene(&with_keys(ROLES));
        let one = history(&[("ada", "allowed", "tools/call", "echo")]);
        assert_eq!(
            names(&scene, &one),
            [
                "rule * of the role `admin`",
                "rule drop_* of the role `base`",
                "rule get_sum of the role `user`",
                "rule get_* of the key `ci`",
                "rule get_sum of the key `ci`",
                "role admin",
                "role base",
                "key ci",
            ]
        );
        let all = history(&[
            ("ada", "allowed", "tools/call", "echo"),
            ("ada", "denied", "tools/call", "get_sum"),
            ("ci", "denied", "tools/call", "drop_all"),
            ("ci", "allowed", "tools/call", "get_sum"),
        ]);
        assert!(names(&scene, &all).is_empty(), "{:?}", names(&scene, &all));
    }

    #[test]
    fn callers_with_unknown_roles_may_have_used_a_rule() {
        let scene = scene(&with_tokens("config.roles.other = { allow = ['pay'] }"));
        let mut history = history(&[("ada", "allowed", "tools/call", "echo")]);
        let calls = std::mem::take(&mut history.calls).into_iter().map(|(mut call, allowed)| {
            call.caller.proven_by = "idp".to_owned();
            (call, allowed)
        });
        history.calls = calls.collect();
        history.callers = history.calls.keys().map(|call| call.caller.clone()).collect();
        assert_eq!(names(&scene, &history), ["rule pay of the role `other`", "role other"]);
    }

    #[test]
    fn tools_of_known_lists_without_a_call_are_unused() {
        let lists = format!(r#"{{ "version": 1, "upstreams": {{ "files": {LISTS} }} }}"#);
        let lists: ListSnapshot = serde_json::from_str(&lists).unwrap();
        let scene = scene(&with_keys("user = { allow = ['*'] }\nadmin = { allow = ['*'] }")).with(lists);
        let history =
            history(&[("ada", "allowed", "tools/call", "echo"), ("ci", "allowed", "tools/call", "get_sum")]);
        let targets: Vec<_> = unused_targets(&scene, &history).into_iter().map(|it| it.name).collect();
        assert_eq!(
            targets,
            [
                "get_rows",
                "pay",
                "drop_all",
                "chart",
                "prompt:hello",
                "resource:file:///a",
                "resource:ui://chart"
            ]
        );
    }
}
