//! Asks the authorizers of a generation about a request.

use std::sync::Arc;

use tokio::task::coop::consume_budget;
use witgate_plugin::{Call, Decision, Denial, TargetKind, UNREAD_ROLES};

use super::combine::{Combination, MissingScopes, not_allowed};
use crate::authenticate::identity::Caller;
use crate::reject::Rejection;
use crate::request::Request;
use crate::shadow;
use crate::stage_result::{FallbackUse, StageResult};
use crate::subject::CallSubject;
use witgate_message::call::{Access, Target};
use witgate_policy::generation::{Generation, NextPipeline, Pipeline};
use witgate_services::Scope;
use witgate_services::traces::Traces;

/// A request and its caller, for the policies of one generation.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) subject: Arc<CallSubject>,
    pub(super) caller: Arc<Caller>,
    pub(super) generation: Arc<Generation>,
    /// The traces of the caller's credentials, for recordings.
    pub(super) traces: Option<Arc<Traces>>,
}

impl Judge {
    pub(super) fn request(&self) -> &Arc<Request> {
        self.subject.proven.request()
    }

    /// Decides about all targets of the request.
    ///
    /// # Errors
    /// `Denied` or `Failed`; `NoCredential` if the caller has no credential and might be allowed with one.
    pub(super) async fn judge_request(&self) -> StageResult<()> {
        match self.request().call.access() {
            Access::Open => Ok(()).into(),
            Access::Target(target) => self.judge_target(target).await,
            Access::Targets(targets) => self.judge_targets(targets).await,
        }
    }

    /// Decides about all targets. One denial names the scopes that are missing for any of them.
    async fn judge_targets(&self, targets: &[Target]) -> StageResult<()> {
        let (mut lacking, mut fallback) = (MissingScopes::default(), FallbackUse::default());
        for target in targets {
            consume_budget().await;
            let judged = fallback.note(self.judge_target(target).await);
            if let Err(rejection) = lacking.note(judged) {
                return StageResult { result: Err(rejection), fallback };
            }
        }
        StageResult { result: lacking.conclude(), fallback }
    }

    async fn judge_target(&self, target: &Target) -> StageResult<()> {
        let scope = self.scope(false);
        let call = self.call(self.request().call.method(), target.kind, &target.name);
        let decided = decide(self.pipeline(), &self.subject, &scope, &call, &self.caller, true).await;
        let live = &decided.result;
        shadow::of_authorization(&self.generation, &self.subject, &scope, target, &self.caller, live);
        decided.map(|result| match result {
            // A caller without a credential gets the challenge for one, not the denial.
            Err(Rejection::Denied { .. }) if self.caller.is_anonymous() => Err(Rejection::NoCredential),
            Err(Rejection::Denied { policy, denial }) if !denial.scopes.is_empty() => {
                Err(Rejection::Denied { policy, denial: self.with_held_scopes(denial) })
            }
            result => result,
        })
    }

    /// The missing scopes, and those of the caller's scopes that the policies use. A client that asks only for the
    /// missing scopes would lose the others.
    fn with_held_scopes(&self, mut denial: Denial) -> Denial {
        let held = &self.caller.identity().scopes;
        let asked = self.pipeline().authorize.iter().flat_map(|policy| policy.scopes());
        denial.scopes.extend(asked.filter(|scope| held.contains(scope)).cloned());
        denial.scopes.sort_unstable();
        denial.scopes.dedup();
        denial
    }

    /// Decides whether the caller may subscribe to the resource `uri`.
    ///
    /// # Errors
    /// `Failed`.
    pub(super) async fn permits_subscription(&self, uri: &str) -> StageResult<bool> {
        let method = match self.request().call.method() {
            "subscriptions/listen" => "subscriptions/listen",
            _ => "resources/subscribe",
        };
        let (scope, call) = (self.scope(false), self.call(method, TargetKind::Resource, uri));
        let decided = decide(self.pipeline(), &self.subject, &scope, &call, &self.caller, true).await;
        decided.map(|result| match result {
            Ok(()) => Ok(true),
            Err(Rejection::Denied { .. }) => Ok(false),
            Err(failed) => Err(failed),
        })
    }

