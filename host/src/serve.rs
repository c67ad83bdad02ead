//! Makes a running gateway from a configuration: log, engine, first generation, upstreams, listeners, watcher, drain.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account_pages::AccountPages;
use crate::accounts::{OpenAccounts, PageParts};
use crate::admin;
use crate::admin::state::GatewayState;
use crate::caller_tools::CallerDesk;
use crate::control::limits;
use crate::control::operator::Operator;
use crate::control::status::StatusReader;
use crate::control::{Control, ControlError};
use crate::endpoints::endpoint_flows;
use crate::operation::{AuditLogError, OperationLog};
use crate::reload::rollback::Rollback;
use crate::reload::watch::UnwatchedFiles;
use crate::reload::{Reloader, certificates};
use crate::traces::{self, TraceExport};
use witgate_accounts::error::AccountsError;
use witgate_base::clock::Clock;
use witgate_base::digest::digest_text;
use witgate_base::signing::PublishedKeys;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::{Engine, EngineError};
use witgate_component::engine_start::EngineStart;
use witgate_component::load::Loader;
use witgate_component::store::ComponentStore;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::environment::Environment;
use witgate_config::resolve::{Strictness, fault_at, policy_fault};
use witgate_config::{self as config, AuditOverflow, AuditWrite, Config, Transport, UpstreamTarget, resolve};
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::Flow;
use witgate_flow::audit::{Audit, DecisionFeed};
use witgate_flow::dpop::Proofs;
use witgate_flow::endpoint_flow::EndpointFlow;
use witgate_flow::lockout::LockoutTable;
use witgate_flow::port::Upstream;
use witgate_flow::request::Route;
use witgate_flow::traces::Tracer;
use witgate_policy::generation::Generations;
use witgate_policy::{PolicyError, Source};
use witgate_runtime::leftovers;
use witgate_runtime::lines;
use witgate_runtime::log::Logs;
use witgate_runtime::memory::AnswerMemory;
use witgate_runtime::metrics::Metrics;
use witgate_runtime::processes;
use witgate_runtime::workers::Workers;
use witgate_server::connections::descriptors;
use witgate_server::http::Gateway;
use witgate_server::refusals::EarlyRefusal;
use witgate_server::stdio;
use witgate_server::tls::{TlsError, TlsState};
use witgate_services::network::Ways;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::caller_tools::CallerTools;
use witgate_upstream::child::{process, program};
use witgate_upstream::http::SetUpError;
use witgate_upstream::own_tools::{AuthStatus, AuthStatusReader, LimitReader, OwnTools};
use witgate_upstream::renewal::Renewable;

/// Time between two records of what was refused before there was a message.
const REFUSALS: Duration = Duration::from_secs(60);

/// Grace period for background tasks at shutdown: children after a second signal, the watcher, the control
/// socket.
const LAST_RESORT: Duration = Duration::from_secs(1);

