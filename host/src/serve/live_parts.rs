//! The parts of a running gateway that follow its configuration: upstreams, the listener with its limits, and traces.

use std::collections::BTreeMap;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::combined_endpoints::RunningEndpoint;
use super::error::ServeError;
use super::flows::{AnyServed, FlowMaker};
use super::listeners;
use crate::control::protocol::EndpointSummary;
use crate::reload::gateway_parts::{Flip, GatewayParts, PreparedParts};
use crate::traces::{self, TraceExport};
use witgate_config::{AuditWrite, Config, Server, Telemetry, Upstream};
use witgate_flow::traces::{LiveTracer, Tracer};
use witgate_policy::generation::{Generation, Pipeline};
use witgate_runtime::log::Logs;
use witgate_runtime::metrics::Metrics;
use witgate_server::connections::descriptors;
use witgate_server::http::{Gateway, ServedEndpoint};
use witgate_server::tls::{PreparedTls, TlsState};
use witgate_services::network::Ways;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::renewal::Renewable;

/// The parts of a running gateway.
pub(super) struct LiveParts {
    maker: FlowMaker,
    /// The upstreams by the places of their pipelines.
    running: Mutex<BTreeMap<usize, RunningUpstream>>,
    /// The endpoints with several upstreams.
    endpoints: Mutex<Vec<RunningEndpoint>>,
    /// The same, for operators.
    summaries: Arc<Mutex<Vec<EndpointSummary>>>,
    /// The listener for clients. None: over stdio.
    listener: Option<LiveListener>,
    telemetry: LiveTelemetry,
    logs: Arc<Logs>,
}

/// The listener for clients.
pub(super) struct LiveListener {
    pub(super) gateway: Arc<Gateway<AnyUpstream>>,
    /// Takes the sockets that replace the one that is listened at.
    pub(super) moves: mpsc::Sender<TcpListener>,
    pub(super) address: Mutex<SocketAddr>,
    pub(super) tls: Option<Arc<TlsState>>,
}

/// An upstream that is served.
struct RunningUpstream {
    served: AnyServed,
    /// None: a reload can change nothing of it.
    renewable: Option<Arc<Renewable>>,
}

/// The traces, and what sends them.
pub(super) struct LiveTelemetry {
    pub(super) ways: Arc<Ways>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tracer: Arc<LiveTracer>,
    /// The settings in use.
    pub(super) settings: Mutex<Option<Telemetry>>,
    /// The tasks that send traces, and the end of all.
    pub(super) tasks: (TaskTracker, CancellationToken),
}

impl LiveParts {
    /// The parts that serve `config`.
    pub(super) fn new(
        (maker, logs, summaries): (FlowMaker, Arc<Logs>, Arc<Mutex<Vec<EndpointSummary>>>),
        (config, served, endpoints): (&Config, &[AnyServed], &[RunningEndpoint]),
        listener: Option<LiveListener>,
        telemetry: LiveTelemetry,
    ) -> Self {
        let upstreams = config.upstreams.iter().zip(served).enumerate();
        let running =
            upstreams.map(|(place, (upstream, served))| (place, maker.running(upstream, served.clone())));
        let running = Mutex::new(running.collect());
        *summaries.lock() = RunningEndpoint::summaries(endpoints);
        let endpoints = Mutex::new(endpoints.to_vec());
        Self { maker, running, endpoints, summaries, listener, telemetry, logs }
    }

    /// The upstreams that `next` serves and that do not run yet.
    fn added(
        &self,
        config: &Config,
        next: &Generation,
    ) -> Result<BTreeMap<usize, RunningUpstream>, Vec<String>> {
        let running = self.running.lock();
        let (mut added, mut problems) = (BTreeMap::new(), Vec::new());
        for (place, pipeline) in next.pipelines().iter().enumerate() {
            if pipeline.is_retired() || running.contains_key(&place) {
                continue;
            }
            let described = |upstream: &&Upstream| pipeline.serves(upstream, config);
            let Some(upstream) = config.upstreams.iter().find(described) else { continue };
            if self.listener.is_none() {
                let name = &upstream.name;
                problems.push(format!(
                    "needs a restart: another upstream (`upstreams.{name}`), because over stdio the session of the \
                     client ends with it"
                ));
                continue;
            }
            match self.maker.make(config, place, upstream) {
                Ok(served) => drop(added.insert(place, self.maker.running(upstream, served))),
                Err(error) => problems.push(error.to_string()),
            }
        }
        if problems.is_empty() { Ok(added) } else { Err(problems) }
    }

