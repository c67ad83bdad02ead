//! One hook of a live policy: the question, the results of its host calls, and the answer. Little is copied while the
//! caller waits; the rest is shared with the request.

use std::sync::Arc;

use secrecy::SecretString;
use witgate_plugin::{Call, Credential, Scheme, TargetKind};

use crate::answer::{Failed, Outcome};
use witgate_services::Scope;
use witgate_services::host_calls::HostCallLog;

/// One hook.
#[derive(Debug)]
pub struct RecordedHook {
    /// The start of the hook, in seconds since the Unix epoch.
    pub now: u64,
    /// The method of the call.
    pub method: String,
    /// The kind of the call's target.
    pub kind: TargetKind,
    /// The name of the call's target.
    pub target: String,
    /// The credential. None: the question is for the authorizer.
    pub credential: Option<(Scheme, SecretString)>,
    /// The results of the host calls.
    pub call_log: Arc<HostCallLog>,
    /// The answer. None: the hook is not finished.
    pub outcome: Option<Outcome>,
    /// True if the component failed, and the fallback has decided.
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

    /// The scope of the hook, in which host calls are recorded.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The same hook with its answer. `by_fallback`: the fallback gave it in place of the component.
    pub fn answered(self, answer: Result<Outcome, &Failed>, by_fallback: bool) -> Self {
        let outcome = answer.unwrap_or_else(|failed| Outcome::Failed(failed.failure, failed.detail.clone()));
        Self { outcome: Some(outcome), by_fallback, ..self }
    }
}
