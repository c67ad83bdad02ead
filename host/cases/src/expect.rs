//! The expectations of a case, and their comparison with the outcome.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use witgate_plugin::{Decision, Identity, Unavailability, Verdict};

use witgate_base::printable::clean;
use witgate_component::failure::Failure;
use witgate_policy::answer::Outcome;

/// The expected answer of a policy.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// An identity.
    Identity(Box<ExpectIdentity>),
    /// The credential is for another policy.
    NotMine,
    /// A refusal with this reason.
    Refused(String),
    /// No answer, because something that the policy needs did not answer.
    Unavailable(ExpectUnavailable),
    /// Allowed.
    Allow,
    /// The policy abstains.
    Abstain,
    /// Denied with this reason, without scopes.
    Denied(String),
    /// Denied because of missing scopes; these are all needed ones.
    InsufficientScope(Vec<String>),
    /// It fails with this reason code, such as `timeout`.
    Failed(String),
}

/// No answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectUnavailable {
    /// The text that the detail has to contain.
    pub detail: String,
    /// Seconds until a retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

/// An identity. Omitted members can have any value.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectIdentity {
    /// The subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The roles, completely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The scopes, completely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The expiry, in seconds since the Unix epoch. `"never"`: the identity expires with the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<WrittenEnd>")]
    pub expires_at: Option<Value>,
    /// Members that the claims have to contain. `false`: there are no claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<WrittenClaims>")]
    pub claims: Option<Value>,
}

struct WrittenEnd;

impl JsonSchema for WrittenEnd {
    fn schema_name() -> Cow<'static, str> {
        "End".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Seconds since the Unix epoch, or `never`.",
            "anyOf": [{ "type": "integer" }, { "type": "string", "enum": ["never"] }],
        })
    }
}

struct WrittenClaims;

impl JsonSchema for WrittenClaims {
    fn schema_name() -> Cow<'static, str> {
        "Claims".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Members that the claims have to have, or `false`: there are none.",
            "anyOf": [{ "type": "object", "additionalProperties": true }, { "type": "boolean" }],
        })
    }
}

impl JsonSchema for Expect {
    fn schema_name() -> Cow<'static, str> {
        "Expect".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let reason = |what: &str| json!({ "type": "string", "description": what });
        let mut identity = generator.subschema_for::<ExpectIdentity>().to_value();
        let mut unavailable = generator.subschema_for::<ExpectUnavailable>().to_value();
        for (schema, what) in [
            (&mut identity, "This identity."),
            (&mut unavailable, "No answer, because something else gave none."),
        ] {
            schema.as_object_mut().and_then(|schema| schema.insert("description".to_owned(), what.into()));
        }
        json_schema!({
            "description": "The answer: one of these words, or a table with exactly one of these keys.",
            "anyOf": [
                { "type": "string", "enum": ["allow", "abstain", "not_mine"] },
                {
                    "type": "object",
                    "properties": {
                        "denied": reason("Denied with this reason code, without scopes."),
                        "insufficient_scope": {
                            "type": "array",
                            "items": { "type": "string" },
                            "description": "Denied because scopes are missing: all scopes that the call needs.",
                        },
                        "refused": reason("The credential is refused with this reason code."),
                        "identity": identity,
                        "unavailable": unavailable,
                        "failed": reason("The policy fails with this reason code, such as `timeout` or `trap`."),
                    },
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
        })
    }
}

impl Expect {
    /// Compares `outcome` with the expectation.
    ///
    /// # Errors
    /// With the actual outcome.
    pub fn judge(&self, outcome: &Outcome) -> Result<(), String> {
        match self.is(outcome) {
            true => Ok(()),
            false => Err(clean(&format!("{} instead of {}", outcome.to_line(), self.to_line()))),
        }
    }

