//! Witgate inside another program: the same pipeline as a layer in front of that program's own service.
//!
//! A [`Guard`] is made from a `witgate.toml` with exactly one upstream, which has `embedded = true`. A guard protects
//! any [`tower::Service`] that speaks MCP over Streamable HTTP, such as the one of the crate `rmcp`. The service gets
//! allowed calls only:
//!
//! ```no_run
//! use axum::Router;
//! # use axum::routing::any;
//! use witgate::embed::{self, Guard};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     embed::compile_if_asked();
//!     let guard = Guard::from_config("witgate.toml").await?;
//! #   let mcp = any(async || "an MCP server");
//!     let guarded = guard.protect(mcp);
//!     let app = guarded.paths().fold(Router::new(), |app, path| app.route_service(path, guarded.clone()));
//!     let listener = tokio::net::TcpListener::bind(guard.listen()).await?;
//!     axum::serve(listener, app).with_graceful_shutdown(guard.stop_on(embed::told_to_stop())).await?;
//!     guard.shut_down().await;
//!     Ok(())
//! }
//! ```
//!
//! The whole configuration is in force, except for listeners, TLS and the upstream's address. Policies, components,
//! keys and pipeline change with their files, as under `witgate serve`. Commands such as `witgate plugin list` reach
//! the program over the control socket. Health checks and metrics are on `server.admin_listen`. The examples
//! `embed-rmcp` and `embed-axum` are complete programs.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::header::HOST;
use ::http::{Extensions, HeaderValue, Request, Response, Uri};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tower::{Layer, Service};

use crate::admin::state::GatewayState;
use crate::control::Control;
use crate::operation::OperationLog;
use crate::reload::Reloader;
use crate::routes::route;
use crate::serve::{BackgroundTasks, ServeError, bind_admin, first_generation, load, traces};
use witgate_base::clock::Clock;
use witgate_component::compile::{self, Compiler};
use witgate_component::engine::Engine;
use witgate_config::diagnostic::{Diagnostic, Style, render};
use witgate_config::environment::Environment;
use witgate_config::resolve::fault_at;
use witgate_config::{AuditOverflow, Config, Transport, Upstream, UpstreamTarget};
use witgate_flow::Flow;
use witgate_flow::audit::Audit;
use witgate_flow::body::{BodyError, Inflow};
use witgate_flow::dpop::Proofs;
use witgate_flow::lockout::LockoutTable;
use witgate_flow::traces::LiveTracer;
use witgate_policy::generation::Generations;
use witgate_runtime::memory::AnswerMemory;
use witgate_runtime::metrics::Metrics;
use witgate_server::http::{Gateway, Sender};
use witgate_server::refusals::EarlyRefusal;
use witgate_upstream::any_upstream::AnyUpstream;

pub use witgate_flow::authenticate::identity::Caller;
pub use witgate_message::certificate::ClientCertificate;
pub use witgate_server::http::Body;
pub use witgate_server::stdio::told_to_stop;
pub use witgate_upstream::http::{EmbeddedService, Outgoing};

/// Time limit for writing the last entries of the audit log.
const LAST_ENTRIES: Duration = Duration::from_secs(1);

/// The pipeline of one configuration, for a service of this program.
///
/// Dropping the last guard and the last service that it protects ends their background tasks. [`Guard::shut_down`] is
/// better: it waits for them.
#[derive(Clone, Debug)]
pub struct Guard(Arc<GuardState>);

struct GuardState {
    config: Config,
    /// The URL that the service sees.
    uri: Uri,
    generations: Arc<Generations>,
    metrics: Arc<Metrics>,
    proofs: Arc<Proofs>,
    answers: Arc<AnswerMemory>,
    lockout: Arc<LockoutTable>,
    tracer: Arc<LiveTracer>,
    background: BackgroundTasks,
    gateways: Arc<ProtectingGateways>,
}

/// A gateway for each protected service.
#[derive(Default)]
struct ProtectingGateways(Mutex<Vec<Arc<Gateway<AnyUpstream>>>>);

impl ProtectingGateways {
    /// Takes what was refused before there was a message.
    fn take_refusals(&self) -> Vec<EarlyRefusal> {
        self.0.lock().iter().flat_map(|gateway| gateway.refusals().take()).collect()
    }
}

