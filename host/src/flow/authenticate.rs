//! Credential → caller. Knows nothing of permissions.

use std::sync::Arc;

use witgate_plugin::{Call, Identity, Refusal, Verdict};

use super::call::Access;
use super::credential::Shown;
use super::identity::{ANONYMOUS, Caller, UNCHECKED};
use super::reject::Rejection;
use super::request::Request;
use super::shadow;
use crate::generation::{Generation, Pipeline};
use crate::policy::Policy;
use crate::services::Scope;

/// Establishes who makes `request`: the pipeline's authenticators in order. Each says who it is,
/// that it is none of its business, or that the credential is refused, which ends the matter.
///
/// # Errors
/// `NoCredential`, `Refused` or `Failed`.
pub async fn authenticate(
    generation: &Arc<Generation>,
    request: &Arc<Request>,
    shown: &Shown,
) -> Result<Arc<Caller>, Rejection> {
    let live = establish(generation, request, shown).await;
    shadow::of_authentication(generation, request, shown, &live);
    live
}

async fn establish(
    generation: &Generation,
    request: &Arc<Request>,
    shown: &Shown,
) -> Result<Arc<Caller>, Rejection> {
    let pipeline = generation.pipeline(request.route.pipeline);
    if pipeline.unchecked {
        return somebody(pipeline, UNCHECKED);
    }
    if shown.is_empty() {
        return somebody(pipeline, ANONYMOUS);
    }
    let scope = Scope { request: Arc::clone(request), caller: None, listing: false, heard: None };
    let call = request.as_call();
    for policy in &pipeline.authenticate {
        let Some(credential) = policy.pick(shown) else { continue };
        match policy.authenticate(&scope, &call, &credential).await? {
            Verdict::Identity(identity) => return caller(policy, identity),
            Verdict::NotMine => {}
            Verdict::Refused(Refusal { reason, detail }) => {
                return Err(Rejection::Refused { policy: Some(Arc::clone(policy.name())), reason, detail });
            }
            Verdict::Unavailable(u) => return Err(policy.unavailable(u)),
        }
    }
    Err(Rejection::Refused { policy: None, reason: "unrecognised".to_owned(), detail: None })
}

/// Who has not been asked, or had nothing to show.
fn somebody(pipeline: &Pipeline, proven_by: &str) -> Result<Arc<Caller>, Rejection> {
    let roles = pipeline.anonymous.clone().ok_or(Rejection::NoCredential)?;
    let identity = Identity { subject: ANONYMOUS.to_owned(), roles, ..Identity::default() };
    Ok(Arc::new(Caller::new(identity, proven_by.into())))
}

/// Whatever the policy says: who has ended is nobody any more.
fn caller(policy: &Policy, identity: Identity) -> Result<Arc<Caller>, Rejection> {
    if identity.expires_at.is_some_and(|end| end <= policy.now()) {
        return Err(Rejection::Refused {
            policy: Some(Arc::clone(policy.name())),
            reason: "expired".to_owned(),
            detail: Some("the identity has ended".to_owned()),
        });
    }
    Ok(Arc::new(Caller::new(identity, Arc::clone(policy.name()))))
}

impl Request {
    /// The call, as an authenticator sees it.
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
