//! An authorizer that imports the values of secrets, which nobody grants it. It allows everything,
//! so a test would see it at work.

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{Authorize, Call, ConfigError, Decision, Host, Plugin, Principal, Wants};

/// The settings: those of the shipped RBAC are borne and mean nothing.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Settings {
    #[allow(dead_code, reason = "nothing is done with them")]
    #[serde(default)]
    roles: serde_json::Value,
}

/// The plugin.
#[derive(Debug)]
pub struct Secretive;

impl Plugin for Secretive {
    const NAME: &'static str = "secretive";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Imports the values of secrets.";
    type Config = Settings;

    fn configure(_policy: &str, _settings: Settings) -> Result<(Self, Wants), ConfigError> {
        Ok((Self, Wants::default()))
    }
}

impl Authorize for Secretive {
    async fn authorize<H: Host>(&self, host: &H, _call: &Call<'_>, _principal: &Principal<'_>) -> Decision {
        let _ = host.secret("any");
        Decision::Allow
    }
}

witgate_plugin::export_authorizer!(Secretive);
