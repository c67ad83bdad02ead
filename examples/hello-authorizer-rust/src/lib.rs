//! The smallest authorizer: callers who have the role may call, others may not.

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{Authorize, Call, ConfigError, Decision, Host, Plugin, Principal, Wants};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The role that a caller needs.
    role: String,
}

/// The plugin.
#[derive(Debug)]
pub struct Hello {
    role: String,
}

impl Plugin for Hello {
    const NAME: &'static str = "hello-authorizer-rust";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Allows callers who have one role.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        if settings.role.is_empty() {
            return Err(ConfigError::at("/role", "an empty role; write the name of a role"));
        }
        Ok((Self { role: settings.role }, Wants::default()))
    }
}

impl Authorize for Hello {
    async fn authorize<H: Host>(&self, _host: &H, _call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        match principal.roles.contains(&self.role) {
            true => Decision::Allow,
            false => {
                Decision::deny("wrong-role", format!("the caller does not have the role `{}`", self.role))
            }
        }
    }
}

witgate_plugin::export_authorizer!(Hello);