impl fmt::Debug for GuardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("config", &self.config.path).finish_non_exhaustive()
    }
}

impl Drop for GuardState {
    fn drop(&mut self) {
        self.background.stop.cancel();
        self.background.ended.cancel();
    }
}

/// The error when no guard can be built. Both `{}` and `{:?}` print it for people: `main` may return it.
pub enum GuardError {
    /// The configuration cannot be used.
    Config(Vec<Diagnostic>),
    /// Something else that the guard needs is missing.
    Start(ServeError),
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(faults) => {
                write!(f, "the configuration cannot be used\n\n{}", render(faults, Style::default()))
            }
            Self::Start(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Debug for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for GuardError {}

impl From<ServeError> for GuardError {
    fn from(error: ServeError) -> Self {
        Self::Start(error)
    }
}

impl Guard {
    /// Makes a guard from the configuration file at `path`, with secrets from the environment of this process, and
    /// watches its files from then on. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// With everything that is wrong with the configuration, or with what else is missing.
    pub async fn from_config(path: impl AsRef<Path>) -> Result<Self, GuardError> {
        Self::in_environment(path, &Environment::of_process()).await
    }

    /// As [`Guard::from_config`], with secrets from the given environment.
    ///
    /// # Errors
    /// As [`Guard::from_config`].
    pub async fn in_environment(
        path: impl AsRef<Path>,
        environment: &Environment,
    ) -> Result<Self, GuardError> {
        let path = path.as_ref();
        let (loaded, rollback) = load(Some(path), environment).map_err(GuardError::Config)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let config = loaded.config;
        let uri = service_of(&config).map_err(GuardError::Config)?;
        let engine = Engine::new().map_err(ServeError::from)?;
        let made = first_generation(&config, environment, rollback.as_ref(), (engine, compiler())).await;
        let (factory, generations) = made
            .map_err(|error| error.in_file(Some(path)).map_or_else(GuardError::Start, GuardError::Config))?;
        let control = config.server.control.as_ref();
        let control = control.map(|wanted| Control::bind_near(wanted, environment)).transpose();
        let control = control.map_err(ServeError::from)?.flatten();
        let audit = OperationLog::open(&config, environment).map_err(ServeError::from)?;
        audit.started(&config, &generations.live());
        let metrics = Arc::new(Metrics::default());
        audit.register(&metrics);
        let background = BackgroundTasks::recorded_in(audit.clone());
        let answers = AnswerMemory::new(config.server.answer_memory);
        answers.register_answers(&metrics);
        let lockout = audit.lockout();
        lockout.register(&metrics);
        factory.limits().register(&metrics);
        let passwords = Arc::clone(factory.passwords());
        let proofs = Proofs::new(config.server.dpop_nonces, Clock::System).map_err(ServeError::Random)?;
        let (environment, path) = (environment.clone(), path.to_owned());
        let (tracer, export) = traces(&config, factory.ways(), &metrics)?;
        let reloader = Reloader::new(factory, Arc::clone(&generations), path, environment, &config, rollback);
        let reloader = reloader.recorded_in(audit);
        let admin = bind_admin(&config.server).await?;
        let state = GatewayState {
            generations: Arc::clone(&generations),
            reloader: Some(Arc::new(reloader)),
            passwords,
            metrics: Arc::clone(&metrics),
            tls: None,
            audit: background.audit.clone(),
        };
        background.start(&config.server, state, (None, Arc::clone(&lockout)), (admin, control))?;
        background.export(export);
        background.end_with_runtime();
        let (proofs, gateways) = (Arc::new(proofs), Arc::<ProtectingGateways>::default());
        let refusing = Arc::clone(&gateways);
        background.record_refusals(move || refusing.take_refusals());
        Ok(Self(Arc::new(GuardState {
            config,
            uri,
            generations,
            metrics,
            proofs,
            answers,
            lockout,
            tracer,
            background,
            gateways,
        })))
    }

    /// The service behind the pipeline.
    pub fn protect<S, B>(&self, service: S) -> GuardedService
    where
        S: EmbeddedService<B>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        let GuardState {
            config,
            uri,
            generations,
            metrics,
            proofs,
            answers,
            lockout,
            tracer,
            background,
            gateways,
        } = &*self.0;
        // There is exactly one upstream: `service_of` has checked that.
        let flows = config.upstreams.iter().enumerate().map(|(place, upstream)| {
            let target = AnyUpstream::of_service(upstream, service.clone(), uri.clone());
            target.count_in(metrics, &upstream.name);
            let route = Arc::new(route(config, place, upstream));
            let audit = Audit::default().with_log(background.audit.entries());
            let audit = audit.with_feed(Arc::clone(&background.feed));
            let flow = Flow::new(route, target, Arc::clone(generations), metrics, background.stop.clone());
            background.definitions.add(flow.definitions());
            flow.with_proofs(Arc::clone(proofs))
                .with_answers(Arc::clone(answers))
                .with_lockout(Arc::clone(lockout))
                .with_audit(audit)
                .with_tracer(Arc::clone(tracer))
        });
        let gateway = Arc::new(Gateway::new(config, flows, Arc::clone(generations)));
        gateways.0.lock().push(Arc::clone(&gateway));
        let documents = gateway.documents().into();
        GuardedService { gateway, documents, guard: self.clone(), peer: |_| None }
    }

    /// The address in the configuration (`server.listen`). The program may listen elsewhere.
    pub fn listen(&self) -> SocketAddr {
        self.0.config.server.listen
    }

    /// The metrics, in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        self.0.metrics.render()
    }

