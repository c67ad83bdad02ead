//! One hook of a live policy: what it was asked, what it heard, what it answered. Little is copied while the caller
//! waits; the rest is shared with the request.

use std::sync::Arc;

use secrecy::SecretString;
use witgate_plugin::{Call, Credential, Scheme, TargetKind};

use crate::answer::{Failed, Outcome};
use witgate_services::Scope;
use witgate_services::host_calls::HostCallLog;

/// One hook.
#[derive(Debug)]
pub struct RecordedHook {
    /// The time at which it began, in seconds since the Unix epoch.
    pub now: u64,
    /// The method of the call.
    pub method: String,
    /// The kind of its target.
    pub kind: TargetKind,
    /// The name of its target.
    pub target: String,
    /// None: a question to the authorizer.
    pub credential: Option<(Scheme, SecretString)>,
    /// The results of its host calls.
    pub heard: Arc<HostCallLog>,
    /// None: not yet.
    pub outcome: Option<Outcome>,
    /// True if the component failed, and the built-in has decided in its place.
    pub stood_in: bool,
    scope: Scope,
}

impl RecordedHook {
    /// A question to `authenticate`.
    pub fn who(now: u64, scope: &Scope, call: &Call<'_>, credential: &Credential<'_>) -> Self {
        let credential = (credential.scheme, credential.value.into());
        Self { credential: Some(credential), ..Self::may(now, scope, call) }
    }

    /// A question to `authorize`.
    pub fn may(now: u64, scope: &Scope, call: &Call<'_>) -> Self {
        let heard = Arc::<HostCallLog>::default();
        Self {
            now,
            method: call.method.to_owned(),
            kind: call.kind,
            target: call.target.to_owned(),
            credential: None,
            scope: Scope { heard: Some(Arc::clone(&heard)), ..scope.clone() },
            heard,
            outcome: None,
            stood_in: false,
        }
    }

    /// The scope for the hook, in which host calls are noted.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The same with its answer, given by the built-in if that `stood_in`.
    pub fn answered(self, answer: Result<Outcome, &Failed>, stood_in: bool) -> Self {
        let outcome = answer.unwrap_or_else(|failed| Outcome::Failed(failed.failure, failed.detail.clone()));
        Self { outcome: Some(outcome), stood_in, ..self }
    }
}
