//! Request + caller → permit. The one function that decides calls and lists.

use std::sync::Arc;

use tokio::task::coop::consume_budget;
use witgate_plugin::{Call, Decision, Denial, TargetKind, UNREAD_ROLES};

use super::call::{self, Access, Target};
use super::dpop::Proven;
use super::identity::Caller;
use super::message::names;
use super::reject::Rejection;
use super::request::Request;
use super::shadow;
use super::subject::CallSubject;
use crate::generation::{Generation, Pipeline};
use crate::services::Scope;
use crate::services::traces::Traces;

/// Proof that a caller may make a call. Only [`authorize`] makes one.
#[derive(Debug)]
pub struct Permit {
    subject: Arc<CallSubject>,
    caller: Arc<Caller>,
    generation: Arc<Generation>,
    traces: Option<Arc<Traces>>,
}

impl Permit {
    /// The call.
    pub fn request(&self) -> &Arc<Request> {
        self.subject.proven.request()
    }

    /// The request, with the key that its sender has proven to hold.
    pub(super) fn proven(&self) -> &Proven {
        &self.subject.proven
    }

    /// The caller who holds the permit.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// The generation that decided.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Decides whether the caller may see `name` in a list, as [`authorize`] decides whether they may call it. Nobody sees
    /// what nobody can call, because the parse refuses such a name.
    ///
    /// # Errors
    /// `Failed`: a policy cannot say, so that a list without the entry would be as wrong as one with it.
    pub async fn sees(&self, kind: TargetKind, name: &str) -> Result<bool, Rejection> {
        match names::check(kind, name) {
            Ok(()) => self.may_name(kind, name).await,
            Err(_) => Ok(false),
        }
    }

    /// The same for a template of resources.
    ///
    /// # Errors
    /// As [`Permit::sees`].
    pub async fn sees_template(&self, template: &str) -> Result<bool, Rejection> {
        match names::check_template(template) {
            Ok(()) => self.may_name(TargetKind::Resource, template).await,
            Err(_) => Ok(false),
        }
    }

