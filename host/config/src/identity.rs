//! `[upstreams.NAME.identity]`: the caller's identity that an upstream receives.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use witgate_base::signing::Signer;

/// The identity that an upstream receives with each call. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The fields, and their headers.
    pub headers: Vec<(IdentityField, HeaderName)>,
    /// The fields, and their environment variables, for processes that serve one caller.
    pub env: Vec<(IdentityField, String)>,
    /// A signed token.
    pub token: Option<IdentityToken>,
}

/// A part of the caller's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityField {
    /// The kind of caller: authenticated, anonymous, or Witgate itself.
    Kind,
    /// Policy, issuer and subject as one text.
    Principal,
    /// The subject, unique within its policy and issuer.
    Subject,
    /// The issuer of the subject.
    Issuer,
    /// The policy that has authenticated the caller.
    Policy,
    /// Roles.
    Roles,
    /// OAuth scopes.
    Scopes,
    /// The id of the decision.
    Decision,
}

impl IdentityField {
    /// The name in the configuration.
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

/// A token of Witgate with the caller's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityToken {
    /// The header of the token. In `Authorization` it is a bearer token.
    pub header: HeaderName,
    /// The audience of the token.
    pub audience: String,
    /// The lifetime of the token.
    pub lifetime: Duration,
    /// The content of `sub`: [`IdentityField::Subject`] or [`IdentityField::Principal`].
    pub sub: IdentityField,
    /// Other claims, besides kind, policy and issuer.
    pub claims: Vec<IdentityField>,
    /// The signer of the token.
    pub signer: Arc<Signer>,
}
