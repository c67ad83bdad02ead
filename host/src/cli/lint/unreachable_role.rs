//! Roles that nobody can have.

use std::collections::BTreeSet;

use serde_json::Value;
use witgate_config::lint::LintCode;
use witgate_config::shape::nearest;
use witgate_config::{Policy, PolicyKind};

use super::finding::{LintCheck, LintFinding};
use super::scene::{LintScene, PlacedRules};

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::UnreachableRole,
    title: "a role that nobody can have",
    why: "Its rules have no effect. If its name is misspelt, here or in a store, the callers who should have it are \
          refused, and what it denies is not denied.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    scene.policies.iter().flat_map(|policy| unreachable(scene, policy)).collect()
}

fn unreachable(scene: &LintScene, policy: &PlacedRules) -> Vec<LintFinding> {
    let Some(held) = held_roles(scene, policy) else { return Vec::new() };
    let inherited = held.iter().flat_map(|role| policy.inherited(role));
    let reached: BTreeSet<&str> = held.iter().map(String::as_str).chain(inherited).collect();
    let names = policy.rules.roles.keys().filter(|name| !reached.contains(name.as_str()));
    let unknown = held.iter().map(String::as_str).filter(|role| !policy.rules.roles.contains_key(*role));
    let unknown: Vec<_> = unknown.collect();
    let finding = |name: &String| {
        let message = format!("nobody can have the role `{name}` of the policy `{}`", policy.policy);
        let fix = match nearest(name, unknown.iter().copied()) {
            Some(near) => format!("callers have the role `{near}`: use one name in both places"),
            None => "give it to a key, a user or a subject, or remove it".to_owned(),
        };
        let remark = policy.place.below(&["roles", name]).remark(&message, "no caller has it");
        LintFinding::new(name, remark, fix)
    };
    names.map(finding).collect()
}

/// All roles that callers of a policy's upstreams can have. None: that is unknown, because somebody else gives roles.
fn held_roles(scene: &LintScene, policy: &PlacedRules) -> Option<BTreeSet<String>> {
    if policy.upstreams.is_empty() || scene.config.auth_disabled {
        return None;
    }
    let mut held: BTreeSet<String> =
        policy.rules.subjects.iter().flat_map(|holder| &holder.roles).cloned().collect();
    for upstream in policy.upstreams.iter().filter_map(|name| scene.upstream(name)) {
        held.extend(upstream.pipeline.anonymous.iter().flatten().cloned());
        for authenticator in scene.authenticators(upstream) {
            held.extend(given_by(scene, authenticator)?);
        }
    }
    Some(held)
}

/// The roles that an authenticator can give. None: any.
fn given_by(scene: &LintScene, policy: &Policy) -> Option<BTreeSet<String>> {
    let setting = |name: &str| policy.config.get(name);
    match policy.kind {
        PolicyKind::ApiKey | PolicyKind::Basic => {
            let is_unknown = scene.unreadable.contains(&policy.name) || setting("owned").is_some();
            let own = scene.holders.iter().filter(|holder| holder.policy == policy.name);
            (!is_unknown).then(|| own.flat_map(|holder| &holder.roles).cloned().collect())
        }
        PolicyKind::Jwt | PolicyKind::Introspection => {
            let reads_none = setting("roles_claim").and_then(Value::as_array).is_some_and(Vec::is_empty);
            match setting("only_roles") {
                _ if reads_none => Some(BTreeSet::new()),
                Some(Value::String(only)) => Some([only.clone()].into()),
                Some(Value::Array(several)) => {
                    Some(several.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                }
                _ => None,
            }
        }
        PolicyKind::ClientCertificate => {
            let roles = setting("roles").and_then(Value::as_object);
            Some(roles.into_iter().flat_map(|roles| roles.keys().cloned()).collect())
        }
        PolicyKind::Custom | PolicyKind::Rbac => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{KEYS, found, with_keys};

    #[test]
    fn a_role_that_no_key_has_is_found() {
        let text =
            with_keys("user = { allow = ['echo'] }\nadmins = { allow = ['*'] }\nspare = { allow = ['*'] }");
        let found = found(super::CHECK, &text, "{}");
        let names: Vec<_> = found.iter().map(|it| (&*it.name, &*it.fix)).collect();
        assert!(KEYS.contains("'admin'"));
        assert_eq!(
            names,
            [
                ("admins", "callers have the role `admin`: use one name in both places"),
                ("spare", "give it to a key, a user or a subject, or remove it"),
            ]
        );
    }

    #[test]
    fn a_role_that_somebody_has_or_may_have_is_no_finding() {
        for good in [
            "user = { allow = ['echo'] }\nadmin = { inherits = ['base'] }\nbase = { allow = ['*'] }",
            "ops = { allow = ['*'] }\n[[policies.roles.config.subjects]]\npolicy = 'keys'\nroles = ['ops']",
        ] {
            assert!(found(super::CHECK, &with_keys(good), "{}").is_empty(), "{good}");
        }
        let by_token = "[upstreams.files]\nown_tools = true\n[pipeline]\nauthenticate = ['idp']\nauthorize = ['roles']\n\
                        [policies.idp]\nkind = 'jwt'\nconfig = { algorithms = ['ES256'], issuer = 'https://idp.example' ";
        let roles = "[policies.roles]\nkind = 'rbac'\nconfig.roles.ops = { allow = ['*'] }\n";
        let any = format!("{by_token} }}\n{roles}");
        assert!(found(super::CHECK, &any, "{}").is_empty());
        let only = format!("{by_token}, only_roles = ['dev'] }}\n{roles}");
        assert_eq!(found(super::CHECK, &only, "{}").len(), 1);
    }
}
