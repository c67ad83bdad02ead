//! The tasks beside the gateway: signals, the watchers of files, health checks, the control socket.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::Signal;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ServeError;
use crate::admin;
use crate::admin::state::GatewayState;
use crate::control::Control;
use crate::control::operator::Operator;
use crate::control::protocol::EndpointSummary;
use crate::control::status::StatusReader;
use crate::operation::OperationLog;
use crate::reload::watch::UnwatchedFiles;
use crate::reload::{Reloader, certificates};
use crate::traces::TraceExport;
use witgate_base::digest::digest_text;
use witgate_config as config;
use witgate_flow::audit::DecisionFeed;
use witgate_flow::definitions::DefinitionWatches;
use witgate_flow::lockout::LockoutTable;
use witgate_policy::Source;
use witgate_policy::generation::Generations;
use witgate_runtime::free_memory;
use witgate_runtime::log::Logs;
use witgate_server::refusals::EarlyRefusal;
use witgate_server::stdio;
use witgate_server::tls::TlsState;
use witgate_upstream::child::process;

/// Time between two records of what was refused before there was a message.
const REFUSALS: Duration = Duration::from_secs(60);

/// Time from the start until free memory is given back for the first time. The allocator keeps it for a second.
const SETTLED: Duration = Duration::from_secs(2);

/// Time between two returns of free memory.
const GIVE_BACK: Duration = Duration::from_secs(60);

/// Grace period for background tasks at shutdown: children after a second signal, the watcher, the control
/// socket.
pub(super) const LAST_RESORT: Duration = Duration::from_secs(1);

/// The background tasks beside the gateway.
#[derive(Debug, Default)]
pub(crate) struct BackgroundTasks {
    pub(crate) stop: CancellationToken,
    pub(crate) ended: CancellationToken,
    /// The second signal: the process is about to exit.
    pub(super) cut: CancellationToken,
    /// The audit log.
    pub(crate) audit: OperationLog,
    /// The decisions for operators who watch.
    pub(crate) feed: Arc<DecisionFeed>,
    /// The definitions that upstreams show.
    pub(crate) definitions: Arc<DefinitionWatches>,
    /// The endpoints with several upstreams.
    pub(crate) endpoints: Arc<Mutex<Vec<EndpointSummary>>>,
    /// Tasks that must end properly, because otherwise they would leave files or processes behind.
    pub(super) tidy: TaskTracker,
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
                definitions: Arc::clone(&self.definitions),
                endpoints: Arc::clone(&self.endpoints),
            },
        );
        Ok(())
    }

    /// Ends the tasks when the current runtime ends, on which they depend: a program that embeds Witgate may end it before
    /// its guard.
    pub(crate) fn end_with_runtime(&self) {
        let ended = self.ended.clone();
        let ending = ended.clone().drop_guard();
        self.tidy.spawn(async move {
            ended.cancelled().await;
            drop(ending);
        });
    }

    /// Ends the tasks.
    pub(crate) async fn end(&self) {
        self.ended.cancel();
        // A candidate in the making needs the runtime until it is dropped.
        self.tidy.close();
        let _ = timeout(LAST_RESORT, self.tidy.wait()).await;
    }

    /// Handles signals to stop: the first one drains, the second one ends the process at once.
    pub(super) fn stop_on_signal(&self, logs: Arc<Logs>) {
        let (stop, ended) = (self.stop.clone(), self.ended.clone());
        let (cut, tidy, audit) = (self.cut.clone(), self.tidy.clone(), self.audit.clone());
        // Before anything says that Witgate serves: a signal without a handler would end the process at once.
        let told = stdio::stop_signal();
        tokio::spawn(async move {
            told.await;
            // Before anything says so: a signal without somebody who waits for it would be lost.
            let again = stdio::stop_signal();
            tracing::info!("stopping: running calls may finish; a second signal ends them");
            stop.cancel();
            again.await;
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
    pub(super) fn look_on_hangup(&self, hangups: Option<Signal>, reloader: Option<Arc<Reloader>>) {
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

    pub(super) fn watch_tls(
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

    /// Returns free memory to the system: after the start, and then each minute.
    pub(super) fn give_back_memory(&self) {
        self.tidy.spawn(self.ended.clone().run_until_cancelled_owned(async {
            let mut pause = SETTLED;
            loop {
                tokio::time::sleep(pause).await;
                free_memory::give_back();
                pause = GIVE_BACK;
            }
        }));
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
