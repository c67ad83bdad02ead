//! Explanations: what a generation decides about a message, and on what the decision rests. The stages are those of
//! [`Flow::handle`](crate::Flow::handle), in the same order. Those that change something are left out: no lockout counts,
//! no proof is used up, no limit is taken, and no upstream gets anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use witgate_config::pins::PinMode;
use witgate_message::call::Target;
use witgate_message::credential::Credentials;
use witgate_message::fault::MessageFault;
use witgate_plugin::{Identity, TargetKind, ToolAnnotations};
use witgate_policy::generation::Generation;
use witgate_services::subject::AnsweredHook;
use witgate_services::witness::Observation;

use crate::audit::{AuditOutcome, OutcomeCause, targets};
use crate::authenticate::authenticate;
use crate::authenticate::identity::Caller;
use crate::authorize::{EntryAccess, Permit, authorize};
use crate::credential_search;
use crate::decision::DecisionId;
use crate::definition_check::never_approved;
use crate::definitions::may_be_approved;
use crate::dpop::{Proofs, ProvenRequest};
use crate::limit;
use crate::receive::{Arrival, receive};
use crate::reject::Rejection;
use crate::request::{Request, Route};

/// The caller of a message that is explained.
#[derive(Clone, Debug)]
pub enum ExplainedCaller {
    /// The one to whom the credentials in the message belong.
    Shown,
    /// An assumed one, as if the policy had established this identity.
    Assumed {
        /// The identity.
        identity: Identity,
        /// The policy.
        proven_by: Arc<str>,
    },
}

/// The decision of a generation about a message, and what it rests on.
#[derive(Debug)]
pub struct Explanation {
    /// The outcome, as the audit would record it.
    pub outcome: AuditOutcome,
    /// The reason for a refusal.
    pub cause: Option<ExplainedCause>,
    /// The method of the message, if it could be read.
    pub method: Option<String>,
    /// The targets of the message.
    pub targets: Vec<Target>,
    /// The arguments of the message, as JSON text.
    pub arguments: Option<String>,
    /// The caller, if they are known.
    pub caller: Option<Arc<Caller>>,
    /// The stages, in order. The last one has refused, or all have passed.
    pub stages: Vec<ExplainedStage>,
    /// The limits that would count the message.
    pub limits: Vec<Arc<str>>,
    /// The approved annotations of the tool that is called, if no other tool can be called.
    pub annotations: Option<ToolAnnotations>,
}

/// The reason for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedCause {
    /// The policy that refused. None: no policy did, or none allowed.
    pub policy: Option<String>,
    /// The reason code.
    pub reason: String,
    /// A sentence.
    pub detail: Option<String>,
    /// The scopes that the policies require.
    pub scopes: Vec<String>,
}

/// A stage.
#[derive(Debug)]
pub struct ExplainedStage {
    /// Its name: `parse`, `authenticate`, `authorize`, or `definitions` if no approved definition allows the message.
    pub name: &'static str,
    /// True if it has passed the message on.
    pub has_passed: bool,
    /// The time that it took.
    pub took: Duration,
    /// The hooks that it has asked, in order.
    pub hooks: Vec<ExplainedHook>,
}

/// A hook, and what it has read.
#[derive(Debug)]
pub struct ExplainedHook {
    /// The hook and its answer.
    pub hook: AnsweredHook,
    /// Its host calls, if the generation is observed.
    pub observed: Observation,
}

impl Explanation {
    /// True if the message would go to the upstream, as far as policies decide.
    pub fn is_allowed(&self) -> bool {
        self.outcome == AuditOutcome::Allowed
    }
}

/// Explains what `generation` decides about a message. The traces of policies belong to one message at a time, so
/// callers explain one after the other.
pub async fn explain(
    generation: &Arc<Generation>,
    route: &Arc<Route>,
    arrival: Arrival,
    caller: ExplainedCaller,
) -> Explanation {
    let mut draft = ExplanationDraft::begin(generation, route);
    let result = draft.pass_stages(arrival, caller).await;
    draft.conclude(result.map(drop))
}

/// Decides for each of `names` whether a caller sees it in the list that `arrival` asks for.
///
/// # Errors
/// If the caller does not get the list.
pub async fn listed(
    generation: &Arc<Generation>,
    route: &Arc<Route>,
    (arrival, caller): (Arrival, ExplainedCaller),
    kind: TargetKind,
    names: &[&str],
) -> Result<Vec<EntryAccess>, ExplainedCause> {
    let mut draft = ExplanationDraft::begin(generation, route);
    let seen = match draft.pass_stages(arrival, caller).await {
        Ok(permit) => permit.sees(kind, names).await.result,
        Err(rejection) => Err(rejection),
    };
    let mut seen = seen.map_err(|rejection| ExplainedCause::of(&rejection))?;
    let pins = generation.pipeline(route.pipeline).pins().filter(|pins| pins.mode == PinMode::Hold);
    for (name, access) in names.iter().zip(&mut seen) {
        if pins.is_some_and(|pins| !may_be_approved(&pins.approved, kind, name)) {
            *access = EntryAccess::None;
        }
    }
    Ok(seen)
}

