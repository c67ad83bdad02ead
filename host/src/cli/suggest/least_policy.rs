//! The least rules for the callers of one upstream: a role for each set of targets that callers have used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use witgate_plugin::Pattern;

use crate::cli::call_history::{CallHistory, SeenCall, SeenCaller};
use crate::cli::lint::coverage::parts;

/// Rules that allow what the callers of an upstream have used, and nothing else.
pub(super) struct LeastPolicy {
    pub(super) upstream: String,
    /// The patterns of each role, none of which has a wildcard.
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    /// The only role of each caller.
    pub(super) holders: BTreeMap<SeenCaller, String>,
    /// Calls that no pattern covers alone, for the reader.
    pub(super) notes: Vec<String>,
}

impl LeastPolicy {
    /// The policies of all upstreams, or of one, in the order of their names.
    pub(super) fn of(history: &CallHistory, upstream: Option<&str>) -> Vec<Self> {
        let allowed = history.calls.iter().filter(|(_, allowed)| **allowed > 0).map(|(call, _)| call);
        let mut used: BTreeMap<&str, BTreeMap<&SeenCaller, Vec<&SeenCall>>> = BTreeMap::new();
        for call in allowed.filter(|call| upstream.is_none_or(|name| name == call.upstream)) {
            used.entry(&call.upstream).or_default().entry(&call.caller).or_default().push(call);
        }
        used.into_iter().map(|(upstream, callers)| Self::for_callers(upstream, callers)).collect()
    }

    fn for_callers(upstream: &str, callers: BTreeMap<&SeenCaller, Vec<&SeenCall>>) -> Self {
        let mut policy = Self {
            upstream: upstream.to_owned(),
            roles: BTreeMap::new(),
            holders: BTreeMap::new(),
            notes: Vec::new(),
        };
        let mut names: BTreeMap<BTreeSet<String>, String> = BTreeMap::new();
        for (caller, calls) in callers {
            let mut patterns = BTreeSet::new();
            for call in calls {
                match exact_pattern(call) {
                    Some(pattern) => drop(patterns.insert(pattern.to_owned())),
                    None => policy.notes.push(format!(
                        "`{}` of `{upstream}` is left out: no pattern covers it alone",
                        call.target
                    )),
                }
            }
            if patterns.is_empty() {
                continue;
            }
            let next = format!("suggested-{}", names.len() + 1);
            let name = names.entry(patterns.clone()).or_insert(next).clone();
            policy.roles.insert(name.clone(), patterns);
            policy.holders.insert(caller.clone(), name);
        }
        policy
    }

    /// True if the rules allow a target to a caller.
    pub(super) fn allows(&self, caller: &SeenCaller, pattern: &str) -> bool {
        let role = self.holders.get(caller).and_then(|role| self.roles.get(role));
        role.is_some_and(|patterns| patterns.contains(pattern))
    }

    /// The name of the policy.
    pub(super) fn name(&self) -> String {
        format!("suggested-{}", self.upstream)
    }

    /// For a program.
    pub(super) fn to_json(&self) -> Value {
        let roles: serde_json::Map<_, _> =
            self.roles.iter().map(|(name, allow)| (name.clone(), json!({ "allow": allow }))).collect();
        let subject = |(caller, role): (&SeenCaller, &String)| {
            let mut subject =
                json!({ "subject": caller.subject, "policy": caller.proven_by, "roles": [role] });
            if let (Some(issuer), Some(members)) = (&caller.issuer, subject.as_object_mut()) {
                members.insert("issuer".to_owned(), issuer.as_str().into());
            }
            subject
        };
        let subjects: Vec<_> = self.holders.iter().map(subject).collect();
        json!({ "upstream": self.upstream, "config": { "roles": roles, "subjects": subjects } })
    }
}

/// The pattern that covers the target of a call and nothing else. None: there is none, because patterns have no escapes.
fn exact_pattern(call: &SeenCall) -> Option<&str> {
    let (kind, name) = call.target();
    let pattern: Pattern = call.target.parse().ok()?;
    let is_of_kind = parts(&call.target).0 == Some(kind);
    let is_exact = !name.contains('*') && is_of_kind && pattern.matches(kind, name);
    is_exact.then_some(call.target.as_str())
}
