//! Makes a running gateway from a configuration: log, engine, first generation, upstreams, listeners, watcher, drain.

mod background;
mod combined_endpoints;
mod error;
mod flows;
mod listeners;
mod live_parts;
mod load;
mod shared_upstream;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::account_pages::AccountPages;
use crate::accounts::{OpenAccounts, PageParts};
use crate::admin::state::GatewayState;
use crate::caller_tools::CallerDesk;
use crate::control::Control;
use crate::operation::OperationLog;
use crate::reload::Reloader;
use crate::reload::rollback::Rollback;
use crate::traces::{self, TraceExport};
use witgate_base::clock::Clock;
use witgate_base::signing::PublishedKeys;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::engine_start::EngineStart;
use witgate_component::load::Loader;
use witgate_component::store::ComponentStore;
use witgate_config::environment::Environment;
use witgate_config::{self as config, AuditWrite, Config, Transport};
use witgate_credentials::connect::ConnectDesk;
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::Flow;
use witgate_flow::dpop::Proofs;
use witgate_flow::port::Upstream as _;
use witgate_flow::traces::LiveTracer;
use witgate_policy::generation::Generations;
use witgate_runtime::leftovers;
use witgate_runtime::lines;
use witgate_runtime::log::Logs;
use witgate_runtime::memory::AnswerMemory;
use witgate_runtime::metrics::Metrics;
use witgate_runtime::processes;
use witgate_runtime::workers::Workers;
use witgate_server::connections::descriptors;
use witgate_server::http::{Gateway, Site};
use witgate_server::stdio;
use witgate_server::tls::{TlsError, TlsState};
use witgate_services::network::Ways;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::caller_tools::CallerTools;
use witgate_upstream::child::process;

pub(crate) use background::BackgroundTasks;
use background::LAST_RESORT;
use combined_endpoints::RunningEndpoint;
pub(crate) use error::ServeError;
use flows::{AnyServed, FlowMaker, check_command};
use listeners::Listeners;
pub(crate) use listeners::bind_admin;
use live_parts::{LiveListener, LiveParts, LiveTelemetry, served_endpoints};
pub(crate) use load::load;