    /// Waits for `signal`, and then ends the streams that would not end by themselves. For the graceful shutdown of
    /// the program's server.
    pub fn stop_on<F: Future>(&self, signal: F) -> impl Future<Output = ()> + use<F> {
        let stop = self.0.background.stop.clone();
        async move {
            signal.await;
            tracing::info!("stopping: running calls may finish");
            stop.cancel();
        }
    }

    /// Ends the sessions with the service, and the background tasks. To be called when the program serves no requests
    /// any more.
    pub async fn shut_down(&self) {
        self.0.background.stop.cancel();
        let gateways = self.0.gateways.0.lock().clone();
        for gateway in gateways {
            gateway.shut_down().await;
        }
        self.0.background.end().await;
        self.0.background.audit.refused(self.0.gateways.take_refusals());
        self.0.background.audit.stop(true, LAST_ENTRIES);
    }
}

/// As [`Guard::protect`].
impl<S, B> Layer<S> for Guard
where
    S: EmbeddedService<B, Future: Send> + Service<Outgoing, Response = Response<B>>,
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
{
    type Service = GuardedService;

    fn layer(&self, service: S) -> GuardedService {
        self.protect(service)
    }
}

/// A service behind the pipeline of a [`Guard`].
///
/// It takes every request as a message for the protected service, on any path, except for the documents of RFC 9728
/// under `/.well-known/`. It answers refusals itself, and never returns an error.
///
/// The protected service gets the method, the unchanged body, and the headers that the protocol needs, but no
/// credential. The extensions of each request contain the [`Caller`], as an `Arc`:
///
/// ```
/// # use std::sync::Arc;
/// use witgate::embed::Caller;
///
/// fn subject(request: &http::request::Parts) -> Option<&str> {
///     let caller = request.extensions.get::<Arc<Caller>>()?;
///     Some(&caller.identity().subject)
/// }
/// ```
#[derive(Clone)]
pub struct GuardedService {
    gateway: Arc<Gateway<AnyUpstream>>,
    /// The paths of the documents.
    documents: Arc<[String]>,
    guard: Guard,
    peer: fn(&Extensions) -> Option<IpAddr>,
}

impl fmt::Debug for GuardedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl GuardedService {
    /// The paths to mount the service at: that of the upstream, and those of the documents that tell OAuth clients
    /// where to log in.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.guard
            .0
            .config
            .upstreams
            .iter()
            .map(|upstream| upstream.path.as_str())
            .chain(self.documents.iter().map(String::as_str))
    }

    /// The same service, with a function `peer` that finds the caller's address among the extensions of a request, for
    /// policies that read it and for the audit. With axum that is
    /// `|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.ip())`.
    #[must_use]
    pub fn with_peer(self, peer: fn(&Extensions) -> Option<IpAddr>) -> Self {
        Self { peer, ..self }
    }

    fn path(&self) -> &str {
        self.guard.0.config.upstreams.first().map_or("", |upstream| &upstream.path)
    }
}