    async fn may_name(&self, kind: TargetKind, name: &str) -> Result<bool, Rejection> {
        // A list may be long, and policies may answer without a pause.
        consume_budget().await;
        let method = match kind {
            TargetKind::Tool => "tools/call",
            TargetKind::Resource => "resources/read",
            TargetKind::Prompt => "prompts/get",
            TargetKind::Method => name,
        };
        let scope = self.scope(true);
        let call = Call { method, kind, target: name, transport: self.request().transport, listing: true };
        match decide(self.pipeline(), &self.subject, &scope, &call, &self.caller, true).await {
            Ok(()) => Ok(true),
            Err(Rejection::Denied { .. }) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    fn pipeline(&self) -> &Pipeline {
        self.generation.pipeline(self.request().route.pipeline)
    }

    /// True if the caller may be notified about the resource `uri`: the same decision as for subscribing to
    /// it.
    ///
    /// # Errors
    /// As [`Permit::sees`].
    pub(super) async fn hears_of(&self, uri: &str) -> Result<bool, Rejection> {
        if names::check(TargetKind::Resource, uri).is_err() {
            return Ok(false);
        }
        let method = match self.request().call.method() {
            "subscriptions/listen" => "subscriptions/listen",
            _ => "resources/subscribe",
        };
        let (kind, transport) = (TargetKind::Resource, self.request().transport);
        let call = Call { method, kind, target: uri, transport, listing: false };
        match decide(self.pipeline(), &self.subject, &self.scope(false), &call, &self.caller, true).await {
            Ok(()) => Ok(true),
            Err(Rejection::Denied { .. }) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    /// Decides whether the caller may make `call` now, which has begun what this request is about.
    ///
    /// # Errors
    /// As [`authorize`].
    pub(super) async fn covers(&self, call: &call::Call) -> Result<(), Rejection> {
        let request = Arc::new(self.request().asking(call.clone()));
        let (generation, caller) = (Arc::clone(&self.generation), Arc::clone(&self.caller));
        let proven = self.proven().asking(Arc::clone(&request));
        let decided = authorize(generation, &proven, caller, self.traces.clone()).await;
        if let Some(policy) = request.stood_in.get() {
            // The record is of this request. One that it has already stays.
            let _ = self.request().stood_in.set(Arc::clone(policy));
        }
        decided.map(drop)
    }

    fn scope(&self, listing: bool) -> Scope {
        let subject = Arc::<CallSubject>::clone(&self.subject);
        Scope::new(subject, listing, self.traces.clone())
    }
}

/// Decides whether `caller` may make a request: every authorizer of the pipeline must allow. `traces` are of what the
/// caller has shown, for recordings.
///
/// # Errors
/// `Denied` or `Failed`; `NoCredential` where a credential would make the difference.
pub async fn authorize(
    generation: Arc<Generation>,
    proven: &Proven,
    caller: Arc<Caller>,
    traces: Option<Arc<Traces>>,
) -> Result<Permit, Rejection> {
    let subject = CallSubject::new(proven.clone(), Some(Arc::clone(&caller)));
    let permit = Permit { subject: Arc::new(subject), caller, generation, traces };
    match permit.request().call.access() {
        Access::Open => {}
        Access::Target(target) => permit.check(target).await?,
        Access::Targets(targets) => permit.check_all(targets).await?,
    }
    Ok(permit)
}

impl Permit {
    /// All of them. Scopes that are missing for several are told at once.
    async fn check_all(&self, targets: &[Target]) -> Result<(), Rejection> {
        let mut lacking = Lacking::default();
        for target in targets {
            consume_budget().await;
            lacking.note(self.check(target).await)?;
        }
        lacking.conclude()
    }

    async fn check(&self, target: &Target) -> Result<(), Rejection> {
        let call = Call {
            method: self.request().call.method(),
            kind: target.kind,
            target: &target.name,
            transport: self.request().transport,
            listing: false,
        };
        let scope = self.scope(false);
        let decided = decide(self.pipeline(), &self.subject, &scope, &call, &self.caller, true).await;
        shadow::of_authorization(&self.generation, &self.subject, &scope, target, &self.caller, &decided);
        match decided {
            // A caller without a credential is asked for one before being told about a denial.
            Err(Rejection::Denied { .. }) if self.caller.is_anonymous() => Err(Rejection::NoCredential),
            Err(Rejection::Denied { policy, denial }) if !denial.scopes.is_empty() => {
                Err(Rejection::Denied { policy, denial: self.with_held_scopes(denial) })
            }
            decided => decided,
        }
    }
}

impl Permit {
    /// The scopes that are missing, and those that the caller has and the policies ask for: a client that asks for the
    /// missing ones alone would lose the others.
    fn with_held_scopes(&self, mut denial: Denial) -> Denial {
        let held = &self.caller.identity().scopes;
        let asked = self.pipeline().authorize.iter().flat_map(|policy| policy.scopes());
        denial.scopes.extend(asked.filter(|scope| held.contains(scope)).cloned());
        denial.scopes.sort_unstable();
        denial.scopes.dedup();
        denial
    }
}

/// The decision of a pipeline: the caller's roles are known, none of its authorizers denies or fails, and, where one `has_to_allow`, one allows. Where
/// another pipeline waits to take over, both have to allow.
async fn decide(
    pipeline: &Pipeline,
    subject: &CallSubject,
    scope: &Scope,
    call: &Call<'_>,
    caller: &Caller,
    has_to_allow: bool,
) -> Result<(), Rejection> {
    known(caller)?;
    let principal = caller.as_principal();
    let (mut allowed, mut lacking) = (false, Lacking::default());
    for policy in &pipeline.authorize {
        match policy.authorize(scope, call, &principal).await? {
            Decision::Allow => allowed = true,
            Decision::Abstain => {}
            Decision::Deny(denial) => {
                lacking.note(Err(Rejection::Denied { policy: Some(Arc::clone(policy.name())), denial }))?;
            }
            Decision::Unavailable(u) => return Err(policy.unavailable(u).into()),
        }
    }
    lacking.conclude()?;
    if has_to_allow && !allowed {
        return Err(not_allowed());
    }
    let Some(next) = &pipeline.next else { return Ok(()) };
    let by_next = caller.by_next().ok_or_else(not_allowed)?;
    let subject = CallSubject { caller: Some(Arc::clone(by_next)), ..subject.clone() };
    let scope = Scope { subject: Arc::new(subject.clone()), ..scope.clone() };
    // Rare, so that it takes no room in the future of every call.
    Box::pin(decide(&next.pipeline, &subject, &scope, call, by_next, next.has_all_authorizers)).await
}

fn not_allowed() -> Rejection {
    let denial = Denial { reason: "not-allowed".to_owned(), ..Denial::default() };
    Rejection::Denied { policy: None, denial }
}

/// Denies a caller whose roles could not be read: one of them may be one that denies. It is said here, so that no
/// authorizer has to know.
fn known(caller: &Caller) -> Result<(), Rejection> {
    if !caller.identity().roles.iter().any(|role| role == UNREAD_ROLES) {
        return Ok(());
    }
    let detail = Some("the caller's roles could not be read; the log names the claim".to_owned());
    let denial = Denial { reason: "unread-roles".to_owned(), detail, ..Denial::default() };
    Err(Rejection::Denied { policy: None, denial })
}

/// A denial that only lacks scopes. All authorizers are asked before it is reported, so that one challenge
/// names every scope that is needed, and one more authorization is enough.
#[derive(Default)]
struct Lacking(Option<(Option<Arc<str>>, Denial)>);

impl Lacking {
    /// # Errors
    /// With whatever more scopes would not change.
    fn note(&mut self, outcome: Result<(), Rejection>) -> Result<(), Rejection> {
        match outcome {
            Err(Rejection::Denied { policy, denial }) if !denial.scopes.is_empty() => {
                match &mut self.0 {
                    None => self.0 = Some((policy, denial)),
                    Some((_, first)) => first.scopes.extend(denial.scopes),
                }
                Ok(())
            }
            other => other,
        }
    }

    fn conclude(self) -> Result<(), Rejection> {
        match self.0 {
            None => Ok(()),
            Some((policy, mut denial)) => {
                denial.scopes.sort_unstable();
                denial.scopes.dedup();
                Err(Rejection::Denied { policy, denial })
            }
        }
    }
}