/// Listening sockets that wait to replace the former one. Usually one of them is taken at once.
const MOVES: usize = 4;

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
    // Before anything is opened or made.
    config.upstreams.iter().try_for_each(check_command)?;
    let hangups = signal(SignalKind::hangup()).ok();
    processes::adopt_orphans();
    let tls = tls(&config)?;
    let audit = OperationLog::open(&config, &environment)?;
    let accounts = OpenAccounts::open(config.accounts.as_ref(), &audit)?;
    let (factory, generations) =
        first_generation(&config, &environment, rollback.as_ref(), (engine.finish()?, Compiler::own()))
            .await?;
    let metrics = Arc::new(Metrics::default());
    let lockout = audit.lockout();
    let ways = Arc::clone(factory.ways());
    let (tracer, export) = traces(&config, &ways, &metrics)?;
    let credentials = OutboundCredentials::new(Arc::clone(&ways));
    let pages = AccountPages::prepare(&config, &credentials).await?;
    let desk = pages.as_ref().map(|pages| Arc::clone(&pages.desk));
    let background = BackgroundTasks::recorded_in(audit.clone());
    let callers: Arc<dyn CallerTools> = Arc::new(CallerDesk::new(
        accounts.as_ref().map(OpenAccounts::for_tools),
        (audit.clone(), config.audit.as_ref().map(|audit| audit.directory.clone())),
        (Arc::clone(&lockout), Arc::clone(&generations)),
    ));
    let maker = FlowMaker {
        generations: Arc::clone(&generations),
        metrics: Arc::clone(&metrics),
        stop: background.stop.clone(),
        // A client may start Witgate over stdio only to ask which era it speaks, and then start it again.
        kept: cache_directory(&environment).filter(|_| config.server.transport == Transport::Stdio),
        logs: Arc::clone(&logs),
        log: audit.clone(),
        feed: Arc::clone(&background.feed),
        credentials: Arc::clone(&credentials),
        lockout: Arc::clone(&lockout),
        callers,
        proofs: Arc::new(Proofs::new(config.server.dpop_nonces, Clock::System)?),
        answers: AnswerMemory::new(config.server.answer_memory),
        tracer: Arc::clone(&tracer),
        connect: desk.clone(),
        definitions: Arc::clone(&background.definitions),
    };
    logs.audit().0.set_batched(config.server.audit_write == AuditWrite::Batched);
    let served = maker.first(&config)?;
    let endpoints = maker.first_endpoints(&config, &served);
    maker.answers.register_answers(&metrics);
    logs.register(&metrics);
    audit.register(&metrics);
    factory.limits().register(&metrics);
    let passwords = Arc::clone(factory.passwords());
    lockout.register(&metrics);
    let site = accounts.map(|accounts| {
        accounts.register(&metrics);
        let (ways, passwords) = (Arc::clone(&ways), Arc::clone(&passwords));
        let (lockout, generations) = (Arc::clone(&lockout), Arc::clone(&generations));
        accounts.site(PageParts { ways, passwords, lockout, generations })
    });
    let listeners = Listeners::bind(&config).await?;
    let keys = Arc::<PublishedKeys>::default();
    let reloader = config.path.clone().map(|path| {
        let generations = Arc::clone(&generations);
        Reloader::new(factory, generations, path, environment.clone(), &config, rollback)
            .recorded_in(audit.clone())
    });
    // Not before the reloader exists: it would take the changed bound for a change in the file.
    descriptors::bound_connections(&mut config);
    let is_public = listeners.public.is_some();
    let gateway = is_public.then(|| {
        let gateway = Gateway::serving_all(
            &config.server,
            &served_endpoints(&served, &endpoints),
            Arc::clone(&generations),
            Arc::clone(&keys),
        );
        listening(gateway, &background, site, desk)
    });
    let gateway = gateway.transpose()?;
    let (moves, moved) = mpsc::channel(MOVES);
    let address = Mutex::new(config.server.listen);
    let tls_of_listener = tls.clone();
    let listener =
        gateway.clone().map(|gateway| LiveListener { gateway, moves, address, tls: tls_of_listener });
    let telemetry = LiveTelemetry {
        ways,
        metrics: Arc::clone(&metrics),
        tracer,
        settings: Mutex::new(config.telemetry.clone()),
        tasks: (background.tidy.clone(), background.ended.clone()),
    };
    let parts = Arc::new(LiveParts::new(
        (maker, Arc::clone(&logs), Arc::clone(&background.endpoints)),
        (&config, &served, &endpoints),
        listener,
        telemetry,
    ));
    let reloader = reloader.map(|reloader| {
        Arc::new(reloader.changing(&config, Arc::<LiveParts>::clone(&parts)).publishing(&config, keys))
    });
    let control = match &config.server.control {
        Some(wanted) if config.server.transport == Transport::Http => {
            Control::bind_near(wanted, &environment)?
        }
        _ => None,
    };

    background.stop_on_signal(Arc::clone(&logs));
    background.give_back_memory();
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
    let stop = background.stop.clone();
    match gateway.zip(listeners.public) {
        Some((gateway, socket)) => {
            gateway.register(&metrics);
            let refusals = gateway.refusals();
            let counted = Arc::clone(&refusals);
            background.record_refusals(move || counted.take());
            let serving = background.tidy.token();
            // A replaced upstream ends as soon as nobody holds its flow.
            drop((served, endpoints));
            gateway.serve_moving((socket, moved), tls, stop).await;
            audit.refused(refusals.take());
            drop(serving);
        }
        None => over_stdio(&config, (served, endpoints), (pages, &background, &metrics), stop).await,
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

/// The gateway as it serves a listener: on workers, with the pages beside the endpoints.
fn listening(
    gateway: Gateway<AnyUpstream>,
    background: &BackgroundTasks,
    site: Option<Arc<dyn Site>>,
    desk: Option<Arc<ConnectDesk>>,
) -> Result<Arc<Gateway<AnyUpstream>>, ServeError> {
    let workers = Workers::start(lines::flush_batches).map_err(ServeError::Workers)?;
    let gateway = gateway.with_workers(workers).with_cut(background.cut.clone()).with_site(site);
    Ok(Arc::new(match desk {
        Some(desk) => gateway.with_connect(desk),
        None => gateway,
    }))
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
) -> Result<(Arc<LiveTracer>, Option<TraceExport>), ServeError> {
    let made = config.telemetry.as_ref().map(|settings| traces::set_up(settings, ways, metrics));
    let made = made.transpose().map_err(|error| ServeError::Traces(error.to_string()))?;
    let (tracer, export) = made.unzip();
    let live = Arc::<LiveTracer>::default();
    live.set(tracer);
    Ok((live, export))
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
    (served, endpoints): (Vec<AnyServed>, Vec<RunningEndpoint>),
    (pages, background, metrics): (Option<AccountPages>, &BackgroundTasks, &Metrics),
    stop: CancellationToken,
) {
    // A configuration for stdio has exactly one upstream, or one endpoint with all of them.
    let flows: Vec<_> = served.into_iter().map(|served| served.flow).collect();
    let (Some(first), Some(upstream)) = (flows.first(), config.upstreams.first()) else { return };
    let connects = |flow: &&Arc<Flow<AnyUpstream>>| flow.upstream().credential_of_principals().is_some();
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
    match endpoints.into_iter().next() {
        Some(RunningEndpoint { flow, written, .. }) => {
            stdio::serve(Arc::new(flow), shown, pipes, stop, settings(written.denials)).await;
        }
        None => stdio::serve(Arc::clone(first), shown, pipes, stop, settings(upstream.denials)).await,
    }
    pages_end.cancel();
    refusals.iter().for_each(|refusals| background.audit.refused(refusals.take()));
    join_all(flows.iter().map(|flow| flow.upstream().shut_down())).await;
}
