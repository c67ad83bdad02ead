//! The tokens that the own tool `issue_token` makes.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

/// `issue_token` of `[upstreams.NAME]`: tokens for callers of one policy, which another policy accepts.
#[derive(Clone, Debug)]
pub struct TokenIssue {
    /// The policy whose callers get tokens.
    pub from: Arc<str>,
    /// The policy that accepts the tokens.
    pub policy: Arc<str>,
    /// The key, which only that policy uses.
    pub key: IssuingKey,
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
    /// The path of a claim with the subject, besides `sub`. Empty: there is none.
    pub subject_claim: Vec<String>,
    /// The path of the claim with the roles. Empty: the policy reads none.
    pub roles_claim: Vec<String>,
    /// Maximum lifetime.
    pub max: Duration,
    /// The time after its end in which the policy accepts a token.
    pub leeway: Duration,
}

/// A key that signs tokens.
#[derive(Clone, Debug)]
pub enum IssuingKey {
    /// A secret for HS256.
    Hs256(Arc<SecretString>),
    /// A private key in PEM for ES256.
    Es256(Arc<SecretString>),
}
