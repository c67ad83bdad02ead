//! Roles with allow and deny patterns, required scopes, and conditions. The policy denies calls that no rule
//! allows.
//!
//! The settings ([`settings`]) are compiled once into `rules`. A decision allocates memory only for a denial, and
//! to read arguments or claims.

#[cfg(test)]
mod annotation_tests;
mod condition;
mod facts;
mod patterns;
mod rules;
mod scope_template;
pub mod settings;

use witgate_plugin::{
    Authorize, Call, ConfigError, Decision, Denial, EntryDecision, Host, Plugin, Principal, Unavailability,
    Wants,
};

use condition::all_hold;
use facts::{Facts, ParsedTexts, PulledTexts};
use rules::{CallerRoles, RbacRules, RoleRules};
pub use settings::Config;

/// One configured `rbac` policy.
#[derive(Debug)]
pub struct Rbac {
    rules: RbacRules,
}

impl Plugin for Rbac {
    const NAME: &'static str = "rbac";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Allows what the caller's roles allow, under the required scopes and conditions.";
    type Config = Config;

    fn configure(_policy: &str, config: Config) -> Result<(Self, Wants), ConfigError> {
        let rules = RbacRules::compile(&config)?;
        let wants = Wants { data: rules.data(), ..Wants::default() };
        Ok((Self { rules }, wants))
    }
}

impl Authorize for Rbac {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        let pulled = PulledTexts::from(host);
        let texts = ParsedTexts::of(&pulled);
        let facts = Facts::new(call, principal, &texts);
        match self.decide(&self.rules.roles_of(&facts), &facts) {
            Ok(role) => {
                host.note_rule("role", &role.name);
                Decision::Allow
            }
            Err(obstacle) => Decision::Deny(self.denial(&obstacle, call, principal)),
        }
    }

    /// The same. The caller's roles are found once, their claims are parsed once, and a denied entry needs no text.
    async fn authorize_entries<H: Host>(
        &self,
        host: &H,
        call: &Call<'_>,
        targets: &[&str],
        principal: &Principal<'_>,
    ) -> Result<Vec<EntryDecision>, Unavailability> {
        let pulled = PulledTexts::from(host);
        let texts = ParsedTexts::of(&pulled);
        let roles = self.rules.roles_of(&Facts::new(call, principal, &texts));
        let decide = |target: &&str| {
            let call = Call { target, ..*call };
            match self.decide(&roles, &Facts::new(&call, principal, &texts)) {
                Ok(_) => EntryDecision::Allow,
                Err(_) => EntryDecision::Deny,
            }
        };
        Ok(targets.iter().map(decide).collect())
    }
}

