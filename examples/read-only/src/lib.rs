//! Allows what the caller's roles allow, as long as the call only reads.
//!
//! Its setting `roles` has the form of that of the shipped RBAC, so that it can replace that policy with the same settings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Authorize, Call, ConfigError, Decision, Host, Plugin, Principal, RuleVerdict, Rules, TargetKind, Wants,
};

/// Tools whose names say that they only read. Resources and prompts always do.
const READING: [&str; 3] = ["get-", "list-", "echo"];

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The permissions of each role.
    roles: BTreeMap<String, Role>,
}

/// The permissions of one role; `deny` wins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Role {
    /// Patterns of the calls that the role allows.
    #[serde(default)]
    allow: Vec<String>,
    /// Patterns of the calls that the role denies, even if `allow` covers them.
    #[serde(default)]
    deny: Vec<String>,
}

/// The plugin.
#[derive(Debug)]
pub struct ReadOnly {
    roles: BTreeMap<String, Rules>,
}

impl Plugin for ReadOnly {
    const NAME: &'static str = "read-only";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Allows what the caller's roles allow, as long as it only reads.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let rules = |(name, role): (String, Role)| {
            let rules = Rules::parse(&role.allow, &role.deny).map_err(|(list, index, error)| {
                ConfigError::at(format!("/roles/{name}/{list}/{index}"), error.to_string())
            })?;
            Ok((name, rules))
        };
        let roles = settings.roles.into_iter().map(rules).collect::<Result<_, _>>()?;
        Ok((Self { roles }, Wants::default()))
    }
}

impl Authorize for ReadOnly {
    async fn authorize<H: Host>(&self, _host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        let is_tool = call.kind == TargetKind::Tool;
        if is_tool && !READING.iter().any(|prefix| call.target.starts_with(prefix)) {
            return Decision::deny("not-read-only", "only tools that read may be called");
        }
        let of_roles: Vec<RuleVerdict> = principal
            .roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .map(|rules| rules.judge(call.kind, call.target))
            .collect();
        if of_roles.contains(&RuleVerdict::Denied) {
            Decision::deny("role-denies", "a role of the caller denies the call")
        } else if of_roles.contains(&RuleVerdict::Allowed) {
            Decision::Allow
        } else {
            Decision::deny("no-role-allows", "no role of the caller allows the call")
        }
    }
}

witgate_plugin::export_authorizer!(ReadOnly);

#[cfg(test)]
mod tests {
    use witgate_plugin::testing::{FakeHost, Person, resource, tool};

    use super::{Call, ConfigError, Decision, Plugin, ReadOnly};

    const ROLES: &str = r#"{ "roles": { "dev": { "allow": ["*"], "deny": ["get-env"] }, "guest": {} } }"#;

    fn decide(role: &str, call: &Call<'_>) -> Result<Decision, ConfigError> {
        let (plugin, _) = ReadOnly::configure_json("rules", ROLES)?;
        let caller = Person::named("ada").role(role);
        Ok(FakeHost::new().authorize(&plugin, call, &caller.principal()))
    }

    fn denied(role: &str, call: &Call<'_>) -> Result<Option<String>, ConfigError> {
        Ok(match decide(role, call)? {
            Decision::Deny(denial) => Some(denial.reason),
            Decision::Allow | Decision::Abstain | Decision::Unavailable(_) => None,
        })
    }

    #[test]
    fn tools_that_only_read_are_allowed_if_a_role_allows_them() -> Result<(), ConfigError> {
        assert_eq!(decide("dev", &tool("get-sum"))?, Decision::Allow);
        assert_eq!(decide("dev", &resource("file:///delete"))?, Decision::Allow);
        assert_eq!(denied("guest", &tool("get-sum"))?.as_deref(), Some("no-role-allows"));
        assert_eq!(denied("dev", &tool("get-env"))?.as_deref(), Some("role-denies"));
        Ok(())
    }

    #[test]
    fn tools_that_write_are_denied_for_every_role() -> Result<(), ConfigError> {
        assert_eq!(denied("dev", &tool("delete"))?.as_deref(), Some("not-read-only"));
        // A list shows the tools that may be called.
        let entry = Call { listing: true, ..tool("delete") };
        assert_eq!(denied("dev", &entry)?.as_deref(), Some("not-read-only"));
        Ok(())
    }

    #[test]
    fn an_invalid_pattern_is_named_in_the_error() {
        let wrong = r#"{ "roles": { "dev": { "allow": ["get-*", ""] } } }"#;
        let error = ReadOnly::configure_json("rules", wrong).err();
        assert_eq!(error.map(|error| error.pointer).as_deref(), Some("/roles/dev/allow/1"));
    }
}
