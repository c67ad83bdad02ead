//! What a case expects, and whether it came.

use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::{Decision, Identity, Verdict};

use crate::flow::reject::Failure;
use crate::services::clean;

/// What a hook answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `authenticate`.
    Verdict(Verdict),
    /// `authorize`.
    Decision(Decision),
    /// Neither: how it failed, and what the engine says.
    Failed(Failure, String),
}

/// The answer that a policy has to give.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// An identity.
    Identity(Box<ExpectIdentity>),
    /// Another policy's credential.
    NotMine,
    /// A refusal with this reason.
    Refused(String),
    /// No answer, because something else gave none.
    Unavailable(ExpectUnavailable),
    /// Allowed.
    Allow,
    /// Nothing to say.
    Abstain,
    /// Denied with this reason, without scopes.
    Denied(String),
    /// Denied for want of scopes, of which these are needed in all.
    InsufficientScope(Vec<String>),
    /// It fails with this reason code, such as `timeout`.
    Failed(String),
}

/// No answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectUnavailable {
    /// What the detail has to hold.
    #[serde(default)]
    pub detail: String,
    /// When to try again.
    pub retry_after: Option<u32>,
}

/// An identity. What is absent can be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectIdentity {
    /// The subject.
    pub subject: Option<String>,
    /// The issuer.
    pub issuer: Option<String>,
    /// The roles, all of them.
    pub roles: Option<Vec<String>>,
    /// The scopes, all of them.
    pub scopes: Option<Vec<String>>,
    /// When it ends; `"never"`: with the credential.
    pub expires_at: Option<Value>,
    /// Members that the claims have to have; false: there are no claims at all.
    pub claims: Option<Value>,
}

impl Expect {
    /// Whether `outcome` is what was expected.
    ///
    /// # Errors
    /// With what came instead.
    pub fn judge(&self, outcome: &Outcome) -> Result<(), String> {
        match self.is(outcome) {
            true => Ok(()),
            false => Err(clean(&format!("{} instead of {}", outcome.told(), self.told()))),
        }
    }

    fn is(&self, outcome: &Outcome) -> bool {
        match (outcome, self) {
            (Outcome::Verdict(verdict), _) => self.is_verdict(verdict),
            (Outcome::Decision(decision), _) => self.is_decision(decision),
            (Outcome::Failed(failure, _), Self::Failed(reason)) => failure.reason() == *reason,
            // What a policy says of itself comes as a failure of this kind.
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
                denial.reason == "insufficient-scope" && denial.scopes == *scopes
            }
            _ => false,
        }
    }

    /// As it is written.
    fn told(&self) -> String {
        match self {
            Self::Identity(expected) => format!("the identity {expected:?}"),
            Self::NotMine => "`not_mine`".to_owned(),
            Self::Refused(reason) => format!("refused `{reason}`"),
            Self::Unavailable(expected) => format!("unavailable {:?}", expected.detail),
            Self::Allow => "`allow`".to_owned(),
            Self::Abstain => "`abstain`".to_owned(),
            Self::Denied(reason) => format!("denied `{reason}`"),
            Self::InsufficientScope(scopes) => format!("insufficient scope, of {}", scopes.join(" ")),
            Self::Failed(reason) => format!("failed `{reason}`"),
        }
    }
}

impl Outcome {
    /// In the words of a case. Nothing of a credential is in any of it; a detail is for the operator's log anyhow.
    fn told(&self) -> String {
        match self {
            Self::Verdict(Verdict::Identity(identity)) => format!("the identity {identity:?}"),
            Self::Verdict(Verdict::NotMine) => "`not_mine`".to_owned(),
            Self::Verdict(Verdict::Refused(refusal)) => {
                told("refused", &refusal.reason, refusal.detail.as_deref())
            }
            Self::Verdict(Verdict::Unavailable(found)) | Self::Decision(Decision::Unavailable(found)) => {
                format!("unavailable {:?} (retry after {:?})", found.detail, found.retry_after)
            }
            Self::Decision(Decision::Allow) => "`allow`".to_owned(),
            Self::Decision(Decision::Abstain) => "`abstain`".to_owned(),
            Self::Decision(Decision::Deny(denial)) if denial.scopes.is_empty() => {
                told("denied", &denial.reason, denial.detail.as_deref())
            }
            Self::Decision(Decision::Deny(denial)) => {
                format!("denied `{}`, scopes {}", denial.reason, denial.scopes.join(" "))
            }
            Self::Failed(failure, detail) => told("failed", failure.reason(), Some(detail)),
        }
    }
}

fn told(what: &str, reason: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{what} `{reason}` ({detail})"),
        None => format!("{what} `{reason}`"),
    }
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