/// The rule that keeps a caller from a call.
enum Obstacle<'r> {
    /// A deny pattern of this role.
    DenyPattern(&'r RoleRules),
    /// No role allows the call.
    NoRole,
    /// A condition of this role.
    RoleCondition(&'r RoleRules),
    /// A missing scope.
    Scopes,
    /// The condition for all callers at this place.
    Condition(usize),
}

impl Rbac {
    /// Checks the deny patterns of all roles, then their allow patterns, and then the scopes and conditions for
    /// all callers. Returns the role that allows the call.
    fn decide<'r>(
        &'r self,
        roles: &CallerRoles<'r>,
        facts: &Facts<'_, '_>,
    ) -> Result<&'r RoleRules, Obstacle<'r>> {
        Self::not_denied(roles, facts)?;
        let role = Self::allowing(roles, facts)?;
        self.scopes_held(facts)?;
        self.conditions_hold(facts)?;
        Ok(role)
    }

    fn not_denied<'r>(roles: &CallerRoles<'r>, facts: &Facts<'_, '_>) -> Result<(), Obstacle<'r>> {
        match roles.iter().find(|role| role.denies(facts.call)) {
            None => Ok(()),
            Some(role) => Err(Obstacle::DenyPattern(role)),
        }
    }

    fn allowing<'r>(roles: &CallerRoles<'r>, facts: &Facts<'_, '_>) -> Result<&'r RoleRules, Obstacle<'r>> {
        let allowing = || roles.iter().filter(|role| role.allows(facts.call));
        // If a role without conditions allows the call, the conditions of other roles do not matter, and need no data.
        if let Some(role) = allowing().find(|role| role.is_unconditional_for(facts.call)) {
            return Ok(role);
        }
        let mut unmet: Option<&RoleRules> = None;
        for role in allowing() {
            if all_hold(&role.conditions, facts) {
                return Ok(role);
            }
            unmet = unmet.or(Some(role));
        }
        Err(unmet.map_or(Obstacle::NoRole, Obstacle::RoleCondition))
    }

    fn scopes_held(&self, facts: &Facts<'_, '_>) -> Result<(), Obstacle<'_>> {
        if !self.rules.scopes_bind(facts.principal.proven_by) {
            return Ok(());
        }
        let held = facts.principal.scopes;
        let mut needed = self.rules.scopes_for(facts.call);
        let is_held = needed.all(|scope| self.rules.has_scope(held, scope))
            && self.rules.has_template_scope(held, facts.call);
        is_held.then_some(()).ok_or(Obstacle::Scopes)
    }

    fn conditions_hold(&self, facts: &Facts<'_, '_>) -> Result<(), Obstacle<'_>> {
        match self.rules.conditions.iter().position(|condition| !condition.holds(facts)) {
            None => Ok(()),
            Some(place) => Err(Obstacle::Condition(place)),
        }
    }

    fn denial(&self, obstacle: &Obstacle<'_>, call: &Call<'_>, principal: &Principal<'_>) -> Denial {
        match obstacle {
            Obstacle::DenyPattern(role) => {
                denial("denied", format!("a deny pattern of role `{}` covers the call", role.name))
            }
            Obstacle::NoRole => denial("not-allowed", "no role of the caller allows the call"),
            Obstacle::RoleCondition(role) => {
                denial("condition", format!("a condition of role `{}` does not hold", role.name))
            }
            Obstacle::Scopes => Denial {
                scopes: self.needed_scopes(call, principal.scopes),
                ..denial("insufficient-scope", "the caller lacks a scope")
            },
            Obstacle::Condition(place) => denial("condition", format!("condition {place} does not hold")),
        }
    }

    /// The scopes of all matching patterns, or that of the template. A denial names all of them, so that the caller needs
    /// only one more authorization.
    fn needed_scopes(&self, call: &Call<'_>, held: &[String]) -> Vec<String> {
        let mut scopes: Vec<String> = self.rules.scopes_for(call).cloned().collect();
        scopes.extend(self.rules.template_scopes(held, call));
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }
}

fn denial(reason: &str, detail: impl Into<String>) -> Denial {
    Denial { reason: reason.to_owned(), detail: Some(detail.into()), ..Denial::default() }
}

witgate_plugin::export_authorizer!(Rbac);

#[cfg(test)]
mod tests {
    use witgate_plugin::testing::{FakeHost, Person, tool};

    use super::{Decision, Plugin, Rbac};

    #[test]
    fn arguments_are_read_only_if_a_condition_needs_them() {
        let config = r#"{
            "roles": { "clerk": { "allow": ["*"] } },
            "conditions": [{ "on": "pay", "argument": "/amount", "max": 10 }]
        }"#;
        let (policy, wants) = Rbac::configure_json("roles", config).expect("the settings are good");
        assert!(wants.data.arguments && !wants.data.claims);
        let ada = Person::named("ada").role("clerk");
        let host = FakeHost::new().wanting(&wants).arguments(r#"{ "amount": 11 }"#);
        assert_eq!(host.authorize(&policy, &tool("echo"), &ada.principal()), Decision::Allow);
        assert_eq!(host.calls("arguments"), 0);
        let decision = host.authorize(&policy, &tool("pay"), &ada.principal());
        assert!(matches!(decision, Decision::Deny(denial) if denial.reason == "condition"));
        assert_eq!((host.calls("arguments"), host.calls("claims")), (1, 0));
    }

