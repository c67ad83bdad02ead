//! An authorizer that fails in the way that the tool's name says, and allows every other tool.

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
pub struct Faulty;

impl Plugin for Faulty {
    const NAME: &'static str = "faulty";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Fails in the way that the tool's name says.";
    type Config = Settings;

    fn configure(_policy: &str, _settings: Settings) -> Result<(Self, Wants), ConfigError> {
        Ok((Self, Wants::default()))
    }
}

impl Authorize for Faulty {
    async fn authorize<H: Host>(&self, _host: &H, call: &Call<'_>, _principal: &Principal<'_>) -> Decision {
        match call.target {
            "loops" => {
                let mut turns = 0_u64;
                loop {
                    turns = std::hint::black_box(turns.wrapping_add(1));
                }
            }
            #[allow(clippy::panic, reason = "this is what it is for")]
            "traps" => panic!("asked to"),
            "eats-memory" => {
                let mut eaten: Vec<Vec<u8>> = Vec::new();
                loop {
                    eaten.push(std::hint::black_box(vec![1; 1 << 20]));
                }
            }
            "talks-nonsense" => Decision::deny("This is no reason code\n", "on purpose"),
            _ => Decision::Allow,
        }
    }
}

witgate_plugin::export_authorizer!(Faulty);
