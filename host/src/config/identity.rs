//! `[upstreams.NAME.identity]`: what an upstream is told of who calls.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::signing::Signer;

/// What an upstream is told of who calls. Nothing, unless the operator says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Fields, and the headers that they are told in.
    pub headers: Vec<(Field, HeaderName)>,
    /// Fields, and the environment variables that they are told in, where a process is one caller's.
    pub env: Vec<(Field, String)>,
    /// A signed token.
    pub token: Option<IdentityToken>,
}

/// One thing that can be told of who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Whether it is somebody, anybody, or Witgate itself.
    Kind,
    /// Policy, issuer and subject as one text.
    Principal,
    /// The subject, unique within its policy and issuer.
    Subject,
    /// Who vouches for the subject.
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

impl Field {
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

/// A token of Witgate's own that says who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityToken {
    /// The header that it stands in; in `Authorization` as a bearer token.
    pub header: HeaderName,
    /// Whom it is for.
    pub audience: String,
    /// How long it is good.
    pub lifetime: Duration,
    /// What its `sub` is: [`Field::Subject`] or [`Field::Principal`].
    pub sub: Field,
    /// What else it says, beside kind, policy and issuer.
    pub claims: Vec<Field>,
    /// Who signs it.
    pub signer: Arc<Signer>,
}