/// The error when Witgate could not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// WebAssembly does not work on this machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The system gives no thread for the watcher of files.
    #[error("changes of files could not be seen, because the system gives no thread: {0}")]
    Thread(std::io::Error),
    /// The system gives no threads for connections.
    #[error("connections cannot be served, because the system gives no thread: {0}")]
    Workers(std::io::Error),
    /// Some policies cannot be used.
    #[error("{}", lines(.0))]
    Policies(Vec<PolicyError>),
    /// The program of an upstream is missing.
    #[error("upstream `{upstream}`: {message}")]
    Command {
        /// The upstream's name.
        upstream: String,
        /// The reason.
        message: String,
    },
    /// An upstream cannot be set up.
    #[error("upstream `{upstream}`: {error}")]
    Upstream {
        /// The upstream's name.
        upstream: String,
        /// The error.
        error: SetUpError,
    },
    /// The system refuses to listen on an address.
    #[error("cannot listen on {address} ({setting}): {error}{}", hint(.error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting with the address.
        setting: &'static str,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The system gives no thread for the admin listener.
    #[error("health checks and metrics cannot be served: {0}")]
    Admin(std::io::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system has no random numbers.
    #[error("no random numbers for nonces: {0}")]
    Random(#[from] getrandom::Error),
    /// A variable of OpenTelemetry is invalid.
    #[error("traces cannot be sent: {0}")]
    Traces(String),
    /// The control socket cannot be made.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
    /// The accounts cannot be used.
    #[error("accounts: {0}")]
    Accounts(#[from] AccountsError),
}

impl ServeError {
    /// The faults of the configuration, each with its place in the file at `path`.
    ///
    /// # Errors
    /// When the configuration is not at fault: the same error.
    pub(crate) fn in_file(self, path: Option<&Path>) -> Result<Vec<Diagnostic>, Self> {
        match self {
            Self::Policies(errors) => {
                let fault = |error: &PolicyError| policy_fault(path, &error.policy, &error.message);
                Ok(errors.iter().map(fault).collect())
            }
            Self::Upstream { upstream, error: error @ SetUpError::Embedded } => {
                Ok(vec![fault_at(path, &["upstreams", &upstream, "embedded"], &error.to_string())])
            }
            Self::Audit(error) => Ok(vec![fault_at(path, &["audit", "directory"], &error.to_string())]),
            Self::Accounts(error) => Ok(vec![fault_at(path, &["accounts"], &error.to_string())]),
            Self::Tls(error) => Ok(vec![fault_at(path, &["server", "tls", error.setting], &error.message)]),
            other => Err(other),
        }
    }
}

fn lines(errors: &[PolicyError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
        std::io::ErrorKind::PermissionDenied => {
            "; choose a port above 1023, or give the process the right to this one"
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}

/// Loads the configuration to serve: the file at `path` (none: the environment), or the rollback that was in force
/// when the last process ended, even if the file is broken by now.
///
/// # Errors
/// With everything that is wrong with the configuration.
pub(crate) fn load(
    path: Option<&Path>,
    environment: &Environment,
) -> Result<(resolve::LoadedConfig, Option<Rollback>), Vec<Diagnostic>> {
    let rollback = path.map_or(Ok(None), Rollback::in_force).map_err(|fault| vec![fault])?;
    if let (Some(path), Some(rollback)) = (path, rollback) {
        let to = rollback.to;
        let loaded =
            resolve::load_text(path, rollback.recipe.config(), environment).map_err(|mut faults| {
                faults.insert(0, unrepeatable(to));
                faults
            })?;
        tracing::warn!("ROLLBACK: the inputs of generation {to} are in force instead of the files");
        return Ok((loaded, Some(rollback)));
    }
    let faults = match resolve::load(path, environment) {
        Ok(loaded) => return Ok((loaded, None)),
        Err(faults) => faults,
    };
    let parts = path.map(|path| resolve::load_parts(path, environment, Strictness::Parts));
    match parts {
        Some(Ok(loaded)) => usable_parts(loaded).map(|loaded| (loaded, None)).ok_or(faults),
        _ => Err(faults),
    }
}

/// The usable parts of a configuration with several upstreams, if at least one upstream is not affected by the faults:
/// a fault closes its own upstreams alone.
fn usable_parts(mut loaded: resolve::LoadedConfig) -> Option<resolve::LoadedConfig> {
    let Config { upstreams, broken, .. } = &mut loaded.config;
    if upstreams.len() < 2 {
        return None;
    }
    upstreams.retain(|upstream| !broken.upstreams.contains(&upstream.name));
    let is_whole = |upstream: &witgate_config::Upstream| {
        let pipeline = &upstream.pipeline;
        let policies = pipeline.authenticate.iter().chain(&pipeline.authorize);
        !broken.pipelines.contains(&upstream.name)
            && policies.into_iter().all(|name| !broken.policies.contains_key(name))
    };
    if !upstreams.iter().any(is_whole) {
        return None;
    }
    for fault in &loaded.faults {
        tracing::error!("{fault}; the upstreams that need it are closed, and the others are served");
    }
    Some(loaded)
}

fn unrepeatable(to: u64) -> Diagnostic {
    Diagnostic::error(format!(
        "a rollback to generation {to} is in force, and its configuration cannot be used"
    ))
    .help("correct the following, or remove `rollback.json` in the state directory to use the files as they are")
}

/// Serves until a signal to stop, or over stdio until the client is done. `rollback` is the source of the
/// configuration, if that is not the file; `logs` has the audit; `engine` runs the components.
///
/// # Errors
/// With the reason why Witgate cannot start; nothing has started then.
pub(crate) async fn run(
    mut config: Config,
    rollback: Option<Rollback>,
    environment: Environment,
    logs: Arc<Logs>,
    engine: EngineStart,
) -> Result<(), ServeError> {
    check_commands(&config)?;
    let hangups = signal(SignalKind::hangup()).ok();
    processes::adopt_orphans();
    let tls = tls(&config)?;
    let audit = OperationLog::open(&config, &environment)?;
    let accounts = OpenAccounts::open(config.accounts.as_ref(), &audit)?;
    let (factory, generations) =
        first_generation(&config, &environment, rollback.as_ref(), (engine.finish()?, Compiler::own()))
            .await?;
    let metrics = Arc::new(Metrics::default());
    let stop = CancellationToken::new();
    // A client may start Witgate over stdio only to ask which era it speaks, and then start it again.
    let kept = cache_directory(&environment).filter(|_| config.server.transport == Transport::Stdio);
    let lockout = audit.lockout();
    let (tracer, export) = traces(&config, factory.ways(), &metrics)?;
    let credentials = OutboundCredentials::new(Arc::clone(factory.ways()));
    let pages = AccountPages::prepare(&config, &credentials).await?;
    let feed = Arc::<DecisionFeed>::default();
    let callers: Arc<dyn CallerTools> = Arc::new(CallerDesk::new(
        accounts.as_ref().map(OpenAccounts::for_tools),
        (audit.clone(), config.audit.as_ref().map(|audit| audit.directory.clone())),
        (Arc::clone(&lockout), Arc::clone(&generations)),
    ));
    let shared = SharedParts::new(&config, (&*logs, &audit, &feed), &lockout, &metrics)?;
    let around = (&shared, &*credentials, &callers);
    let flows = flows(&config, &generations, &metrics, &stop, kept.as_deref(), around)?;
    let desk = pages.as_ref().map(|pages| Arc::clone(&pages.desk));
    let traced = |flow: AnyFlow| Arc::new(flow.with_tracer(tracer.clone()).with_connect(desk.clone()));
    let flows: Vec<_> = flows.into_iter().map(traced).collect();
    let endpoints = endpoint_flows(
        &config,
        &flows,
        |place, upstream| route(&config, place, upstream),
        |route, upstream| {
            let flow = Flow::new(Arc::new(route), upstream, Arc::clone(&generations), &metrics, stop.clone());
            shared.around(flow).with_tracer(tracer.clone()).with_connect(desk.clone())
        },
    );
    logs.register(&metrics);
    audit.register(&metrics);
    factory.limits().register(&metrics);
    let passwords = Arc::clone(factory.passwords());
    lockout.register(&metrics);
    let site = accounts.map(|accounts| {
        accounts.register(&metrics);
        let (ways, passwords) = (Arc::clone(factory.ways()), Arc::clone(factory.passwords()));
        let (lockout, generations) = (Arc::clone(&lockout), Arc::clone(&generations));
        accounts.site(PageParts { ways, passwords, lockout, generations })
    });
    let listeners = Listeners::bind(&config).await?;
    let keys = Arc::<PublishedKeys>::default();
    let reloader = config.path.clone().map(|path| {
        let generations = Arc::clone(&generations);
        let reloader = Reloader::new(factory, generations, path, environment.clone(), &config, rollback);
        let upstreams = flows.iter().zip(&config.upstreams);
        let upstreams =
            upstreams.filter_map(|(flow, upstream)| Renewable::of(flow.upstream(), upstream, &credentials));
        let reloader = reloader.renewing(upstreams.collect()).publishing(&config, Arc::clone(&keys));
        Arc::new(reloader.recorded_in(audit.clone()))
    });
    // Not before the reloader exists: it would take the changed bound for a change in the file.
    descriptors::bound_connections(&mut config);
    let control = match &config.server.control {
        Some(wanted) if config.server.transport == Transport::Http => {
            Control::bind_near(wanted, &environment)?
        }
        _ => None,
    };

    let background =
        BackgroundTasks { stop: stop.clone(), feed, ..BackgroundTasks::recorded_in(audit.clone()) };
    background.stop_on_signal(Arc::clone(&logs));
    background.export(export);
    background.look_on_hangup(hangups, reloader.clone());
    background.watch_tls(tls.clone(), reloader.as_ref().map(|reloader| reloader.unwatched().clone()))?;
    let state = GatewayState {
        generations: Arc::clone(&generations),
        reloader,
        passwords,
        metrics: Arc::clone(&metrics),
        tls: tls.clone(),
        audit: audit.clone(),
    };
    background.start(&config.server, state, (Some(logs), lockout), (listeners.admin, control))?;
    audit.started(&config, &generations.live());
    announce(&config, listeners.public.as_ref());
    match listeners.public {
        Some(listener) => {
            let grace = config.server.shutdown_grace;
            let workers = Workers::start(lines::flush_batches).map_err(ServeError::Workers)?;
            let gateway =
                Gateway::of_flows(&config, flows, generations).with_keys(keys).with_workers(workers);
            let gateway = gateway.with_endpoints(&config, endpoints);
            let gateway = gateway.with_cut(background.cut.clone()).with_site(site);
            let gateway = match desk {
                Some(desk) => gateway.with_connect(desk),
                None => gateway,
            };
            gateway.register(&metrics);
            let refusals = gateway.refusals();
            let counted = Arc::clone(&refusals);
            background.record_refusals(move || counted.take());
            let serving = background.tidy.token();
            gateway.serve(listener, tls, stop, grace).await;
            audit.refused(refusals.take());
            drop(serving);
        }
        None => over_stdio(&config, (flows, endpoints), (pages, &background, &metrics), stop).await,
    }
    credentials.settle().await;
    if background.cut.is_cancelled() {
        // The end was not graceful: the signal's handler sets the exit code.
        std::future::pending::<()>().await;
    }
    background.end().await;
    process::end_all().await;
    audit.stop(true, LAST_RESORT);
    tracing::info!("stopped");
    Ok(())
}

/// Finds missing programs before the first call.
fn check_commands(config: &Config) -> Result<(), ServeError> {
    for upstream in &config.upstreams {
        if let UpstreamTarget::Command { argv, .. } = &upstream.target {
            program::check(argv)
                .map_err(|message| ServeError::Command { upstream: upstream.name.clone(), message })?;
        }
    }
    Ok(())
}

fn tls(config: &Config) -> Result<Option<Arc<TlsState>>, TlsError> {
    let settings = config.server.tls.clone().filter(|_| config.server.transport == Transport::Http);
    settings.map(|settings| TlsState::load(settings).map(Arc::new)).transpose()
}

pub(crate) async fn first_generation(
    config: &Config,
    environment: &Environment,
    rollback: Option<&Rollback>,
    (engine, compiler): (Engine, Compiler),
) -> Result<(Factory, Arc<Generations>), ServeError> {
    let state = config.server.state.as_deref();
    state.into_iter().for_each(leftovers::remove);
    let store = state.map(|state| ComponentStore::new(Rollback::components(state)));
    let loader = Loader::new(engine, compiler, cache_directory(environment)).keeping(store);
    let factory = Factory::new(loader, environment.clone(), Clock::System);
    let first = factory.first(config, rollback.map(|rollback| &rollback.recipe)).await;
    let (first, broken) = first.map_err(ServeError::Policies)?;
    for error in &broken {
        tracing::error!(
            "{error}; the upstreams whose pipelines ask it are closed, and the others are served"
        );
    }
    Ok((factory, Arc::new(Generations::new(first, config.server.keep_generations))))
}

/// The directory of compiled components: `WITGATE_CACHE`, else the user's cache directory.
pub(crate) fn cache_directory(environment: &Environment) -> Option<PathBuf> {
    let own = environment.get("WITGATE_CACHE").map(PathBuf::from);
    let users = || environment.get("XDG_CACHE_HOME").map(|dir| PathBuf::from(dir).join("witgate"));
    let home = || environment.get("HOME").map(|dir| PathBuf::from(dir).join(".cache/witgate"));
    own.or_else(users).or_else(home)
}

/// The traces of the configuration, and the task that sends them.
pub(crate) fn traces(
    config: &Config,
    ways: &Arc<Ways>,
    metrics: &Metrics,
) -> Result<(Option<Arc<Tracer>>, Option<TraceExport>), ServeError> {
    let made = config.telemetry.as_ref().map(|settings| traces::set_up(settings, ways, metrics));
    let made = made.transpose().map_err(|error| ServeError::Traces(error.to_string()))?;
    Ok(made.unzip())
}

type AnyFlow = Flow<AnyUpstream>;

/// The parts that all flows share.
struct SharedParts<'a> {
    logs: (&'a Logs, &'a OperationLog, &'a Arc<DecisionFeed>),
    overflow: AuditOverflow,
    proofs: Arc<Proofs>,
    lockout: &'a Arc<LockoutTable>,
    answers: Arc<AnswerMemory>,
}

impl<'a> SharedParts<'a> {
    fn new(
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
    fn around<U: Upstream>(&self, flow: Flow<U>) -> Flow<U> {
        let (logs, log, feed) = self.logs;
        let (lines, form) = logs.audit();
        let audit = Audit::lines(lines, form, self.overflow).with_log(log.entries());
        let audit = audit.with_feed(Arc::clone(feed));
        let flow = flow.with_proofs(Arc::clone(&self.proofs)).with_lockout(Arc::clone(self.lockout));
        flow.with_answers(Arc::clone(&self.answers)).with_audit(audit)
    }
}

fn flows(
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

/// The route to the upstream at `place` of `config`.
pub(crate) fn route(config: &Config, place: usize, upstream: &witgate_config::Upstream) -> Route {
    Route {
        upstream: upstream.name.as_str().into(),
        resource: upstream.resource.as_str().into(),
        pipeline: place,
        extensions: config.server.extensions.clone(),
        advertise_auth: config.server.advertise_auth,
        disagreements: None,
    }
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

struct Listeners {
    public: Option<TcpListener>,
    admin: Option<TcpListener>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, ServeError> {
        let server = &config.server;
        let public = match server.transport {
            Transport::Http => Some(bind(server.listen, "server.listen").await?),
            Transport::Stdio => None,
        };
        let admin = match (bind_admin(server).await, server.transport) {
            // Every client of a configuration for stdio starts its own Witgate; the first one has the listener.
            (Err(error), Transport::Stdio) => {
                tracing::warn!("no health checks and metrics from this process: {error}");
                None
            }
            (admin, _) => admin?,
        };
        Ok(Self { public, admin })
    }
}

/// Binds the listener of health checks and metrics, if the configuration has one.
pub(crate) async fn bind_admin(server: &config::Server) -> Result<Option<TcpListener>, ServeError> {
    match server.admin_listen {
        Some(address) => bind(address, "server.admin_listen").await.map(Some),
        None => Ok(None),
    }
}

async fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| ServeError::Listen { address, setting, error })
}

/// The background tasks beside the gateway.
#[derive(Debug, Default)]
pub(crate) struct BackgroundTasks {
    pub(crate) stop: CancellationToken,
    pub(crate) ended: CancellationToken,
    /// The second signal: the process is about to exit.
    cut: CancellationToken,
    /// The audit log.
    pub(crate) audit: OperationLog,
    /// The decisions for operators who watch.
    pub(crate) feed: Arc<DecisionFeed>,
    /// Tasks that must end properly, because otherwise they would leave files or processes behind.
    tidy: TaskTracker,
}

impl BackgroundTasks {
    /// The tasks of a process with this audit log.
    pub(crate) fn recorded_in(audit: OperationLog) -> Self {
        Self { audit, ..Self::default() }
    }

    /// Starts the tasks for operators: the watcher of files, health checks and metrics, and the control socket.
    pub(crate) fn start(
        &self,
        server: &config::Server,
        state: GatewayState,
        (logs, lockout): (Option<Arc<Logs>>, Arc<LockoutTable>),
        (admin, control): (Option<TcpListener>, Option<Control>),
    ) -> Result<(), ServeError> {
        state.register();
        self.watch(state.reloader.clone())?;
        self.admin(admin, server, state.clone())?;
        announce_policies(&state.generations);
        let GatewayState { generations, reloader, .. } = state;
        let status = StatusReader::new(Arc::clone(&generations), reloader.clone());
        self.control(
            control,
            Operator {
                status,
                generations,
                reloader,
                logs,
                lockout,
                audit: self.audit.clone(),
                feed: Arc::clone(&self.feed),
            },
        );
        Ok(())
    }

    /// Ends the tasks.
    pub(crate) async fn end(&self) {
        self.ended.cancel();
        // A candidate in the making needs the runtime until it is dropped.
        self.tidy.close();
        let _ = timeout(LAST_RESORT, self.tidy.wait()).await;
    }

    /// Handles signals to stop: the first one drains, the second one ends the process at once.
    fn stop_on_signal(&self, logs: Arc<Logs>) {
        let (stop, ended) = (self.stop.clone(), self.ended.clone());
        let (cut, tidy, audit) = (self.cut.clone(), self.tidy.clone(), self.audit.clone());
        // Before anything says that Witgate serves: a signal without a handler would end the process at once.
        let told = stdio::stop_signal();
        tokio::spawn(async move {
            told.await;
            tracing::info!("stopping: running calls may finish; a second signal ends them");
            stop.cancel();
            stdio::stop_signal().await;
            cut.cancel();
            ended.cancel();
            tidy.close();
            // Killing takes milliseconds. A process that withstands it for a second withstands it for ever.
            let _ = timeout(LAST_RESORT, async { tokio::join!(process::kill_all(), tidy.wait()) }).await;
            audit.stop(false, LAST_RESORT);
            logs.flush(LAST_RESORT);
            std::process::exit(130);
        });
    }

    /// SIGHUP asks for a reload, as with other servers. It never ends the process.
    fn look_on_hangup(&self, hangups: Option<Signal>, reloader: Option<Arc<Reloader>>) {
        let Some(mut hangups) = hangups else { return };
        let looking = async move {
            while hangups.recv().await.is_some() {
                match &reloader {
                    Some(reloader) => {
                        tracing::info!("SIGHUP: checking the configuration and its files");
                        reloader.look();
                    }
                    None => tracing::info!("SIGHUP: there is no configuration file to check"),
                }
            }
        };
        tokio::spawn(self.ended.clone().run_until_cancelled_owned(looking));
    }

    fn watch(&self, reloader: Option<Arc<Reloader>>) -> Result<(), ServeError> {
        let Some(reloader) = reloader else { return Ok(()) };
        self.on_own_thread("reload", async move { reloader.watch().await })
    }

    fn watch_tls(
        &self,
        tls: Option<Arc<TlsState>>,
        unwatched: Option<UnwatchedFiles>,
    ) -> Result<(), ServeError> {
        let Some(tls) = tls else { return Ok(()) };
        let unwatched = unwatched.unwrap_or_default();
        self.on_own_thread("certificates", async move { certificates::watch(&tls, &unwatched).await })
    }

    /// Runs `watching` on a thread of its own. A candidate takes milliseconds of a processor, and a file system may
    /// keep a reader waiting: calls on the same worker thread would wait for all of that. The thread starts now and
    /// stays, since a reload must not need a thread that the system may refuse.
    fn on_own_thread(
        &self,
        name: &str,
        watching: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let watching = self.ended.clone().run_until_cancelled_owned(watching);
        let (runtime, tracked) = (Handle::current(), self.tidy.token());
        let thread = thread::Builder::new().name(name.to_owned());
        let spawned = thread.spawn(move || {
            runtime.block_on(watching);
            drop(tracked);
        });
        spawned.map(drop).map_err(ServeError::Thread)
    }

    /// Serves the admin listener on a thread of its own, so that it answers even if all worker threads are busy or
    /// blocked.
    fn admin(
        &self,
        listener: Option<TcpListener>,
        server: &config::Server,
        state: GatewayState,
    ) -> Result<(), ServeError> {
        let Some(listener) = listener else { return Ok(()) };
        let (stop, ended) = (self.stop.clone(), self.ended.clone());
        let names = admin::names(server);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ServeError::Admin)?;
        let listener = listener.into_std().map_err(ServeError::Admin)?;
        let entered = runtime.enter();
        let listener = TcpListener::from_std(listener).map_err(ServeError::Admin)?;
        drop(entered);
        let serving = admin::serve(listener, names, state, stop, ended);
        let thread = thread::Builder::new().name("admin".to_owned());
        thread.spawn(move || runtime.block_on(serving)).map(drop).map_err(ServeError::Admin)
    }

    /// Records each minute what `take` returns: that which was refused before there was a message.
    pub(crate) fn record_refusals(&self, take: impl Fn() -> Vec<EarlyRefusal> + Send + 'static) {
        let audit = self.audit.clone();
        self.tidy.spawn(self.ended.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(REFUSALS).await;
                audit.refused(take());
            }
        }));
    }

    /// Sends the spans of traces.
    pub(crate) fn export(&self, export: Option<TraceExport>) {
        if let Some(export) = export {
            self.tidy.spawn(export.run(self.ended.clone()));
        }
    }

    fn control(&self, control: Option<Control>, operator: Operator) {
        if let Some(control) = control {
            let operator = Arc::new(operator);
            let answer = move |command, client| {
                let operator = Arc::clone(&operator);
                async move { operator.answer(command, client).await }
            };
            self.tidy.spawn(self.ended.clone().run_until_cancelled_owned(control.serve(answer)));
        }
    }
}

/// Logs one line per policy: which code decides.
fn announce_policies(generations: &Generations) {
    for policy in generations.live().policies() {
        let source = match policy.source() {
            Source::Builtin => "built-in".to_owned(),
            Source::Component { digest, .. } => digest_text(digest),
            Source::Fallback { .. } => "FALLBACK to the built-in".to_owned(),
            Source::Broken { reason } => format!("BROKEN, so that its calls are denied: {reason}"),
        };
        tracing::info!(policy = %policy.name(), kind = policy.kind().name(), "{source}");
    }
}

/// Logs one line per upstream and endpoint, so that the user knows which address to connect to.
fn announce(config: &Config, public: Option<&TcpListener>) {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let address = public.and_then(|listener| listener.local_addr().ok());
    for upstream in &config.upstreams {
        match address {
            Some(address) => {
                tracing::info!(upstream = %upstream.name, "serving {scheme}://{address}{}", upstream.path)
            }
            None if config.endpoints.is_empty() => {
                tracing::info!(upstream = %upstream.name, "serving over standard input and output");
            }
            None => {}
        }
    }
    for endpoint in &config.endpoints {
        match address {
            Some(address) => {
                tracing::info!(endpoint = %endpoint.name, "serving {scheme}://{address}{}", endpoint.path);
            }
            None => tracing::info!(endpoint = %endpoint.name, "serving over standard input and output"),
        }
    }
}

async fn over_stdio(
    config: &Config,
    (flows, endpoints): (Vec<Arc<AnyFlow>>, Vec<Arc<dyn EndpointFlow>>),
    (pages, background, metrics): (Option<AccountPages>, &BackgroundTasks, &Metrics),
    stop: CancellationToken,
) {
    // A configuration for stdio has exactly one upstream, or one endpoint with all of them.
    let (Some(first), Some(upstream)) = (flows.first(), config.upstreams.first()) else { return };
    let connects = |flow: &&Arc<AnyFlow>| flow.upstream().credential_of_principals().is_some();
    let connecting = flows.iter().find(connects).unwrap_or(first);
    let pages_end = CancellationToken::new();
    let refusals = pages.and_then(|pages| pages.serve(connecting, &pages_end));
    if let Some(refusals) = &refusals {
        refusals.register(metrics);
        let counted = Arc::clone(refusals);
        background.record_refusals(move || counted.take());
    }
    let pipes = (tokio::io::stdin(), tokio::io::stdout());
    let shown = stdio::EnvironmentCredentials::read(&config.environment);
    let config::Server { shutdown_grace: grace, max_request, .. } = config.server;
    let settings = |denials| stdio::StdioSettings { grace, max_request, denials };
    let stop = stop.cancelled_owned();
    match endpoints.into_iter().zip(&config.endpoints).next() {
        Some((flow, endpoint)) => {
            stdio::serve(Arc::new(flow), shown, pipes, stop, settings(endpoint.denials)).await;
        }
        None => stdio::serve(Arc::clone(first), shown, pipes, stop, settings(upstream.denials)).await,
    }
    pages_end.cancel();
    refusals.iter().for_each(|refusals| background.audit.refused(refusals.take()));
    join_all(flows.iter().map(|flow| flow.upstream().shut_down())).await;
}
