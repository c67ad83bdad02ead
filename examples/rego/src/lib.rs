//! Decisions by policies in the language Rego (<https://www.openpolicyagent.org/docs/policy-language>).
//!
//! A call becomes `input`. It is allowed if one rule is `true`, and denied if that is undefined, false or something else.

mod input;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use regorus::{Engine, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{Authorize, Call, ConfigError, Data, Decision, Host, Plugin, Principal, Wants};

use input::Input;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Modules as text, each with a name for messages.
    #[serde(default)]
    policies: BTreeMap<String, String>,
    /// Files of modules, each with a name for messages.
    #[serde(default)]
    policy_files: BTreeMap<String, File>,
    /// The document that policies see as `data`.
    #[serde(default)]
    data: serde_json::Map<String, serde_json::Value>,
    /// The rule that has to be true.
    #[serde(default = "allow")]
    #[schemars(regex(pattern = "^data\\."))]
    rule: String,
}

/// A file's content.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "witgate-file"))]
struct File(String);

fn allow() -> String {
    "data.witgate.allow".to_owned()
}

/// The plugin.
pub struct Rego {
    /// The engine with policies and data. Each decision uses a copy, which shares them.
    engine: Engine,
    rule: String,
}

impl Debug for Rego {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rego").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl Plugin for Rego {
    const NAME: &'static str = "rego";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Allows what a rule in Rego allows.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let mut engine = Engine::new();
        // Without this, a builtin that fails would be undefined, and `not` would turn that into `true`.
        engine.set_strict_builtin_errors(true);
        let files = settings.policy_files.into_iter().map(|(name, File(text))| ("policy_files", name, text));
        let inline = settings.policies.into_iter().map(|(name, text)| ("policies", name, text));
        for (list, name, text) in inline.chain(files) {
            let refused = |error| ConfigError::at_path(&[list, name.as_str()], short(&format!("{error}")));
            engine.add_policy(name.clone(), text).map_err(refused)?;
        }
        let data = serde_json::Value::Object(settings.data).to_string();
        engine.add_data_json(&data).map_err(|error| ConfigError::at("/data", short(&format!("{error}"))))?;
        let plugin = Self { engine, rule: settings.rule };
        plugin.try_out()?;
        let data = Data { arguments: true, claims: true, peer: true, ..Data::default() };
        Ok((plugin, Wants { data, ..Wants::default() }))
    }
}

impl Authorize for Rego {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        let input = Input::of(host, call, principal);
        match input.and_then(|input| self.ask(&input)) {
            Ok(Value::Bool(true)) => Decision::Allow,
            Ok(Value::Bool(false)) => Decision::deny("not-allowed", format!("`{}` is false", self.rule)),
            Ok(Value::Undefined) => Decision::deny("undefined", format!("`{}` is undefined", self.rule)),
            Ok(_) => Decision::deny("policy-error", format!("`{}` is neither true nor false", self.rule)),
            Err(error) => Decision::deny("policy-error", error),
        }
    }
}

impl Rego {
    fn ask(&self, input: &str) -> Result<Value, String> {
        let mut engine = self.engine.clone();
        let said = |error| short(&format!("{error}"));
        engine.set_input_json(input).map_err(said)?;
        engine.eval_rule(self.rule.clone()).map_err(said)
    }

    /// Evaluates the rule once. This links the policies, and finds faults between them and in the rule's name.
    fn try_out(&self) -> Result<(), ConfigError> {
        let mut engine = self.engine.clone();
        engine.set_strict_builtin_errors(false);
        let tried = engine.set_input_json("{}").and_then(|()| engine.eval_rule(self.rule.clone()));
        tried.map(drop).map_err(|error| {
            ConfigError::at(
                "/rule",
                format!("`{}` cannot be evaluated: {}", self.rule, short(&format!("{error}"))),
            )
        })
    }
}

/// The error message without the source around it.
fn short(error: &str) -> String {
    let lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

witgate_plugin::export_authorizer!(Rego);
