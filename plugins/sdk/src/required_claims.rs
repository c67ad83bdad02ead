//! Claims that a token has to have.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use crate::json::Json;
use crate::{Claims, ConfigError, Refusal};

/// Claims that a token has to have: a list of names, or a table with the required value of each name. If the table
/// has a list of values for a name, one of them is enough.
///
/// ```
/// use witgate_plugin::{Claims, RequiredClaims};
///
/// let required: RequiredClaims = serde_json::from_str(r#"{ "token_use": "access", "tier": ["gold", 1] }"#)?;
/// assert!(required.judge(&Claims::parse(r#"{ "token_use": "access", "tier": 1 }"#)?).is_ok());
/// assert!(required.judge(&Claims::parse(r#"{ "token_use": "id", "tier": 1 }"#)?).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum RequiredClaims {
    /// The token has these claims, with any values.
    There(Vec<String>),
    /// Each claim has this value, or one of these values.
    Equal(BTreeMap<String, Value>),
}

impl Default for RequiredClaims {
    fn default() -> Self {
        Self::There(Vec::new())
    }
}

impl RequiredClaims {
    /// Checks that every name and every value is possible.
    ///
    /// # Errors
    /// At the setting `/required_claims`.
    pub fn check(&self) -> Result<(), ConfigError> {
        let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
        let can_be = |value: &Value| match value {
            Value::Array(several) => !several.is_empty() && several.iter().all(is_plain),
            one => is_plain(one),
        };
        match self {
            Self::There(names) if names.iter().any(String::is_empty) => {
                Err(ConfigError::at("/required_claims", "a claim's name is empty"))
            }
            Self::Equal(values) if values.contains_key("") => {
                Err(ConfigError::at("/required_claims", "a claim's name is empty"))
            }
            Self::Equal(values) => match values.iter().find(|(_, value)| !can_be(value)) {
                None => Ok(()),
                Some((name, _)) => {
                    let message = "write a string, a number, true or false, or a list of such values";
                    Err(ConfigError::at_path(&["required_claims", name], message))
                }
            },
            Self::There(_) => Ok(()),
        }
    }

    /// Refuses a token in which one of the claims is missing or has another value. A claim that is a list has to
    /// contain the value.
    ///
    /// # Errors
    /// With the refusal of the token.
    pub fn judge(&self, claims: &Claims<'_>) -> Result<(), Refusal> {
        match self {
            Self::There(names) => names.iter().try_for_each(|name| required_claim(claims, name).map(drop)),
            Self::Equal(values) => values.iter().try_for_each(|(name, wanted)| {
                match says(required_claim(claims, name)?, wanted) {
                    true => Ok(()),
                    false => Err(Refusal::new(
                        "wrong-claim",
                        format!("the claim `{name}` does not have the required value"),
                    )),
                }
            }),
        }
    }
}

fn required_claim<'c, 'j>(claims: &'c Claims<'j>, name: &str) -> Result<&'c Json<'j>, Refusal> {
    let missing = || Refusal::new("missing-claim", format!("the claim `{name}` is missing"));
    claims.get(name).ok_or_else(missing)
}

fn says(claim: &Json<'_>, wanted: &Value) -> bool {
    match (claim, wanted) {
        (claim, Value::Array(several)) => several.iter().any(|one| says(claim, one)),
        (Json::Array(items), one) => items.iter().any(|item| item == one),
        (claim, one) => claim == one,
    }
}

impl JsonSchema for RequiredClaims {
    fn schema_name() -> Cow<'static, str> {
        "RequiredClaims".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({ "type": "string", "minLength": 1 });
        let plain =
            json_schema!({ "anyOf": [{ "type": "string" }, { "type": "number" }, { "type": "boolean" }] });
        let several = json_schema!({ "type": "array", "items": plain, "minItems": 1 });
        json_schema!({ "anyOf": [
            { "type": "array", "items": text },
            { "type": "object", "additionalProperties": { "anyOf": [
                { "type": "string" }, { "type": "number" }, { "type": "boolean" }, several,
            ] } },
        ] })
    }
}
