//! The flows of a gateway: one for each upstream.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::error::ServeError;
use crate::control::limits;
use crate::operation::OperationLog;
use crate::routes::route;
use witgate_base::clock::Clock;
use witgate_config::{AuditOverflow, AuditWrite, Config};
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::Flow;
use witgate_flow::audit::{Audit, DecisionFeed};
use witgate_flow::dpop::Proofs;
use witgate_flow::lockout::LockoutTable;
use witgate_flow::port::Upstream;
use witgate_policy::generation::Generations;
use witgate_runtime::log::Logs;
use witgate_runtime::memory::AnswerMemory;
use witgate_runtime::metrics::Metrics;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::caller_tools::CallerTools;
use witgate_upstream::own_tools::{AuthStatus, AuthStatusReader, LimitReader, OwnTools};

/// The flow of an upstream of any kind.
pub(super) type AnyFlow = Flow<AnyUpstream>;

/// The parts that all flows share.
pub(super) struct SharedParts<'a> {
    logs: (&'a Logs, &'a OperationLog, &'a Arc<DecisionFeed>),
    overflow: AuditOverflow,
    proofs: Arc<Proofs>,
    lockout: &'a Arc<LockoutTable>,
    answers: Arc<AnswerMemory>,
}

impl<'a> SharedParts<'a> {
    pub(super) fn new(
        config: &Config,
        logs: (&'a Logs, &'a OperationLog, &'a Arc<DecisionFeed>),
        lockout: &'a Arc<LockoutTable>,
        metrics: &Metrics,
    ) -> Result<Self, ServeError> {
        logs.0.audit().0.set_batched(config.server.audit_write == AuditWrite::Batched);
        let proofs = Arc::new(Proofs::new(config.server.dpop_nonces, Clock::System)?);
        let answers = AnswerMemory::new(config.server.answer_memory);
        answers.register_answers(metrics);
        Ok(Self { logs, overflow: config.server.audit_overflow, proofs, lockout, answers })
    }

    /// The flow with these parts.
    pub(super) fn around<U: Upstream>(&self, flow: Flow<U>) -> Flow<U> {
        let (logs, log, feed) = self.logs;
        let (lines, form) = logs.audit();
        let audit = Audit::lines(lines, form, self.overflow).with_log(log.entries());
        let audit = audit.with_feed(Arc::clone(feed));
        let flow = flow.with_proofs(Arc::clone(&self.proofs)).with_lockout(Arc::clone(self.lockout));
        flow.with_answers(Arc::clone(&self.answers)).with_audit(audit)
    }
}

pub(super) fn flows(
    config: &Config,
    generations: &Arc<Generations>,
    metrics: &Metrics,
    stop: &CancellationToken,
    kept: Option<&Path>,
    (shared, credentials, callers): (&SharedParts<'_>, &OutboundCredentials, &Arc<dyn CallerTools>),
) -> Result<Vec<AnyFlow>, ServeError> {
    let grace = config.server.shutdown_grace;
    let flow = |(place, upstream): (usize, &witgate_config::Upstream)| {
        let route = route(config, place, upstream);
        let own = OwnTools::reading(auth_status(generations, place))
            .with_limits(caller_limits(generations, &route.upstream))
            .with_callers(Some(Arc::clone(callers)));
        let target = AnyUpstream::new(upstream, grace, own, kept, credentials)
            .map_err(|error| ServeError::Upstream { upstream: upstream.name.clone(), error })?;
        target.count_in(metrics, &upstream.name);
        let flow = Flow::new(Arc::new(route), target, Arc::clone(generations), metrics, stop.clone());
        Ok(shared.around(flow))
    };
    config.upstreams.iter().enumerate().map(flow).collect()
}

/// The limits of the callers of `upstream`, for its own tools.
fn caller_limits(generations: &Arc<Generations>, upstream: &Arc<str>) -> LimitReader {
    let (generations, upstream) = (Arc::clone(generations), Arc::clone(upstream));
    Arc::new(move |caller| limits::of_caller(&generations, &upstream, caller))
}

/// The authentication at the upstream at `place`, for its own tools.
fn auth_status(generations: &Arc<Generations>, place: usize) -> AuthStatusReader {
    let generations = Arc::clone(generations);
    Arc::new(move || {
        let live = generations.live();
        let pipeline = live.pipeline(place);
        AuthStatus {
            enabled: pipeline.anonymous.is_none() && !pipeline.unchecked,
            key_configured: pipeline.authenticate.iter().any(|policy| policy.authenticates()),
        }
    })
}
