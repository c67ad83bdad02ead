//! The caller of a request to an upstream, for credentials that differ by caller.

use std::sync::Arc;

use crate::caller_token::CallerToken;
use witgate_base::party::Principal;

/// The caller for whom Witgate uses a credential.
#[derive(Clone, Debug)]
pub struct CredentialUser {
    principal: Principal,
    token: Option<Arc<CallerToken>>,
}

impl CredentialUser {
    /// The caller, with the token that they have shown, if it may be exchanged.
    pub fn new(principal: Principal, token: Option<Arc<CallerToken>>) -> Self {
        Self { principal, token }
    }

    /// The caller.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Their token.
    pub(crate) fn token(&self) -> Option<&Arc<CallerToken>> {
        self.token.as_ref()
    }
}
