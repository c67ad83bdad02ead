//! The flows of a gateway: one for each upstream.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::error::ServeError;
use crate::control::limits;
use crate::operation::OperationLog;
use crate::routes::route;
use witgate_config::{Config, Upstream, UpstreamTarget};
use witgate_credentials::connect::ConnectDesk;
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::Flow;
use witgate_flow::audit::{Audit, DecisionFeed};
use witgate_flow::definitions::DefinitionWatches;
use witgate_flow::dpop::Proofs;
use witgate_flow::lockout::LockoutTable;
use witgate_flow::port::Upstream as Port;
use witgate_flow::request::Route;
use witgate_flow::traces::LiveTracer;
use witgate_policy::generation::Generations;
use witgate_runtime::log::Logs;
use witgate_runtime::memory::AnswerMemory;
use witgate_runtime::metrics::Metrics;
use witgate_server::http::ServedUpstream;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::caller_tools::CallerTools;
use witgate_upstream::child::program;
use witgate_upstream::own_tools::{AuthStatus, AuthStatusReader, LimitReader, OwnTools};

/// An upstream of any kind that is served.
pub(super) type AnyServed = ServedUpstream<AnyUpstream>;

/// Makes flows, at the start and after changes. They share its parts.
pub(super) struct FlowMaker {
    pub(super) generations: Arc<Generations>,
    pub(super) metrics: Arc<Metrics>,
    /// Ends the streams of all flows.
    pub(super) stop: CancellationToken,
    /// The directory for the eras of commands, if there is one.
    pub(super) kept: Option<PathBuf>,
    pub(super) logs: Arc<Logs>,
    pub(super) log: OperationLog,
    pub(super) feed: Arc<DecisionFeed>,
    pub(super) credentials: Arc<OutboundCredentials>,
    pub(super) lockout: Arc<LockoutTable>,
    pub(super) callers: Arc<dyn CallerTools>,
    pub(super) proofs: Arc<Proofs>,
    pub(super) answers: Arc<AnswerMemory>,
    pub(super) tracer: Arc<LiveTracer>,
    pub(super) connect: Option<Arc<ConnectDesk>>,
    /// The definitions that upstreams show.
    pub(super) definitions: Arc<DefinitionWatches>,
}

impl FlowMaker {
    /// The upstreams of a configuration that is served first: each is at its place in it.
    pub(super) fn first(&self, config: &Config) -> Result<Vec<AnyServed>, ServeError> {
        let upstreams = config.upstreams.iter().enumerate();
        upstreams.map(|(place, upstream)| self.make(config, place, upstream)).collect()
    }

    /// An upstream of `config`, whose pipeline is at `place`. Nothing is started or connected yet.
    pub(super) fn make(
        &self,
        config: &Config,
        place: usize,
        upstream: &Upstream,
    ) -> Result<AnyServed, ServeError> {
        check_command(upstream)?;
        let route = route(config, place, upstream);
        let own = OwnTools::reading(auth_status(&self.generations, place))
            .with_limits(caller_limits(&self.generations, &route.upstream))
            .with_callers(Some(Arc::clone(&self.callers)));
        let (grace, kept) = (config.server.shutdown_grace, self.kept.as_deref());
        let target = AnyUpstream::new(upstream, grace, own, kept, &self.credentials)
            .map_err(|error| ServeError::Upstream { upstream: upstream.name.clone(), error })?;
        target.count_in(&self.metrics, &upstream.name);
        Ok(ServedUpstream::new(upstream, Arc::new(self.flow(config, route, target, &self.stop))))
    }

    /// A flow with the shared parts. `stop` ends its streams.
    pub(super) fn flow<U: Port>(
        &self,
        config: &Config,
        route: Route,
        target: U,
        stop: &CancellationToken,
    ) -> Flow<U> {
        let (lines, form) = self.logs.audit();
        let audit = Audit::lines(lines, form, config.server.audit_overflow).with_log(self.log.entries());
        let (generations, stop) = (Arc::clone(&self.generations), stop.child_token());
        let flow = Flow::new(Arc::new(route), target, generations, &self.metrics, stop)
            .with_proofs(Arc::clone(&self.proofs))
            .with_lockout(Arc::clone(&self.lockout))
            .with_answers(Arc::clone(&self.answers))
            .with_audit(audit.with_feed(Arc::clone(&self.feed)))
            .with_tracer(Arc::clone(&self.tracer))
            .with_connect(self.connect.clone());
        self.definitions.add(flow.definitions());
        flow
    }
}

/// Finds a missing program before the first call.
pub(super) fn check_command(upstream: &Upstream) -> Result<(), ServeError> {
    let UpstreamTarget::Command { argv, .. } = &upstream.target else { return Ok(()) };
    program::check(argv).map_err(|message| ServeError::Command { upstream: upstream.name.clone(), message })
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
