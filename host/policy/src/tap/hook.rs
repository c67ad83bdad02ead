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
    pub call_log: Arc<HostCallLog>,
    /// None: not yet.
    pub outcome: Option<Outcome>,
    /// True if the component failed, and the built-in has decided in its place.
    pub by_fallback: bool,
    scope: Scope,
}

impl RecordedHook {
    /// A question to `authenticate`.
    pub fn authenticate(now: u64, scope: &Scope, call: &Call<'_>, credential: &Credential<'_>) -> Self {
        let credential = (credential.scheme, credential.value.into());
        Self { credential: Some(credential), ..Self::authorize(now, scope, call) }
    }

    /// A question to `authorize`.
    pub fn authorize(now: u64, scope: &Scope, call: &Call<'_>) -> Self {
        let call_log = Arc::<HostCallLog>::default();
        Self {
            now,
            method: call.method.to_owned(),
            kind: call.kind,
            target: call.target.to_owned(),
            credential: None,
            scope: Scope { call_log: Some(Arc::clone(&call_log)), ..scope.clone() },
            call_log,
            outcome: None,
            by_fallback: false,
        }
    }

    /// The scope for the hook, in which host calls are noted.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The same with its answer. `by_fallback`: the built-in gave it in place of a component.
    pub fn answered(self, answer: Result<Outcome, &Failed>, by_fallback: bool) -> Self {
        let outcome = answer.unwrap_or_else(|failed| Outcome::Failed(failed.failure, failed.detail.clone()));
        Self { outcome: Some(outcome), by_fallback, ..self }
    }
}
