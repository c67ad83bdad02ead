//! Allows the tools whose names begin with one of the prefixes in the settings.

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{Authorize, Call, ConfigError, Decision, Host, Plugin, Principal, TargetKind, Wants};

/// The settings, as an operator writes them under `config`. Witgate validates them against the JSON Schema of this type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Prefixes of the tools that may be called, such as `get-`.
    prefixes: Vec<String>,
}

/// The plugin, configured.
#[derive(Debug)]
pub struct {{Name}} {
    prefixes: Vec<String>,
}

impl Plugin for {{Name}} {
    const NAME: &'static str = "{{name}}";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Allows the tools whose names begin with a prefix of the settings.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        if let Some(index) = settings.prefixes.iter().position(String::is_empty) {
            return Err(ConfigError::at(
                format!("/prefixes/{index}"),
                "an empty prefix would allow every tool; write the beginning of names",
            ));
        }
        Ok((Self { prefixes: settings.prefixes }, Wants::default()))
    }
}

impl Authorize for {{Name}} {
    async fn authorize<H: Host>(&self, _host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        if call.kind != TargetKind::Tool {
            return Decision::Abstain;
        }
        if self.prefixes.iter().any(|prefix| call.target.starts_with(prefix.as_str())) {
            return Decision::Allow;
        }
        let detail = format!("{} called {}, whose name begins with none of the configured prefixes", principal.subject, call.target);
        Decision::deny("prefix-not-allowed", detail)
    }
}

witgate_plugin::export_authorizer!({{Name}});