/// An explanation that is being made.
struct ExplanationDraft<'g> {
    generation: &'g Arc<Generation>,
    route: &'g Arc<Route>,
    request: Option<Arc<Request>>,
    caller: Option<Arc<Caller>>,
    stages: Vec<ExplainedStage>,
    limits: Vec<Arc<str>>,
    began: Instant,
}

impl<'g> ExplanationDraft<'g> {
    fn begin(generation: &'g Arc<Generation>, route: &'g Arc<Route>) -> Self {
        generation.policies().for_each(|policy| policy.begin_question());
        let (request, caller, stages, limits) = Default::default();
        Self { generation, route, request, caller, stages, limits, began: Instant::now() }
    }

    /// The order of the stages.
    async fn pass_stages(&mut self, arrival: Arrival, caller: ExplainedCaller) -> Result<Permit, Rejection> {
        let received = receive(arrival, DecisionId::default(), (self.generation, None), self.route).await;
        let (request, shown, _) = self.end("parse", received.map_err(Rejection::from))?;
        request.hooks.get_or_init(Arc::default);
        self.request = Some(Arc::clone(&request));
        let known = self.establish(&request, &shown, caller).await;
        let (proven, caller) = self.end("authenticate", known)?;
        let authorized = authorize(Arc::clone(self.generation), &proven, caller, None).await;
        let permit = self.end("authorize", authorized.result)?;
        let pipeline = self.generation.pipeline(self.route.pipeline);
        if let Some(withheld) = never_approved(pipeline, &self.route.upstream, &request.call) {
            return self.end("definitions", Err(withheld));
        }
        self.limits = limit::counting(&permit)?;
        Ok(permit)
    }

    /// Proof of possession → authenticate, or the assumed caller.
    async fn establish(
        &mut self,
        request: &Arc<Request>,
        shown: &Credentials,
        caller: ExplainedCaller,
    ) -> Result<(ProvenRequest, Arc<Caller>), Rejection> {
        let proven = Proofs::default().prove(self.generation, request, shown)?;
        let caller = match caller {
            ExplainedCaller::Shown => authenticate(self.generation, &proven, shown).await.result?,
            ExplainedCaller::Assumed { identity, proven_by } => {
                Arc::new(Caller::assumed(identity, proven_by))
            }
        };
        self.caller = Some(Arc::clone(&caller));
        if credential_search::finds_one(self.generation, request, shown).await {
            return Err(MessageFault::CredentialInArguments.into());
        }
        Ok((proven, caller))
    }

    /// Notes the end of a stage, and returns its result.
    fn end<T>(&mut self, name: &'static str, result: Result<T, Rejection>) -> Result<T, Rejection> {
        let took = self.began.elapsed();
        let hooks = self.request.as_ref().and_then(|request| request.hooks.get()).map(|hooks| hooks.take());
        let hooks = hooks.into_iter().flatten().map(|hook| self.explained(hook)).collect();
        self.stages.push(ExplainedStage { name, has_passed: result.is_ok(), took, hooks });
        self.began = Instant::now();
        result
    }

    fn explained(&self, hook: AnsweredHook) -> ExplainedHook {
        let policy = self.generation.policy(&hook.policy);
        let observed = policy.and_then(|policy| policy.observed()).unwrap_or_default();
        ExplainedHook { hook, observed }
    }

    fn annotations(&self) -> Option<ToolAnnotations> {
        let call = &self.request.as_ref()?.call;
        let target = targets(call.access()).first().filter(|target| target.kind == TargetKind::Tool)?;
        let pins = self.generation.pipeline(self.route.pipeline).pins();
        pins.filter(|pins| pins.mode == PinMode::Hold)?.approved.annotations(&target.name)
    }

    fn conclude(self, result: Result<(), Rejection>) -> Explanation {
        let annotations = self.annotations();
        let Self { request, caller, stages, limits, .. } = self;
        let call = request.as_ref().map(|request| &request.call);
        Explanation {
            outcome: result.as_ref().err().map_or(AuditOutcome::Allowed, AuditOutcome::of),
            cause: result.as_ref().err().map(ExplainedCause::of),
            method: call.map(|call| call.method().to_owned()),
            targets: call.map(|call| targets(call.access()).to_vec()).unwrap_or_default(),
            arguments: call.and_then(|call| call.arguments()).map(str::to_owned),
            caller,
            stages,
            limits,
            annotations,
        }
    }
}

impl ExplainedCause {
    /// The cause of a refusal, by a gateway that decides as well as in an explanation.
    pub fn of(rejection: &Rejection) -> Self {
        let cause = OutcomeCause::of(rejection);
        let scopes = match rejection {
            Rejection::Denied { denial, .. } => denial.scopes.clone(),
            _ => Vec::new(),
        };
        Self {
            policy: cause.policy.map(str::to_owned),
            reason: cause.reason.unwrap_or_default().to_owned(),
            detail: cause.detail.map(str::to_owned),
            scopes,
        }
    }
}
