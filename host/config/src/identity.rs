//! `[upstreams.NAME.identity]`: the caller's identity that an upstream receives.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use witgate_base::signing::Signer;

/// The identity that an upstream receives with each call. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Fields, and the headers that they are told in.
    pub headers: Vec<(IdentityField, HeaderName)>,
    /// Fields, and the environment variables that they are told in, where a process is one caller's.
    pub env: Vec<(IdentityField, String)>,
    /// A signed token.
    pub token: Option<IdentityToken>,
}

/// A part of the caller's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityField {
    /// The kind of caller: somebody, anybody, or Witgate itself.
    Kind,
    /// Policy, issuer and subject as one text.
    Principal,
    /// The subject, unique within its policy and issuer.
    Subject,
    /// The issuer of the subject.
    Issuer,
    /// The policy that has proven it.
    Policy,
    /// Roles.
    Roles,
    /// OAuth scopes.
    Scopes,
    /// The id of the decision.
    Decision,
}

impl IdentityField {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Principal => "principal",
            Self::Subject => "subject",
            Self::Issuer => "issuer",
            Self::Policy => "policy",
            Self::Roles => "roles",
            Self::Scopes => "scopes",
            Self::Decision => "decision",
        }
    }
}

/// A token of Witgate's own with the caller's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityToken {
    /// The header that it is in; in `Authorization` as a bearer token.
    pub header: HeaderName,
    /// The audience of the token.
    pub audience: String,
    /// The lifetime of the token.
    pub lifetime: Duration,
    /// The content of `sub`: [`IdentityField::Subject`] or [`IdentityField::Principal`].
    pub sub: IdentityField,
    /// Further claims, beside kind, policy and issuer.
    pub claims: Vec<IdentityField>,
    /// The signer of the token.
    pub signer: Arc<Signer>,
}
