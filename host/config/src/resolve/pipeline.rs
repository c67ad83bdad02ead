//! `[pipeline]` and `[upstreams.NAME.pipeline]`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::resolver::Resolver;
use crate::shape::{listed, nearest};
use crate::{Mode, Pipeline, Policy, PolicyKind, raw};

impl PolicyKind {
    fn authenticates(self) -> bool {
        self != Self::Rbac
    }

    fn authorizes(self) -> bool {
        matches!(self, Self::ApiKey | Self::Basic | Self::Rbac | Self::Custom)
    }
}

#[derive(Clone, Copy)]
struct PolicyList {
    name: &'static str,
    does: &'static str,
    fits: fn(PolicyKind) -> bool,
    /// The consequence of an empty list.
    empty: &'static str,
}

const AUTHENTICATE: PolicyList = PolicyList {
    name: "authenticate",
    does: "says who a caller is",
    fits: PolicyKind::authenticates,
    empty: "nobody could show who they are",
};

const AUTHORIZE: PolicyList = PolicyList {
    name: "authorize",
    does: "says what a caller may do",
    fits: PolicyKind::authorizes,
    empty: "nothing would be allowed to anybody",
};

/// The roles with which an `rbac` policy denies.
fn denying(policy: &Policy) -> impl Iterator<Item = &str> {
    let roles = policy.config.get("roles").filter(|_| policy.kind == PolicyKind::Rbac);
    let roles = roles.and_then(Value::as_object);
    let all = roles.into_iter().flat_map(|roles| roles.keys().map(move |name| (roles, name.as_str())));
    all.filter(|(roles, name)| denies(roles, name, &mut BTreeSet::new())).map(|(_, name)| name)
}

/// True if a role denies something, itself or through a role that it inherits from.
fn denies<'a>(roles: &'a Map<String, Value>, name: &'a str, seen: &mut BTreeSet<&'a str>) -> bool {
    let Some(role) = roles.get(name).filter(|_| seen.insert(name)) else { return false };
    let list = |key| role.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let inherited = list("inherits").iter().filter_map(Value::as_str);
    !list("deny").is_empty() || inherited.into_iter().any(|name| denies(roles, name, seen))
}