    /// The endpoints with several upstreams that are served with `next`, of the upstreams that run and of those in
    /// `added`.
    fn next_endpoints(
        &self,
        config: &Config,
        next: &Generation,
        added: &BTreeMap<usize, RunningUpstream>,
    ) -> Result<Vec<RunningEndpoint>, Vec<String>> {
        let (running, former) = (self.running.lock(), self.endpoints.lock());
        let of_name = |name: &str| {
            let is_it = |pipeline: &Pipeline| !pipeline.is_retired() && *pipeline.upstream == *name;
            let place = next.pipelines().iter().position(is_it)?;
            let upstream = running.get(&place).or_else(|| added.get(&place))?;
            Some((place, &upstream.served))
        };
        let endpoints = self.maker.endpoints(config, &former, of_name);
        let stays = |endpoint: &RunningEndpoint| endpoints.iter().any(|next| next.is(endpoint));
        let are_same = endpoints.len() == former.len() && former.iter().all(stays);
        if self.listener.is_none() && !are_same {
            return Err(vec![
                "needs a restart: a change in [endpoints], because over stdio the session of the client ends with it"
                    .to_owned(),
            ]);
        }
        Ok(endpoints)
    }
}

/// All endpoints of the gateway: those of each upstream alone, and those with several.
pub(super) fn served_endpoints<'a>(
    upstreams: impl IntoIterator<Item = &'a AnyServed>,
    endpoints: &[RunningEndpoint],
) -> Vec<ServedEndpoint<AnyUpstream>> {
    let alone = upstreams.into_iter().map(|upstream| upstream.clone().into());
    alone.chain(endpoints.iter().map(RunningEndpoint::served)).collect()
}

impl FlowMaker {
    fn running(&self, upstream: &Upstream, served: AnyServed) -> RunningUpstream {
        let renewable = Renewable::of(served.flow.upstream(), upstream, &self.credentials);
        RunningUpstream { served, renewable: renewable.map(Arc::new) }
    }
}

impl GatewayParts for LiveParts {
    fn prepare(
        self: Arc<Self>,
        config: &Config,
        next: &Generation,
    ) -> Result<Box<dyn PreparedParts>, Vec<String>> {
        let added = self.added(config, next);
        let endpoints = added.as_ref().ok().map(|added| self.next_endpoints(config, next, added)).transpose();
        let listener = self.listener.as_ref().map(|listener| listener.prepare(&config.server)).transpose();
        let telemetry = self.telemetry.prepare(config.telemetry.as_ref());
        let problem = |error: &ServeError| error.to_string();
        let problems: Vec<_> = added.as_ref().err().into_iter().flatten().cloned().collect();
        let problems = problems.into_iter().chain(endpoints.as_ref().err().into_iter().flatten().cloned());
        let problems = problems.chain(listener.as_ref().err().map(problem));
        let problems: Vec<_> = problems.chain(telemetry.as_ref().err().map(problem)).collect();
        let parts = (added, endpoints, listener, telemetry);
        let (Ok(added), Ok(Some(endpoints)), Ok(listener), Ok(telemetry)) = parts else {
            return Err(problems);
        };
        let max_connections = descriptors::possible_connections(config);
        let server = Server { max_connections, ..config.server.clone() };
        Ok(Box::new(NextParts { live: self, server, added, endpoints, listener, telemetry }))
    }

    fn renewable(&self) -> Vec<(usize, Arc<Renewable>)> {
        let running = self.running.lock();
        let all = running.iter();
        all.filter_map(|(place, running)| Some((*place, Arc::clone(running.renewable.as_ref()?)))).collect()
    }
}

/// The parts of a change.
struct NextParts {
    live: Arc<LiveParts>,
    server: Server,
    added: BTreeMap<usize, RunningUpstream>,
    endpoints: Vec<RunningEndpoint>,
    listener: Option<NextListener>,
    telemetry: Option<NextTelemetry>,
}

impl PreparedParts for NextParts {
    fn take_over(self: Box<Self>, flip: Flip<'_>) -> Arc<Generation> {
        let Self { live, server, added, endpoints, listener, telemetry } = *self;
        let mut running = live.running.lock();
        for upstream in added.values() {
            tracing::info!(upstream = %upstream.served.name(), "serving it at {}", upstream.served.path());
        }
        running.extend(added);
        let next = match &live.listener {
            Some(listener) => live.flip(listener, (&mut running, endpoints), &server, flip),
            None => flip(),
        };
        drop(running);
        live.logs.audit().0.set_batched(server.audit_write == AuditWrite::Batched);
        live.maker.answers.resize(server.answer_memory);
        if let (Some(current), Some(listener)) = (&live.listener, listener) {
            current.take(listener);
        }
        if let Some(telemetry) = telemetry {
            live.telemetry.take(telemetry);
        }
        next
    }
}