    /// True if `outcome` is as expected.
    pub fn is(&self, outcome: &Outcome) -> bool {
        match (outcome, self) {
            (Outcome::Verdict(verdict), _) => self.is_verdict(verdict),
            (Outcome::Decision(decision), _) => self.is_decision(decision),
            (Outcome::Failed(failure, _), Self::Failed(reason)) => failure.reason() == *reason,
            // The unavailability that a policy reports itself is a failure of this kind.
            (Outcome::Failed(Failure::Unavailable, detail), Self::Unavailable(expected)) => {
                detail.contains(&expected.detail)
            }
            (Outcome::Failed(..), _) => false,
        }
    }

    fn is_verdict(&self, verdict: &Verdict) -> bool {
        match (verdict, self) {
            (Verdict::Identity(identity), Self::Identity(expected)) => expected.is(identity),
            (Verdict::NotMine, Self::NotMine) => true,
            (Verdict::Refused(refusal), Self::Refused(reason)) => refusal.reason == *reason,
            (Verdict::Unavailable(found), Self::Unavailable(expected)) => {
                expected.is(&found.detail, found.retry_after)
            }
            _ => false,
        }
    }

    fn is_decision(&self, decision: &Decision) -> bool {
        match (decision, self) {
            (Decision::Allow, Self::Allow) | (Decision::Abstain, Self::Abstain) => true,
            (Decision::Unavailable(found), Self::Unavailable(expected)) => {
                expected.is(&found.detail, found.retry_after)
            }
            (Decision::Deny(denial), Self::Denied(reason)) => {
                denial.reason == *reason && denial.scopes.is_empty()
            }
            (Decision::Deny(denial), Self::InsufficientScope(scopes)) => {
                denial.reason == INSUFFICIENT_SCOPE && denial.scopes == *scopes
            }
            _ => false,
        }
    }

    /// The value in the form of a case.
    pub fn written(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The value in the form of a case, on one line.
    pub fn to_line(&self) -> String {
        inline(&self.written())
    }

    /// The kind and reason code, for the coverage of a suite.
    pub fn class(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Identity(_) => ("identity", None),
            Self::NotMine => ("not_mine", None),
            Self::Refused(reason) => ("refused", Some(reason)),
            Self::Unavailable(_) => ("unavailable", None),
            Self::Allow => ("allow", None),
            Self::Abstain => ("abstain", None),
            Self::Denied(reason) => ("denied", Some(reason)),
            Self::InsufficientScope(_) => ("insufficient_scope", None),
            Self::Failed(reason) => ("failed", Some(reason)),
        }
    }
}

const INSUFFICIENT_SCOPE: &str = "insufficient-scope";

/// Outcomes in the form of cases.
pub trait OutcomeText {
    /// The value in the form of an expectation. It contains nothing of a credential.
    fn written(&self) -> Value;

    /// The detail for the operator's log.
    fn detail(&self) -> Option<&str>;

    /// The value in the form of a case, on one line.
    fn to_line(&self) -> String;

    /// The kind and reason code.
    fn class(&self) -> (&'static str, Option<&str>);
}

impl OutcomeText for Outcome {
    fn written(&self) -> Value {
        match self {
            Self::Verdict(Verdict::Identity(identity)) => json!({ "identity": written_identity(identity) }),
            Self::Verdict(Verdict::NotMine) => json!("not_mine"),
            Self::Verdict(Verdict::Refused(refusal)) => json!({ "refused": refusal.reason }),
            Self::Verdict(Verdict::Unavailable(found)) | Self::Decision(Decision::Unavailable(found)) => {
                json!({ "unavailable": written_unavailable(found) })
            }
            Self::Decision(Decision::Allow) => json!("allow"),
            Self::Decision(Decision::Abstain) => json!("abstain"),
            Self::Decision(Decision::Deny(denial)) => match denial.reason.as_str() {
                INSUFFICIENT_SCOPE if !denial.scopes.is_empty() => {
                    json!({ "insufficient_scope": denial.scopes })
                }
                reason => json!({ "denied": reason }),
            },
            Self::Failed(failure, _) => json!({ "failed": failure.reason() }),
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::Verdict(Verdict::Refused(refusal)) => refusal.detail.as_deref(),
            Self::Decision(Decision::Deny(denial)) => denial.detail.as_deref(),
            Self::Failed(_, detail) => Some(detail),
            _ => None,
        }
    }

