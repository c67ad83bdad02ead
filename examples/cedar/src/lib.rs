//! Decisions by policies in the language Cedar (<https://www.cedarpolicy.com>).
//!
//! A call becomes a request to Cedar: a `User` in `Role`s, one of four actions, and a `Tool`, `Resource`, `Prompt` or `Method`.
//! Cedar ignores a policy that cannot be evaluated, even one that forbids; this plugin denies the call.

mod request;
mod values;

use std::str::FromStr as _;

use cedar_policy::{Authorizer, Decision as Answer, Entities, ParseErrors, PolicySet};
use miette::Diagnostic as _;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::{Authorize, Call, ConfigError, Data, Decision, Denial, Host, Plugin, Principal, Wants};

use request::{USER, of_call};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Policies, as text.
    #[serde(default)]
    policies: String,
    /// A file of policies.
    #[serde(default)]
    #[schemars(extend("format" = "witgate-file"))]
    policy_file: Option<String>,
    /// Entities in Cedar's JSON, such as roles within other roles, and tools in a group.
    #[serde(default)]
    entities: Vec<Value>,
}

/// The plugin.
#[derive(Debug)]
pub struct Cedar {
    policies: PolicySet,
    entities: Entities,
    authorizer: Authorizer,
}

impl Plugin for Cedar {
    const NAME: &'static str = "cedar";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Allows what Cedar policies permit.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let own = read("/policies", &settings.policies)?;
        let of_file = read("/policy_file", settings.policy_file.as_deref().unwrap_or_default())?;
        // Both number their policies from zero, so those of the file get other names.
        let policies = merge(own, &of_file)?;
        if policies.is_empty() {
            return Err(ConfigError::at(
                "",
                "no policy, so nothing would be permitted; write `policies` or `policy_file`",
            ));
        }
        let entities = entities(settings.entities)?;
        let wants = Wants {
            data: Data { arguments: true, claims: true, peer: true, ..Data::default() },
            ..Wants::default()
        };
        Ok((Self { policies, entities, authorizer: Authorizer::new() }, wants))
    }
}

fn read(pointer: &str, text: &str) -> Result<PolicySet, ConfigError> {
    let policies = PolicySet::from_str(text).map_err(|error| ConfigError::at(pointer, told(text, &error)))?;
    if let Some(template) = policies.templates().next() {
        return Err(ConfigError::at(
            pointer,
            format!("`{}` is a template; write a static policy instead", template.id()),
        ));
    }
    Ok(policies)
}

/// The first fault, with its line.
fn told(text: &str, errors: &ParseErrors) -> String {
    let first = errors.iter().next();
    let place = first.and_then(|error| error.labels()).and_then(|mut labels| labels.next());
    let before = place.and_then(|place| text.get(..place.offset()));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    let what = first.map_or_else(|| errors.to_string(), ToString::to_string);
    format!("line {line}: {what}")
}

fn merge(mut policies: PolicySet, others: &PolicySet) -> Result<PolicySet, ConfigError> {
    policies
        .merge(others, true)
        .map_err(|error| ConfigError::at("/policy_file", format!("cannot be combined with `policies`: {error}")))?;
    Ok(policies)
}

/// The entities of the settings. A `User` is refused, because users are made from callers.
fn entities(written: Vec<Value>) -> Result<Entities, ConfigError> {
    let refused = |error| ConfigError::at("/entities", format!("{error}"));
    let entities = Entities::from_json_value(Value::Array(written), None).map_err(refused)?;
    if entities.iter().any(|entity| entity.uid().type_name().to_string() == USER) {
        return Err(ConfigError::at(
            "/entities",
            "each caller becomes a `User`, so the settings cannot contain one; write only roles and tools",
        ));
    }
    Ok(entities)
}

impl Authorize for Cedar {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        match self.judge(host, call, principal) {
            Ok(()) => Decision::Allow,
            Err(denial) => Decision::Deny(denial),
        }
    }
}

impl Cedar {
    fn judge<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Result<(), Denial> {
        let odd = |why: String| denial("not-for-cedar", why);
        let (request, user) = of_call(host, call, principal).map_err(odd)?;
        let entities = self.entities.clone().add_entities([user], None);
        let entities = entities.map_err(|error| denial("not-for-cedar", error.to_string()))?;
        let response = self.authorizer.is_authorized(&request, &self.policies, &entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(denial("policy-error", error.to_string()));
        }
        let policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        match (response.decision(), policies.is_empty()) {
            (Answer::Allow, _) => Ok(()),
            (Answer::Deny, true) => Err(denial("not-permitted", "no policy permits the call")),
            (Answer::Deny, false) => {
                Err(denial("forbidden", format!("forbidden by {}", policies.join(", "))))
            }
        }
    }
}

/// The details of Cedar's errors may be long.
fn denial(reason: &str, detail: impl Into<String>) -> Denial {
    let detail: String = detail.into().chars().take(200).collect();
    Denial { reason: reason.to_owned(), detail: Some(detail), ..Denial::default() }
}

witgate_plugin::export_authorizer!(Cedar);