    pub(super) fn call<'a>(&self, method: &'a str, kind: TargetKind, target: &'a str) -> Call<'a> {
        Call { method, kind, target, transport: self.request().transport, listing: false }
    }

    pub(super) fn pipeline(&self) -> &Pipeline {
        self.generation.pipeline(self.request().route.pipeline)
    }

    pub(super) fn scope(&self, listing: bool) -> Scope {
        let subject = Arc::<CallSubject>::clone(&self.subject);
        Scope::new(subject, listing, self.traces.clone())
    }
}

/// The decision of a pipeline. The caller's roles have to be known, and no authorizer may deny or fail. With
/// `has_to_allow`, one has to allow. If another pipeline is held back, both pipelines have to allow.
async fn decide(
    pipeline: &Pipeline,
    subject: &CallSubject,
    scope: &Scope,
    call: &Call<'_>,
    caller: &Caller,
    has_to_allow: bool,
) -> StageResult<()> {
    let mut fallback = FallbackUse::default();
    let mut result = ask(pipeline, scope, call, caller, has_to_allow, &mut fallback).await;
    if let (Ok(()), Some(next)) = (&result, &pipeline.next) {
        // Boxed because it is rare, so that it does not enlarge the future of every call.
        result = match caller.by_next() {
            Some(by_next) => fallback.note(Box::pin(follow(next, subject, scope, call, by_next)).await),
            None => Err(not_allowed()),
        };
    }
    StageResult { result, fallback }
}

/// The decision of the pipeline that is held back, which knows the caller as `by_next`.
async fn follow(
    next: &NextPipeline,
    subject: &CallSubject,
    scope: &Scope,
    call: &Call<'_>,
    by_next: &Arc<Caller>,
) -> StageResult<()> {
    let (subject, scope) = seen_by_next(subject, scope, by_next);
    decide(&next.pipeline, &subject, &scope, call, by_next, next.has_all_authorizers).await
}

/// The view of a request for the pipeline that is held back, which knows the caller as `by_next`.
pub(super) fn seen_by_next(
    subject: &CallSubject,
    scope: &Scope,
    by_next: &Arc<Caller>,
) -> (CallSubject, Scope) {
    let subject = CallSubject { caller: Some(Arc::clone(by_next)), ..subject.clone() };
    let scope = Scope { subject: Arc::new(subject.clone()), ..scope.clone() };
    (subject, scope)
}

/// The combined answer of a pipeline's own authorizers.
async fn ask(
    pipeline: &Pipeline,
    scope: &Scope,
    call: &Call<'_>,
    caller: &Caller,
    has_to_allow: bool,
    fallback: &mut FallbackUse,
) -> Result<(), Rejection> {
    known(caller)?;
    let principal = caller.as_principal();
    let mut combination = Combination::default();
    for policy in &pipeline.authorize {
        let answered = policy.authorize(scope, call, &principal).await;
        let answer = match answered.map(|answered| fallback.note_answer(policy, answered)) {
            Ok(Decision::Unavailable(said)) => Err(policy.unavailable(said)),
            answer => answer,
        };
        if matches!(answer, Ok(Decision::Allow)) {
            scope.subject.note_allowed(policy.name(), None);
        }
        combination.add(policy.name(), answer)?;
    }
    combination.conclude(has_to_allow)
}

/// Denies a caller whose roles could not be read, because one of them may be a role that denies. The check is here, so
/// that no authorizer has to make it.
pub(super) fn known(caller: &Caller) -> Result<(), Rejection> {
    if !caller.identity().roles.iter().any(|role| role == UNREAD_ROLES) {
        return Ok(());
    }
    let detail = Some("the caller's roles could not be read; the log names the claim".to_owned());
    let denial = Denial { reason: "unread-roles".to_owned(), detail, ..Denial::default() };
    Err(Rejection::Denied { policy: None, denial })
}