    fn to_line(&self) -> String {
        let mut text = inline(&self.written());
        if let Self::Decision(Decision::Deny(denial)) = self
            && denial.reason != INSUFFICIENT_SCOPE
            && !denial.scopes.is_empty()
        {
            text.push_str(&format!(" with the scopes {}", denial.scopes.join(" ")));
        }
        match self.detail() {
            Some(detail) => format!("{text} ({detail})"),
            None => text,
        }
    }

    fn class(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Verdict(Verdict::Identity(_)) => ("identity", None),
            Self::Verdict(Verdict::NotMine) => ("not_mine", None),
            Self::Verdict(Verdict::Refused(refusal)) => ("refused", Some(&refusal.reason)),
            Self::Verdict(Verdict::Unavailable(_)) | Self::Decision(Decision::Unavailable(_)) => {
                ("unavailable", None)
            }
            Self::Decision(Decision::Allow) => ("allow", None),
            Self::Decision(Decision::Abstain) => ("abstain", None),
            Self::Decision(Decision::Deny(denial)) => match denial.scopes.is_empty() {
                true => ("denied", Some(&denial.reason)),
                false => ("insufficient_scope", None),
            },
            Self::Failed(failure, _) => ("failed", Some(failure.reason())),
        }
    }
}

fn written_identity(identity: &Identity) -> Value {
    let Identity { subject, issuer, roles, scopes, claims, expires_at } = identity;
    let mut written = Map::new();
    let mut add = |name: &str, value: Value| written.insert(name.to_owned(), value);
    add("subject", json!(subject));
    if let Some(issuer) = issuer {
        add("issuer", json!(issuer));
    }
    add("roles", json!(roles));
    add("scopes", json!(scopes));
    add("expires_at", expires_at.map_or_else(|| json!("never"), Value::from));
    let claims = claims.as_deref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
    add("claims", claims.unwrap_or(Value::Bool(false)));
    Value::Object(written)
}

fn written_unavailable(found: &Unavailability) -> Value {
    let expected = ExpectUnavailable { detail: found.detail.clone(), retry_after: found.retry_after };
    serde_json::to_value(expected).unwrap_or_default()
}

/// A value in TOML on one line. A table with one member is written without braces: `denied = "late"`.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) if members.len() == 1 => members_of(members),
        value => toml_of(value),
    }
}

fn toml_of(value: &Value) -> String {
    match value {
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => format!("{{ {} }}", members_of(members)),
        Value::Array(items) => format!("[{}]", items.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn members_of(members: &Map<String, Value>) -> String {
    let bare = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let member = |(name, value): (&String, &Value)| {
        let name = if bare(name) { name.clone() } else { format!("{name:?}") };
        format!("{name} = {}", toml_of(value))
    };
    members.iter().map(member).collect::<Vec<_>>().join(", ")
}

impl ExpectUnavailable {
    fn is(&self, detail: &str, retry_after: Option<u32>) -> bool {
        detail.contains(&self.detail) && self.retry_after == retry_after
    }
}

impl ExpectIdentity {
    fn is(&self, identity: &Identity) -> bool {
        let end = identity.expires_at.map_or_else(|| "never".into(), Value::from);
        self.subject.as_ref().is_none_or(|own| *own == identity.subject)
            && self.issuer.as_ref().is_none_or(|own| Some(own) == identity.issuer.as_ref())
            && self.roles.as_ref().is_none_or(|own| *own == identity.roles)
            && self.scopes.as_ref().is_none_or(|own| *own == identity.scopes)
            && self.expires_at.as_ref().is_none_or(|own| *own == end)
            && self.claims.as_ref().is_none_or(|own| has_claims(own, identity.claims.as_deref()))
    }
}

fn has_claims(expected: &Value, found: Option<&str>) -> bool {
    let Some(found) = found else { return *expected == Value::Bool(false) };
    let Ok(Value::Object(found)) = serde_json::from_str(found) else { return false };
    expected
        .as_object()
        .is_some_and(|expected| expected.iter().all(|(name, value)| found.get(name) == Some(value)))
}