impl<B> Service<Request<B>> for GuardedService
where
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let guarded = self.clone();
        let sender = Sender {
            peer: (self.peer)(request.extensions()),
            local: None,
            certificate: request.extensions().get::<Arc<ClientCertificate>>().cloned(),
            connection: None,
        };
        let mut request = request.map(Inflow::here);
        name_host(&mut request);
        guarded.respond(request, sender)
    }
}

impl GuardedService {
    /// A function of its own, beside [`Service::call`], which each program compiles for itself: the layout of this
    /// future is deep, and the boxed one that it returns is not.
    fn respond(
        self,
        request: Request<Inflow>,
        sender: Sender,
    ) -> BoxFuture<'static, Result<Response<Body>, Infallible>> {
        Box::pin(async move { Ok(self.gateway.respond_within(self.path(), request, sender).await) })
    }
}

/// Adds the header `host`: from HTTP/2 on, the host is in the URI alone.
fn name_host<B>(request: &mut Request<B>) {
    let is_newer = request.version() >= ::http::Version::HTTP_2;
    if !is_newer || request.headers().contains_key(HOST) {
        return;
    }
    let authority = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = authority {
        request.headers_mut().insert(HOST, host);
    }
}

/// True once `main` has called [`compile_if_asked`].
static COMPILES: AtomicBool = AtomicBool::new(false);

/// Compiles a component and ends the process, if a guard started this program for that. To be called first in `main`.
///
/// A process that serves never compiles components: a guard starts its own program once more, with one argument, and
/// that program has to call this function. Without the call, components are refused; built-in policies work all the
/// same.
pub fn compile_if_asked() {
    COMPILES.store(true, Ordering::Release);
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == compile::COMMAND) && arguments.next().is_none() {
        std::process::exit(compile::run().into());
    }
}

fn compiler() -> Compiler {
    match COMPILES.load(Ordering::Acquire) {
        true => Compiler::own(),
        false => {
            Compiler::Nowhere("the program has to call `witgate::embed::compile_if_asked()` first in `main`")
        }
    }
}

/// The URL that this program's service sees.
fn service_of(config: &Config) -> Result<Uri, Vec<Diagnostic>> {
    let fault = |at: &[&str], message: &str| fault_at(config.path.as_deref(), at, message);
    let mut faults = Vec::new();
    if config.server.transport == Transport::Stdio {
        faults.push(
            fault(&["server", "transport"], "an embedded service speaks HTTP").help("leave `transport` out"),
        );
    }
    if config.server.tls.is_some() {
        let what = "the program has the listener, so it also has to speak TLS";
        faults.push(
            fault(&["server", "tls"], what).help("remove `[server.tls]`, and set TLS up in the program"),
        );
    }
    if config.accounts.is_some() {
        let what = "a program with an embedded service has no pages for logins";
        faults.push(fault(&["accounts"], what).help("remove `[accounts]`, or use `witgate serve`"));
    }
    if config.server.audit_overflow == AuditOverflow::Deny {
        let what = "records go to the log of the program, which does not say whether it could write them";
        faults.push(
            fault(&["server", "audit_overflow"], what)
                .help("leave `audit_overflow` out; the events have the target `witgate::audit`"),
        );
    }
    let uri = match config.upstreams.as_slice() {
        [Upstream { target: UpstreamTarget::Embedded, path, name, .. }] => {
            // The allowed names are checked before; the service gets the name that every service accepts.
            let uri = format!("http://localhost{path}").parse::<Uri>();
            uri.map_err(|error| fault(&["upstreams", name, "path"], &format!("`{path}` is no path: {error}")))
        }
        [Upstream { name, .. }] => {
            let what = format!("the upstream `{name}` is not this program's own service");
            Err(fault(&["upstreams", name], &what)
                .help("write `embedded = true` in place of its target; `witgate serve` guards the others"))
        }
        several => {
            let what = format!(
                "a program guards one service with one configuration, and there are {}",
                several.len()
            );
            Err(fault(&["upstreams"], &what).help("make a configuration, and a guard, of each"))
        }
    };
    match (uri, faults.is_empty()) {
        (Ok(uri), true) => Ok(uri),
        (uri, _) => Err(faults.into_iter().chain(uri.err()).collect()),
    }
}

#[cfg(test)]
mod tests;