impl LiveParts {
    /// Flips, and serves the upstreams of the new generation. Those that it does not serve any more end with their calls.
    fn flip(
        &self,
        listener: &LiveListener,
        (running, endpoints): (&mut BTreeMap<usize, RunningUpstream>, Vec<RunningEndpoint>),
        server: &Server,
        flip: Flip<'_>,
    ) -> Arc<Generation> {
        let mut retired = Vec::new();
        let flipped = || {
            let next = flip();
            // Before the table is replaced, so that whoever still finds a former endpoint looks once more.
            let former = mem::replace(&mut *self.endpoints.lock(), endpoints.clone());
            let is_replaced =
                |former: &&RunningEndpoint| !endpoints.iter().any(|endpoint| endpoint.is(former));
            former.iter().filter(is_replaced).for_each(RunningEndpoint::retire);
            let is_retired = |place: usize| next.pipeline(place).is_retired();
            retired.extend(running.extract_if(.., |place, _| is_retired(*place)));
            let served = running.values().map(|upstream| &upstream.served);
            (next, served_endpoints(served, &endpoints))
        };
        let next = listener.gateway.replace(server, flipped);
        *self.summaries.lock() = RunningEndpoint::summaries(&endpoints);
        for (_, RunningUpstream { served, .. }) in retired {
            tracing::info!(upstream = %served.name(), "it is not served any more; its running calls may finish");
            self.maker.definitions.remove(served.flow.definitions());
            tokio::spawn(served.flow.retire());
        }
        next
    }
}

/// The changed parts of a listener.
struct NextListener {
    socket: Option<(SocketAddr, TcpListener)>,
    tls: Option<PreparedTls>,
}

impl LiveListener {
    fn prepare(&self, server: &Server) -> Result<NextListener, ServeError> {
        let tls = match (&self.tls, &server.tls) {
            (Some(tls), Some(settings)) if !tls.uses(settings) => Some(TlsState::prepare(settings)?),
            _ => None,
        };
        let is_elsewhere = server.listen != *self.address.lock();
        let socket = is_elsewhere.then(|| listeners::bind_beside(server.listen)).transpose()?;
        Ok(NextListener { socket: socket.map(|socket| (server.listen, socket)), tls })
    }

    fn take(&self, NextListener { socket, tls }: NextListener) {
        if let (Some(current), Some(tls)) = (&self.tls, tls) {
            current.replace(tls);
            tracing::info!("new connections use the changed settings of [server.tls]");
        }
        let Some((address, socket)) = socket else { return };
        match self.moves.try_send(socket) {
            Ok(()) => {
                *self.address.lock() = address;
                tracing::info!(
                    "listening on {address}; connections at the former address end with their requests"
                );
            }
            Err(error) => tracing::error!("the listener stays where it is: {error}"),
        }
    }
}

/// Other settings of traces. None in it: there are none any more.
struct NextTelemetry(Option<(Telemetry, Arc<Tracer>, TraceExport)>);

impl LiveTelemetry {
    fn prepare(&self, settings: Option<&Telemetry>) -> Result<Option<NextTelemetry>, ServeError> {
        if self.settings.lock().as_ref() == settings {
            return Ok(None);
        }
        let Some(settings) = settings else { return Ok(Some(NextTelemetry(None))) };
        let made = traces::set_up(settings, &self.ways, &self.metrics);
        let (tracer, export) = made.map_err(|error| ServeError::Traces(error.to_string()))?;
        Ok(Some(NextTelemetry(Some((settings.clone(), tracer, export)))))
    }

    /// Uses other settings. The spans of the former ones are still sent.
    fn take(&self, NextTelemetry(next): NextTelemetry) {
        let (settings, tracer, export) = match next {
            Some((settings, tracer, export)) => (Some(settings), Some(tracer), Some(export)),
            None => (None, None, None),
        };
        self.tracer.set(tracer);
        *self.settings.lock() = settings;
        let (tasks, ended) = &self.tasks;
        export.into_iter().for_each(|export| drop(tasks.spawn(export.run(ended.clone()))));
        tracing::info!("the changed settings of [telemetry] are in use");
    }
}