    #[test]
    fn no_facts_are_read_if_roles_decide() {
        let config = r#"{
            "roles": {
                "clerk": { "allow": ["pay"], "conditions": [{ "on": "pay", "argument": "/amount", "max": 10 }] },
                "chief": { "allow": ["pay"] },
                "banned": { "deny": ["pay"] }
            },
            "conditions": [{ "on": "*", "claim": "team", "equals": "red" }, { "on": "echo", "argument": "/a", "equals": 1 }],
            "subjects": [{ "subject": "bob", "policy": "keys", "issuer": "i", "roles": ["chief"] }],
            "scopes": { "pay": ["money"] }
        }"#;
        let (policy, wants) = Rbac::configure_json("roles", config).expect("the settings are good");
        let host =
            FakeHost::new().wanting(&wants).arguments(r#"{ "amount": 1 }"#).claims(r#"{ "team": "red" }"#);
        let reason = |person: Person| match host.authorize(&policy, &tool("pay"), &person.principal()) {
            Decision::Deny(denial) => denial.reason,
            other => format!("{other:?}"),
        };
        let counts = || ["arguments", "claims", "issuer"].map(|what| host.calls(what));
        assert_eq!(reason(Person::named("ada")), "not-allowed");
        assert_eq!(reason(Person::named("ada").role("clerk").role("banned")), "denied");
        assert_eq!(counts(), [0, 0, 0]);
        // One of two roles allows the call with any arguments; then the scopes decide.
        assert_eq!(reason(Person::named("ada").role("clerk").role("chief")), "insufficient-scope");
        assert_eq!(counts(), [0, 0, 0]);
        assert_eq!(reason(Person::named("ada").role("clerk").role("chief").scope("money")), "Allow");
        assert_eq!(counts(), [0, 1, 0]);
        assert_eq!(reason(Person::named("ada").role("clerk").scope("money")), "Allow");
        assert_eq!(counts(), [1, 2, 0]);
    }

    #[test]
    fn large_arguments_need_no_more_memory_than_their_text() {
        let config = r#"{
            "roles": { "clerk": { "allow": ["*"] } },
            "conditions": [
                { "on": "pay", "argument": "/amount", "max": 10 },
                { "on": "find", "argument": "/in/1", "contains": { "a": [1] } },
                { "on": "say", "argument": "/text", "matches": "x*y" }
            ]
        }"#;
        let (policy, wants) = Rbac::configure_json("roles", config).expect("the settings are good");
        let ada = Person::named("ada").role("clerk");
        let allows = |called: &str, arguments: String| {
            let host = FakeHost::new().wanting(&wants).arguments(&arguments);
            host.authorize(&policy, &tool(called), &ada.principal()) == Decision::Allow
        };
        let many = "0,".repeat(1 << 20);
        let long = "x".repeat(1 << 20);
        for (is_allowed, called, arguments) in [
            (true, "pay", format!(r#"{{"rest":[{many}0],"amount":10,"more":[{many}0]}}"#)),
            (false, "pay", format!(r#"{{"rest":[{many}0],"amount":11}}"#)),
            (false, "pay", format!(r#"{{"amount":1,"rest":[{many}0],"amount":1}}"#)),
            (false, "pay", format!(r#"{{"amount":[{many}0]}}"#)),
            (false, "pay", format!(r#"{{"rest":[{many}0],"#)),
            (true, "find", format!(r#"{{"in":[7,[{many}{{"a":[1]}},{many}0]]}}"#)),
            (true, "find", r#"{"in":[7,[0,{"a":[1.0]}]]}"#.to_owned()),
            (false, "find", format!(r#"{{"in":[7,[{many}{{"a":[2]}}]]}}"#)),
            (false, "find", format!(r#"{{"in":[7,[{many}{{"a":[1],"a":[1]}}]]}}"#)),
            (true, "say", format!(r#"{{"text":"{long}y"}}"#)),
            (true, "say", format!(r#"{{"text":"\u0078{long}y"}}"#)),
            (false, "say", format!(r#"{{"text":"{long}"}}"#)),
        ] {
            assert_eq!(
                allows(called, arguments.clone()),
                is_allowed,
                "{called} {}",
                &arguments[..40.min(arguments.len())]
            );
        }
    }
}
