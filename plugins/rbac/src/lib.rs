//! Roles with allow and deny patterns, required scopes, and conditions. What no rule allows is
//! denied.
//!
//! The settings ([`settings`]) are compiled once into `rules`; a decision allocates nothing
//! unless it is a denial or has to read arguments or claims.

mod condition;
mod facts;
mod rules;
pub mod settings;

use witgate_plugin::{Authorize, Call, ConfigError, Decision, Denial, Host, Plugin, Principal, Wants};

use facts::{Facts, Pulled};
use rules::{Held, Role, Rules};
pub use settings::Config;

/// One configured `rbac` policy.
#[derive(Debug)]
pub struct Rbac {
    rules: Rules,
}

impl Plugin for Rbac {
    const NAME: &'static str = "rbac";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Allows what the caller's roles allow, under the required scopes and conditions.";
    type Config = Config;

    fn configure(_policy: &str, config: Config) -> Result<(Self, Wants), ConfigError> {
        let rules = Rules::compile(&config)?;
        let wants = Wants { data: rules.data(), ..Wants::default() };
        Ok((Self { rules }, wants))
    }
}

impl Authorize for Rbac {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        let pulled = Pulled::new(&self.rules, host, call);
        match self.decide(&Facts::new(call, principal, &pulled)) {
            Ok(()) => Decision::Allow,
            Err(denial) => Decision::Deny(denial),
        }
    }
}

impl Rbac {
    /// A deny pattern of any role, then an allow pattern of any role, then what holds for
    /// everybody: scopes and conditions.
    fn decide(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        let roles = self.rules.roles_of(facts);
        Self::not_denied(&roles, facts)?;
        Self::allowed(&roles, facts)?;
        self.scopes_held(facts)?;
        self.conditions_hold(facts)
    }

    fn not_denied(roles: &Held<'_>, facts: &Facts<'_>) -> Result<(), Denial> {
        match roles.iter().find(|role| role.denies(facts.call)) {
            None => Ok(()),
            Some(role) => Err(denial("denied", format!("role `{}` denies it", role.name))),
        }
    }

    fn allowed(roles: &Held<'_>, facts: &Facts<'_>) -> Result<(), Denial> {
        let mut unmet: Option<&Role> = None;
        for role in roles.iter().filter(|role| role.allows(facts.call)) {
            if facts.meet(&role.conditions) {
                return Ok(());
            }
            unmet = unmet.or(Some(role));
        }
        Err(match unmet {
            Some(role) => denial("condition", format!("a condition of role `{}` does not hold", role.name)),
            None => denial("not-allowed", "no role of the caller allows it"),
        })
    }

    /// Every matching pattern's scopes are needed; a denial names all of them, so that one more
    /// authorization is enough.
    fn scopes_held(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        let needed = || self.rules.scopes_for(facts.call);
        if needed().all(|scope| self.rules.has_scope(facts.principal.scopes, scope)) {
            return Ok(());
        }
        let mut scopes: Vec<String> = needed().cloned().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Err(Denial { scopes, ..denial("insufficient-scope", "the caller lacks a scope") })
    }

    fn conditions_hold(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        match self.rules.conditions.iter().position(|condition| !condition.holds(facts)) {
            None => Ok(()),
            Some(index) => Err(denial("condition", format!("condition {index} does not hold"))),
        }
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
    fn arguments_are_asked_for_only_where_a_condition_looks_at_them() {
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
}
