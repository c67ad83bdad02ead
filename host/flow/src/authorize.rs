//! The stage authorize: Request + Caller → Permit. One function decides about calls and lists.

pub mod combine;
mod entries;
mod judge;

use std::sync::Arc;

use witgate_plugin::TargetKind;

use super::dpop::ProvenRequest;
use super::request::Request;
use super::stage_result::StageResult;
use super::subject::{Allowance, CallSubject};
use crate::authenticate::identity::Caller;
pub use entries::EntryAccess;
use judge::Judge;
use witgate_message::call::Call;
use witgate_message::names;
use witgate_policy::generation::Generation;
use witgate_services::traces::Traces;

/// Decides whether `caller` may make a request: every authorizer of the pipeline has to allow it. `traces` are those
/// of the caller's credentials, for recordings.
///
/// # Errors
/// `Denied` or `Failed`; `NoCredential` if the caller has no credential and might be allowed with one.
pub async fn authorize(
    generation: Arc<Generation>,
    proven: &ProvenRequest,
    caller: Arc<Caller>,
    traces: Option<Arc<Traces>>,
) -> StageResult<Permit> {
    let pins = generation.pipeline(proven.request().route.pipeline).pins();
    let subject = CallSubject::new(proven.clone(), Some(Arc::clone(&caller))).with_pins(pins);
    let judge = Judge { subject: Arc::new(subject), caller, generation, traces };
    judge.judge_request().await.map(|judged| judged.map(|()| Permit { judge }))
}

/// Proof that a caller may make a call. Only [`authorize`] makes one, after it has asked every authorizer.
#[derive(Debug)]
pub struct Permit {
    judge: Judge,
}

impl Permit {
    /// The call.
    pub fn request(&self) -> &Arc<Request> {
        self.judge.request()
    }

    /// The request, with the key that its sender has proven to have.
    pub(super) fn proven(&self) -> &ProvenRequest {
        &self.judge.subject.proven
    }

    /// The caller who holds the permit.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.judge.caller
    }

    /// The policy that has allowed the call, and its rule. None: the method is open, or there is no audit log.
    pub(super) fn allowance(&self) -> Option<&Allowance> {
        self.judge.subject.allowance.get()
    }

    /// The generation that decided.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.judge.generation
    }

    /// True if callers can show a credential in an argument of a call. They open sessions without one.
    pub fn has_credential_arguments(&self) -> bool {
        let pipeline = self.generation().pipeline(self.request().route.pipeline);
        pipeline.credential_arguments().next().is_some()
    }

    /// Decides for each of `names` whether the caller may see it in a list, exactly as [`authorize`] decides whether
    /// they may call it. Callers without a credential also see tools that they may be allowed to call with one.
    ///
    /// # Errors
    /// `Failed`: a policy could not decide, so the list would be wrong both with and without the entry.
    pub(super) async fn sees(&self, kind: TargetKind, names: &[&str]) -> StageResult<Vec<EntryAccess>> {
        self.judge.permits_entries(kind, names).await
    }

    /// True if the caller may get notifications about the resource `uri`. The decision is the same as for subscribing
    /// to it.
    ///
    /// # Errors
    /// `Failed`.
    pub(super) async fn hears_of(&self, uri: &str) -> StageResult<bool> {
        match names::check(TargetKind::Resource, uri) {
            Ok(()) => self.judge.permits_subscription(uri).await,
            Err(_) => Ok(false).into(),
        }
    }

    /// Decides whether the caller may now make `call`, which has started the task of this request.
    ///
    /// # Errors
    /// As [`authorize`].
    pub(super) async fn covers(&self, call: &Call) -> StageResult<()> {
        let Judge { caller, generation, traces, .. } = &self.judge;
        let request = Arc::new(self.request().asking(call.clone()));
        let proven = self.proven().asking(request);
        let decided = authorize(Arc::clone(generation), &proven, Arc::clone(caller), traces.clone()).await;
        decided.map(|permit| permit.map(drop))
    }
}
