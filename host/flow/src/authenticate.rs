//! The stage authenticate: Credential → Caller. It knows nothing about permissions.

pub mod identity;

use std::sync::Arc;

use witgate_plugin::{Call, Identity, Refusal, Scheme, Verdict};

use super::credential_choice;
use super::dpop::ProvenRequest;
use super::reject::Rejection;
use super::request::Request;
use super::shadow;
use super::stage_result::{FallbackUse, StageResult};
use super::subject::CallSubject;
use identity::Caller;
use witgate_base::party::{ANONYMOUS, UNCHECKED};
use witgate_component::failure::Failure;
use witgate_config::PolicyKind;
use witgate_config::key_store::diagnosis;
use witgate_message::call::Access;
use witgate_message::credential::Credentials;
use witgate_policy::Policy;
use witgate_policy::answer::Failed;
use witgate_policy::generation::{ClosedPipeline, Generation, Pipeline};
use witgate_services::Scope;

/// The reason code of `api-key` for a text that is no key.
const UNKNOWN_KEY: &str = "unknown-key";

/// Establishes who makes a request. It asks the pipeline's authenticators in order. Each returns the identity, or that
/// it does not judge this credential, or that the credential is refused, which is final. If another pipeline is held
/// back, its authenticators have to know the caller as well.
///
/// # Errors
/// `NoCredential`, `Refused` or `Failed`.
pub async fn authenticate(
    generation: &Arc<Generation>,
    proven: &ProvenRequest,
    shown: &Credentials,
) -> StageResult<Arc<Caller>> {
    let pipeline = generation.pipeline(proven.request().route.pipeline);
    let mut fallback = FallbackUse::default();
    let mut caller = establish(pipeline, proven, shown, &mut fallback).await;
    if let (Ok(_), Some(next)) = (&caller, &pipeline.next) {
        // Boxed because it is rare, so that it does not enlarge the future of every call.
        let by_next = Box::pin(establish(&next.pipeline, proven, shown, &mut fallback)).await;
        caller = caller.and_then(|caller| Ok(caller.also_known_as(by_next?)));
    }
    let result = caller.map(Arc::new);
    shadow::of_authentication(generation, proven, shown, &result);
    StageResult { result, fallback }
}

/// The caller whom the pipeline knows by this credential, for a token that is not in use yet. Nothing is recorded.
///
/// # Errors
/// As [`authenticate`].
pub(super) async fn known_by(
    pipeline: &Pipeline,
    proven: &ProvenRequest,
    shown: &Credentials,
) -> Result<Caller, Rejection> {
    establish(pipeline, proven, shown, &mut FallbackUse::default()).await
}

async fn establish(
    pipeline: &Pipeline,
    proven: &ProvenRequest,
    shown: &Credentials,
    fallback: &mut FallbackUse,
) -> Result<Caller, Rejection> {
    if let Some(closed) = &pipeline.closed {
        return Err(rejection(closed));
    }
    if pipeline.unchecked {
        return somebody(pipeline, UNCHECKED);
    }
    if shown.is_empty() {
        return somebody(pipeline, ANONYMOUS);
    }
    let subject = CallSubject::new(proven.clone(), None);
    let scope =
        Scope::new(Arc::new(subject), false, credential_choice::traces(shown, pipeline.is_recorded()));
    let call = proven.request().as_call();
    for policy in &pipeline.authenticate {
        let Some(credential) = credential_choice::for_policy(shown, policy) else { continue };
        let answered = policy.authenticate(&scope, &call, &credential).await?;
        match fallback.note_answer(policy, answered) {
            Verdict::Identity(identity) => {
                return Ok(caller(policy, identity)?.known_by(credential.scheme));
            }
            Verdict::NotMine => {}
            Verdict::Refused(Refusal { reason, detail }) => {
                // A jwt policy has the same reason code, for a key that a token names.
                let is_key = policy.kind() == PolicyKind::ApiKey && reason == UNKNOWN_KEY;
                if is_key && matches!(credential.scheme, Scheme::Header | Scheme::Bearer) {
                    let shape = || diagnosis::shape(credential.value);
                    tracing::debug!(policy = %policy.name(), reason, shape = shape(), "a credential was refused");
                }
                return Err(Rejection::Refused { policy: Some(Arc::clone(policy.name())), reason, detail });
            }
            Verdict::Unavailable(u) => return Err(policy.unavailable(u).into()),
        }
    }
    Err(Rejection::Refused { policy: None, reason: "unrecognised".to_owned(), detail: None })
}

/// The anonymous caller, if the pipeline permits one.
fn somebody(pipeline: &Pipeline, proven_by: &str) -> Result<Caller, Rejection> {
    let roles = pipeline.anonymous.clone().ok_or(Rejection::NoCredential)?;
    let identity = Identity { subject: ANONYMOUS.to_owned(), roles, ..Identity::default() };
    Ok(Caller::new(identity, proven_by.into()))
}

/// The caller with this identity, unless it has expired. Policies cannot change that.
fn caller(policy: &Policy, identity: Identity) -> Result<Caller, Rejection> {
    if identity.expires_at.is_some_and(|end| end <= policy.now()) {
        return Err(Rejection::Refused {
            policy: Some(Arc::clone(policy.name())),
            reason: "expired".to_owned(),
            detail: Some("the identity has expired".to_owned()),
        });
    }
    Ok(Caller::new(identity, Arc::clone(policy.name())))
}

fn rejection(closed: &ClosedPipeline) -> Rejection {
    Rejection::Failed(Failed {
        policy: Arc::clone(&closed.name),
        failure: Failure::Config,
        detail: closed.reason.clone(),
        retry_after: None,
    })
}

impl Request {
    /// The call, for an authenticator.
    pub(super) fn as_call(&self) -> Call<'_> {
        let method = self.call.method();
        let (kind, target) = match self.call.access() {
            Access::Target(target) => (target.kind, &*target.name),
            Access::Targets(targets) => match targets.first() {
                Some(first) => (first.kind, &*first.name),
                None => (witgate_plugin::TargetKind::Method, method),
            },
            Access::Open => (witgate_plugin::TargetKind::Method, method),
        };
        Call { method, kind, target, transport: self.transport, listing: false }
    }
}