impl Resolver<'_> {
    /// The pipeline at `at`. It is always returned, so that its policies count as used.
    pub(super) fn pipeline(
        &mut self,
        at: &[&str],
        written: &raw::Pipeline,
        policies: &BTreeMap<String, Policy>,
    ) -> Pipeline {
        let pipeline = Pipeline {
            authenticate: written.authenticate.clone().unwrap_or_default(),
            authorize: written.authorize.clone().unwrap_or_default(),
            anonymous: written.anonymous.as_ref().map(|anonymous| anonymous.roles.clone()),
            shown_to_anonymous: self.shown_to_anonymous(at, written, policies),
        };
        // A server with anonymous callers needs no authenticator.
        if pipeline.anonymous.is_none() || written.authenticate.is_some() {
            self.members(at, AUTHENTICATE, &pipeline.authenticate, policies);
        }
        self.members(at, AUTHORIZE, &pipeline.authorize, policies);
        self.roles_that_deny(&pipeline, policies);
        self.injects_one_value(written, policies);
        pipeline
    }

    /// Warns about roles that deny, but are left out by `only_roles`. Nobody has such a role, so its denials have no
    /// effect.
    fn roles_that_deny(&mut self, pipeline: &Pipeline, policies: &BTreeMap<String, Policy>) {
        let named = |names: &[String]| names.iter().filter_map(|name| policies.get(name)).collect::<Vec<_>>();
        let denying: Vec<_> = named(&pipeline.authorize).into_iter().flat_map(denying).collect();
        for policy in named(&pipeline.authenticate) {
            let Some(only) = policy.config.get("only_roles") else { continue };
            let counts = |role: &&str| match only {
                Value::Array(several) => several.iter().any(|one| one == role),
                one => one == role,
            };
            let left_out: Vec<_> = denying.iter().filter(|role| !counts(role)).collect();
            if !left_out.is_empty() {
                let message = format!("`only_roles` leaves out {}, which denies", listed(&left_out));
                let help = "name it here as well: a role that is left out denies nothing";
                self.warning(&["policies", &policy.name, "config", "only_roles"], message, help);
            }
        }
    }

    fn members(
        &mut self,
        at: &[&str],
        list: PolicyList,
        names: &[String],
        policies: &BTreeMap<String, Policy>,
    ) {
        let at_list = [at, &[list.name]].concat();
        let mut seen = BTreeSet::new();
        for (index, name) in names.iter().enumerate() {
            let index = index.to_string();
            let at = [at_list.as_slice(), &[index.as_str()]].concat();
            self.member(&at, list, name, policies);
            if !seen.insert(name) {
                self.error(&at, format!("`{name}` is listed twice in `{}`", list.name), "leave one out");
            }
        }
        self.not_empty(&at_list, list, names, policies);
    }

    fn member(&mut self, at: &[&str], list: PolicyList, name: &str, policies: &BTreeMap<String, Policy>) {
        let Some(policy) = policies.get(name) else {
            return self.undefined(at, name, policies);
        };
        if !(list.fits)(policy.kind) {
            let fitting: Vec<_> =
                policies.values().filter(|other| (list.fits)(other.kind)).map(|p| &p.name).collect();
            let message =
                format!("`{name}` is of the kind `{}`, which never {}", policy.kind.name(), list.does);
            let help = match fitting.as_slice() {
                [] => format!("define a policy that {}", list.does),
                _ => format!("policies that can: {}", listed(&fitting)),
            };
            self.error(at, message, help);
        }
    }

    fn undefined(&mut self, at: &[&str], name: &str, policies: &BTreeMap<String, Policy>) {
        // The policy is defined but invalid, which is reported at its definition.
        if self.document.has(&["policies", name]) {
            return;
        }
        let help = match nearest(name, policies.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if policies.is_empty() => format!("define it: `[policies.{name}]`"),
            None => {
                let known: Vec<_> = policies.keys().collect();
                format!("define it (`[policies.{name}]`), or name one of {}", listed(&known))
            }
        };
        self.error(at, format!("there is no policy `{name}`"), help);
    }

    fn not_empty(
        &mut self,
        at: &[&str],
        list: PolicyList,
        names: &[String],
        policies: &BTreeMap<String, Policy>,
    ) {
        let counts = |name: &String| policies.get(name).is_none_or(|policy| policy.mode == Mode::Enforce);
        if names.iter().any(counts) {
            return;
        }
        let PolicyList { name, empty, .. } = list;
        if !names.is_empty() {
            let message = format!("`{name}` lists only shadow policies, which are not enforced: {empty}");
            self.error(at, message, "add a policy with `mode = \"enforce\"`");
        } else if !self.document.has(at) {
            self.error(
                at,
                format!("this pipeline has no `{name}`: {empty}"),
                format!("add `{name} = [\"…\"]`"),
            );
        } else if self.document.is_empty_list(at) {
            // Another value has the wrong type, which is already reported.
            self.error(at, format!("`{name}` is empty: {empty}"), "name at least one policy");
        }
    }

    pub(super) fn unused(&mut self, file: &raw::File, policies: &BTreeMap<String, Policy>) {
        let own = file.upstreams.values().filter_map(|upstream| upstream.pipeline.as_ref());
        let lists =
            own.chain(&file.pipeline).flat_map(|pipeline| [&pipeline.authenticate, &pipeline.authorize]);
        let used: BTreeSet<_> = lists.flatten().flatten().collect();
        for name in policies.keys().filter(|name| !used.contains(name)) {
            let message = format!("the policy `{name}` is used nowhere");
            self.warning(&["policies", name], message, "name it in a `[pipeline]`, or remove it");
        }
    }
}
