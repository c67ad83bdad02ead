//! The rules of `rbac` policies, as they are configured.

use std::collections::BTreeSet;

use witgate_config::{Policy, PolicyKind};
use witgate_message::call::Target;
use witgate_plugin::{Identity, Pattern};
use witgate_rbac::Config as RbacConfig;
use witgate_rbac::settings::{Condition, Role, RoleHolder};

/// The rules of an `rbac` policy, as configured.
pub(crate) struct WrittenRules(RbacConfig);

impl WrittenRules {
    /// The rules of a policy. None: it is of another kind, or its settings cannot be read.
    pub(crate) fn of(policy: &Policy) -> Option<Self> {
        let is_rbac = policy.kind == PolicyKind::Rbac;
        is_rbac.then(|| serde_json::from_value(policy.config.clone()).ok()).flatten().map(Self)
    }

    /// The settings.
    pub(crate) fn settings(&self) -> &RbacConfig {
        &self.0
    }

    /// The same, without a borrow.
    pub(crate) fn into_settings(self) -> RbacConfig {
        self.0
    }

    /// The names of all roles.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.roles.keys().map(String::as_str)
    }

    /// The role of this name.
    pub(crate) fn role(&self, name: &str) -> Option<&Role> {
        self.0.roles.get(name)
    }

    /// The roles of a caller, those of `subjects`, and all from which they inherit.
    pub(crate) fn roles_of<'r>(&'r self, identity: &'r Identity, proven_by: &str) -> BTreeSet<&'r str> {
        let is_theirs = |holder: &&RoleHolder| {
            holder.policy == proven_by
                && holder.subject.as_ref().is_none_or(|subject| *subject == identity.subject)
                && (holder.issuer.is_none() || holder.issuer == identity.issuer)
        };
        let holders = self.0.subjects.iter().filter(is_theirs).flat_map(|holder| &holder.roles);
        let mut open: Vec<&str> = identity.roles.iter().chain(holders).map(String::as_str).collect();
        let mut all = BTreeSet::new();
        while let Some(next) = open.pop() {
            if all.insert(next) {
                let inherited = self.role(next).map(|role| role.inherits.as_slice()).unwrap_or_default();
                open.extend(inherited.iter().map(String::as_str));
            }
        }
        all
    }

    /// The conditions of these roles, and those for all callers, each with its path in the settings.
    pub(crate) fn conditions<'r>(
        &'r self,
        roles: &'r BTreeSet<&'r str>,
    ) -> impl Iterator<Item = (Vec<String>, &'r Condition)> {
        let of_roles = roles.iter().filter_map(|name| Some((*name, self.role(name)?)));
        let of_roles = of_roles.flat_map(|(name, role)| {
            let path = move |place: usize| {
                ["roles", name, "conditions"].map(str::to_owned).into_iter().chain([place.to_string()])
            };
            role.conditions
                .iter()
                .enumerate()
                .map(move |(place, condition)| (path(place).collect(), condition))
        });
        let general = self.0.conditions.iter().enumerate();
        let general =
            general.map(|(place, condition)| (vec!["conditions".to_owned(), place.to_string()], condition));
        of_roles.chain(general)
    }

    /// All conditions, of roles and for all callers.
    pub(crate) fn all_conditions(&self) -> impl Iterator<Item = &Condition> {
        self.0.roles.values().flat_map(|role| &role.conditions).chain(&self.0.conditions)
    }

    /// All conditions for calls of `target`.
    pub(crate) fn conditions_on(&self, target: &Target) -> impl Iterator<Item = &Condition> {
        self.all_conditions().filter(|condition| covers(&condition.on, target))
    }
}

/// True if a pattern covers a target.
pub(crate) fn covers(pattern: &str, target: &Target) -> bool {
    pattern.parse::<Pattern>().is_ok_and(|pattern| pattern.matches(target.kind, &target.name))
}
