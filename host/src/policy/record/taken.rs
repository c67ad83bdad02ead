//! One hook of a live policy: what it was asked, what it heard, what it answered. Little is copied while the caller
//! waits; the rest is shared with the request.

use std::sync::Arc;

use secrecy::SecretString;
use witgate_plugin::{Call, Credential, Scheme, TargetKind};

use crate::flow::reject::Rejection;
use crate::policy::cases::Outcome;
use crate::services::Scope;
use crate::services::heard::Heard;

/// One hook.
#[derive(Debug)]
pub(in crate::policy) struct Taken {
    /// The start, in seconds since the Unix epoch.
    pub(super) now: u64,
    pub(super) method: String,
    pub(super) kind: TargetKind,
    pub(super) target: String,
    /// None: a question to the authorizer.
    pub(super) credential: Option<(Scheme, SecretString)>,
    pub(super) heard: Arc<Heard>,
    /// None: not yet, or it failed.
    pub(super) outcome: Option<Outcome>,
    scope: Scope,
}

impl Taken {
    /// A question to `authenticate`.
    pub(in crate::policy) fn who(
        now: u64,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Self {
        let credential = (credential.scheme, credential.value.into());
        Self { credential: Some(credential), ..Self::may(now, scope, call) }
    }

    /// A question to `authorize`.
    pub(in crate::policy) fn may(now: u64, scope: &Scope, call: &Call<'_>) -> Self {
        let heard = Arc::<Heard>::default();
        Self {
            now,
            method: call.method.to_owned(),
            kind: call.kind,
            target: call.target.to_owned(),
            credential: None,
            scope: Scope { heard: Some(Arc::clone(&heard)), ..scope.clone() },
            heard,
            outcome: None,
        }
    }

    /// The scope for the hook, in which host calls are noted.
    pub(in crate::policy) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The same with its answer.
    pub(in crate::policy) fn answered(self, outcome: Result<Outcome, &Rejection>) -> Self {
        let outcome = outcome.map_err(|rejection| match rejection {
            Rejection::Failed { failure, detail, .. } => Some(Outcome::Failed(*failure, detail.clone())),
            // A hook is rejected for no other reason.
            _ => None,
        });
        Self { outcome: outcome.map_or_else(|failed| failed, Some), ..self }
    }
}
