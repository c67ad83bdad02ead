//! Makes a running gateway from a configuration: log, engine, first generation, upstreams, listeners, watcher, drain.

mod background;
mod error;
mod flows;
mod listeners;
mod load;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::account_pages::AccountPages;
use crate::accounts::{OpenAccounts, PageParts};
use crate::admin::state::GatewayState;
use crate::caller_tools::CallerDesk;
use crate::control::{Control, overview};
use crate::endpoints::endpoint_flows;
use crate::operation::OperationLog;
use crate::reload::Reloader;
use crate::reload::rollback::Rollback;
use crate::routes::route;
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
use witgate_config::{self as config, Config, Transport, UpstreamTarget};
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::Flow;
use witgate_flow::audit::DecisionFeed;
use witgate_flow::definitions::DefinitionWatches;
use witgate_flow::endpoint_flow::EndpointFlow;
use witgate_flow::port::Upstream as _;
use witgate_flow::traces::Tracer;
use witgate_policy::generation::Generations;
use witgate_runtime::leftovers;
use witgate_runtime::lines;
use witgate_runtime::log::Logs;
use witgate_runtime::metrics::Metrics;
use witgate_runtime::processes;
use witgate_runtime::workers::Workers;
use witgate_server::connections::descriptors;
use witgate_server::http::Gateway;
use witgate_server::stdio;
use witgate_server::tls::{TlsError, TlsState};
use witgate_services::network::Ways;
use witgate_upstream::caller_tools::CallerTools;
use witgate_upstream::child::{process, program};
use witgate_upstream::renewal::Renewable;

pub(crate) use background::BackgroundTasks;
use background::LAST_RESORT;
pub(crate) use error::ServeError;
use flows::{AnyFlow, SharedParts, flows};
use listeners::Listeners;
pub(crate) use listeners::bind_admin;
pub(crate) use load::load;

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
    let definitions = Arc::<DefinitionWatches>::default();
    flows.iter().for_each(|flow| definitions.add(flow.definitions()));
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

    let background = BackgroundTasks {
        stop: stop.clone(),
        feed,
        definitions,
        endpoints: overview::endpoints(&config),
        ..BackgroundTasks::recorded_in(audit.clone())
    };
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
