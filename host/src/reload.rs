//! Makes a new live generation from a changed file, or reports why there is none. It runs off the request path; a
//! candidate that fails anywhere leaves the live generation as it is.

mod access_guard;
pub(crate) mod access_watch;
mod attempt;
pub(crate) mod certificates;
pub(crate) mod difference;
mod earlier_generation;
mod effects;
mod fixed_settings;
pub(crate) mod gateway_parts;
mod on_request;
mod parts;
mod report;
mod retry;
pub(crate) mod rollback;
mod upstreams;
pub(crate) mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch as watch_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::operation::OperationLog;
use witgate_base::cause::Cause;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::signing::PublishedKeys;
use witgate_cases::factory::{Factory, Successor};
use witgate_config::diagnostic::Diagnostic;
use witgate_config::environment::Environment;
use witgate_config::resolve::{self, LoadedConfig, Strictness};
use witgate_config::{Config, Transport};
use witgate_policy::generation::{Generation, Generations};

use self::access_watch::{AccessWatch, TwinMaker};
pub(crate) use self::attempt::{Attempt, RollbackResult, RollbackWish};
use self::attempt::{AttemptProgress, AttemptResult, RefusalReason, Reloads, SuccessorResult};
use self::fixed_settings::FixedSettings;
use self::gateway_parts::{GatewayParts, PreparedParts};
use self::parts::usable;
use self::retry::Retry;
use self::rollback::Rollback;
use self::upstreams::Upstreams;
use self::watch::{UnwatchedFiles, Watcher};

/// Makes candidates, and flips to them.
pub(crate) struct Reloader {
    factory: Factory,
    generations: Arc<Generations>,
    path: PathBuf,
    environment: Environment,
    /// The variables of the live generation. They count for it also while `server.env_file` has a fault.
    live_environment: Arc<Mutex<Environment>>,
    /// The settings that only a restart can change.
    fixed: FixedSettings,
    /// The changes in the files that wait for a restart.
    waiting: Mutex<Vec<String>>,
    upstreams: Upstreams,
    /// The file that keeps a rollback over a restart.
    state: Option<PathBuf>,
    /// The rollback that is in force. Each maker of a candidate holds the lock, so that there is one candidate at a
    /// time.
    rollback: tokio::sync::Mutex<Option<Rollback>>,
    /// The target of the rollback in force, for readers.
    rolled_back_to: Mutex<Option<u64>>,
    /// Notifies the watcher that there are other files to watch.
    files_changed: Notify,
    /// Asks for a reload, although no file has changed.
    asked: Notify,
    /// The attempts that have begun and ended.
    progress: watch_channel::Sender<AttemptProgress>,
    /// Files whose changes bring no notification.
    unwatched: UnwatchedFiles,
    last: Mutex<Option<Attempt>>,
    reloads: Reloads,
    /// The time of the last look at the files.
    looked_at: Mutex<Instant>,
    /// The time at which the change was seen whose component is being compiled.
    compiling_since: Mutex<Option<Instant>>,
    /// The audit log.
    audit: OperationLog,
    /// Compares the access that generations give.
    access: Arc<AccessWatch>,
}

/// Time limit for an attempt: a few seconds for each policy that is slow to configure. No attempt compiles anything.
const ATTEMPT: Duration = Duration::from_secs(120);

/// The shortest time between two attempts that somebody has asked for. Requests in between become one.
const ASKED_PAUSE: Duration = Duration::from_millis(250);

/// Longest time without a check of the files. Checks are a second or an attempt apart; after a longer time something
/// is wrong.
const LIVELY: Duration = Duration::from_secs(ATTEMPT.as_secs() + 30);

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reloader {
    /// A reloader for the config file at `path`, beside the first generation. `config` is the configuration of that
    /// generation: that of the file, or that of a `rollback`.
    pub(crate) fn new(
        factory: Factory,
        generations: Arc<Generations>,
        path: PathBuf,
        environment: Environment,
        config: &Config,
        rollback: Option<Rollback>,
    ) -> Self {
        let maker = TwinMaker::new(&factory, path.clone(), environment.clone());
        let access = AccessWatch::new(Arc::clone(&generations), maker, config.no_new_access);
        Self {
            factory,
            generations,
            path,
            environment,
            live_environment: Arc::new(Mutex::new(config.environment.clone())),
            fixed: FixedSettings::of(config, false),
            waiting: Mutex::default(),
            upstreams: Upstreams::default(),
            state: config.server.state.clone(),
            rolled_back_to: Mutex::new(rollback.as_ref().map(|rollback| rollback.to)),
            rollback: tokio::sync::Mutex::new(rollback),
            files_changed: Notify::new(),
            asked: Notify::new(),
            progress: watch_channel::Sender::default(),
            unwatched: UnwatchedFiles::default(),
            last: Mutex::default(),
            reloads: Reloads::default(),
            looked_at: Mutex::new(Instant::now()),
            compiling_since: Mutex::default(),
            audit: OperationLog::default(),
            access: Arc::new(access),
        }
    }

    /// Has a reload change these parts as well, which serve `config`.
    #[must_use]
    pub(crate) fn changing(self, config: &Config, parts: Arc<dyn GatewayParts>) -> Self {
        let upstreams = Upstreams { parts: Some(parts), ..self.upstreams };
        let fixed = match config.server.transport {
            Transport::Http => FixedSettings::of(config, true),
            Transport::Stdio => self.fixed,
        };
        Self { upstreams, fixed, ..self }
    }

    /// Has a reload serve in `keys` the keys that `config` names, and the keys of its upstreams.
    #[must_use]
    pub(crate) fn publishing(self, config: &Config, keys: Arc<PublishedKeys>) -> Self {
        let upstreams = Upstreams { keys, ..self.upstreams };
        upstreams.publish(config);
        Self { upstreams, ..self }
    }

    /// Has every change recorded in an audit log.
    #[must_use]
    pub(crate) fn recorded_in(self, audit: OperationLog) -> Self {
        Self { audit, ..self }
    }

    /// Makes a candidate soon, whether a file has changed or not.
    pub(crate) fn look(&self) {
        self.asked.notify_one();
    }

    /// The changes of the written configuration that wait for a restart.
    pub(crate) fn waiting(&self) -> Vec<String> {
        self.waiting.lock().clone()
    }

    /// The time since the last look at the files.
    pub(crate) fn looked_ago(&self) -> Duration {
        self.looked_at.lock().elapsed()
    }

    /// True if the files are being watched. If not, no change takes effect any more.
    pub(crate) fn is_looking(&self) -> bool {
        self.looked_ago() < LIVELY
    }

    /// The result of the last candidate. None: there was no candidate yet.
    pub(crate) fn last(&self) -> Option<Attempt> {
        self.last.lock().clone()
    }

    /// Files whose changes bring no notification.
    pub(crate) fn unwatched(&self) -> &UnwatchedFiles {
        &self.unwatched
    }

    /// The comparison of the access that generations give.
    pub(crate) fn access(&self) -> &AccessWatch {
        &self.access
    }

    /// The counters of candidates.
    pub(crate) fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// The target of the rollback in force.
    pub(crate) fn rolled_back_to(&self) -> Option<u64> {
        *self.rolled_back_to.lock()
    }

    /// Watches for as long as the returned future is polled.
    pub(crate) async fn watch(&self) {
        let mut comparisons = JoinSet::new();
        let environment = Arc::clone(&self.live_environment);
        let access = Arc::clone(&self.access);
        comparisons.spawn(access.run(self.audit.clone(), move || environment.lock().clone()));
        let mut watcher = Watcher::new(&self.unwatched);
        let mut seen = self.generations.live().files().clone();
        let programs = self.environment.programs();
        let mut changes = self.generations.live().secrets().changes();
        let mut retry = Retry::default();
        let mut asked_last = None;
        if self.rollback.lock().await.as_ref().is_some_and(|held| held.restricted) {
            retry.soon();
        }
        loop {
            watcher.watch(&seen.paths());
            // A change between reading the files and watching them is not lost.
            match seen.differ() {
                true => watcher.changed_meanwhile().await,
                false => tokio::select! {
                    () = watcher.changed() => {}
                    () = self.files_changed.notified() => seen.extend(self.generations.live().files().clone()),
                    () = self.factory.compiled() => retry.soon(),
                    () = self.asked.notified() => retry.soon_after(asked_last.map(|last| last + ASKED_PAUSE)),
                    () = retry.due() => {}
                },
            }
            *self.looked_at.lock() = Instant::now();
            programs.tend();
            let before = std::mem::replace(&mut changes, programs.changes());
            if retry.is_due() || seen.differ() || changes != before {
                let started = Instant::now();
                asked_last = Some(started);
                self.progress.send_modify(AttemptProgress::begin);
                let attempt = self.attempt(started, seen.renewed());
                match timeout(ATTEMPT, Box::pin(attempt)).await {
                    Ok(AttemptResult { files, may_pass, is_compiling }) => {
                        seen = files;
                        if !is_compiling {
                            self.progress.send_modify(AttemptProgress::end);
                        }
                        match is_compiling && !may_pass {
                            true => retry.hold(),
                            false => retry.after(may_pass, started.elapsed()),
                        }
                    }
                    Err(_) => {
                        tracing::error!(
                            "the change is not applied yet: it took more than {ATTEMPT:?}; it is tried again"
                        );
                        retry.after(true, started.elapsed());
                    }
                }
            }
        }
    }

    /// Makes the successor of the live generation, and flips to it. `files` are the files that were watched until now.
    async fn attempt(&self, started: Instant, mut files: Fingerprints) -> AttemptResult {
        let mut rollback = self.rollback.lock().await;
        if let Some(held) = rollback.as_ref().filter(|held| !held.restricted) {
            match rollback::written(&self.path) {
                Ok(now) if now == held.against && !self.access.has_allowance() => {
                    return self.renew(started, files).await;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(
                        "cannot tell whether the files have changed; the rollback stays: {error}"
                    );
                    return AttemptResult { may_pass: true, ..self.renew(started, files).await };
                }
            }
        }
        let (config, faults) = match self.written(&mut files) {
            Ok(written) => written,
            Err(reasons) => {
                let may_pass = reasons.iter().any(|reason| reason.may_pass);
                if !may_pass {
                    self.hold_against_files(&mut rollback, false);
                }
                self.refuse(&reasons, None, started.elapsed());
                self.note(started, Err(reasons));
                let renewed = self.renew(started, files).await;
                return AttemptResult { may_pass: renewed.may_pass || may_pass, ..renewed };
            }
        };
        let mut successor = self.factory.successor(&config, &self.generations.live(), None).await;
        let started = self.start_of_change(started, successor.is_compiling());
        if let Some(reason) = self.guard(&mut successor, &config).await {
            files.extend(successor.files);
            return self.refuse_widening(reason, started, files, &mut rollback).await;
        }
        let taken = self.take(successor, started, None, &config);
        let SuccessorResult { live, mut reasons, mut may_pass, is_compiling, is_refused, files: looked_at } =
            taken;
        files.extend(looked_at);
        may_pass |= faults.iter().any(|fault| fault.may_pass);
        reasons.extend(faults);
        if is_compiling {
            self.refuse(&reasons, live.as_deref(), started.elapsed());
            // The end of the compilation decides about the change.
            return AttemptResult { files, may_pass, is_compiling };
        }
        let has_taken_over = live.as_ref().is_some_and(|live| live.takes_over());
        if reasons.is_empty() || has_taken_over {
            self.end_rollback(&mut rollback);
        } else if !may_pass {
            self.hold_against_files(&mut rollback, live.is_some());
        }
        self.refuse(&reasons, live.as_deref(), started.elapsed());
        let outcome = match live {
            Some(live) if reasons.is_empty() => {
                self.environment.programs().forget_unasked(started);
                files = live.files().clone();
                Ok(live.number())
            }
            _ => Err(reasons),
        };
        self.note(started, outcome);
        if is_refused {
            let renewed = self.renew(started, files).await;
            return AttemptResult { may_pass: renewed.may_pass || may_pass, ..renewed };
        }
        AttemptResult { files, may_pass, is_compiling }
    }

    /// The time at which a change was first seen, also if its component has been compiling since.
    fn start_of_change(&self, now: Instant, is_compiling: bool) -> Instant {
        let mut since = self.compiling_since.lock();
        let started = since.unwrap_or(now);
        *since = is_compiling.then_some(started);
        started
    }

    /// Rebuilds the live generation from its own recipe and today's data: a key that is revoked is then refused also
    /// while the configuration is broken, or rolled back.
    async fn renew(&self, started: Instant, mut files: Fingerprints) -> AttemptResult {
        let live = self.generations.live();
        let mut may_pass = false;
        if live.has_new_data() || live.is_stale() {
            let loaded = self.read(live.recipe().config(), Strictness::Parts);
            let warnings = loaded.iter().flat_map(|loaded| &loaded.warnings);
            warnings.for_each(|warning| tracing::warn!("{warning}"));
            match usable(loaded) {
                Ok((config, _)) => {
                    let successor = self.factory.successor(&config, &live, Some(live.recipe())).await;
                    let taken = self.take(successor, started, Some(live.origin()), &config);
                    self.refuse(&taken.reasons, taken.live.as_deref(), started.elapsed());
                    may_pass = taken.may_pass;
                    files.extend(taken.files);
                }
                Err(reasons) => {
                    may_pass = reasons.iter().any(|reason| reason.may_pass);
                    self.refuse(&reasons, None, started.elapsed());
                }
            }
        }
        files.extend(self.generations.live().files().renewed());
        AttemptResult { files, may_pass, is_compiling: false }
    }

    /// Flips to a successor, if there is one. `origin` is the generation that it repeats.
    fn take(
        &self,
        successor: Successor,
        started: Instant,
        origin: Option<u64>,
        config: &Config,
    ) -> SuccessorResult {
        let is_compiling = successor.is_compiling();
        let Successor { generation, errors, files } = successor;
        let errors = errors.into_iter().filter(|error| error.cause != Cause::Compiling);
        let errors: Vec<_> = errors.collect();
        let mut may_pass = errors.iter().any(|error| error.cause.may_pass());
        let is_unchanged = errors.is_empty();
        let mut reasons: Vec<_> = errors.into_iter().map(RefusalReason::from).collect();
        let (live, refused) = match generation.map(|next| next.repeating(origin)) {
            None => {
                // The live generation is what the files say, but a file of the network may have other contents.
                if is_unchanged && !is_compiling {
                    self.factory.ways().take(config.network.as_ref());
                }
                (None, Vec::new())
            }
            Some(next) => match self.prepare(config, &next) {
                Ok(parts) => (Some(self.flip((next, parts), config, started)), Vec::new()),
                // A revocation never waits for a listener or an upstream.
                Err(reasons) if origin.is_some() => (Some(self.flip((next, None), config, started)), reasons),
                Err(reasons) => (None, reasons),
            },
        };
        let is_refused = live.is_none() && !refused.is_empty();
        reasons.extend(refused);
        if !is_refused {
            may_pass |= self.renew_upstreams(config, live.as_ref().unwrap_or(&self.generations.live()));
        }
        SuccessorResult { live, reasons, may_pass, is_compiling, is_refused, files }
    }

    /// Makes the parts that `next` needs beside its policies. Nothing of them is in use yet.
    fn prepare(
        &self,
        config: &Config,
        next: &Generation,
    ) -> Result<Option<Box<dyn PreparedParts>>, Vec<RefusalReason>> {
        let Some(parts) = &self.upstreams.parts else {
            return match next.pipelines().get(self.generations.live().pipelines().len()) {
                None => Ok(None),
                Some(added) => Err(vec![RefusalReason::of_configuration(format!(
                    "needs a restart: other settings of the upstream `{}`",
                    added.upstream
                ))]),
            };
        };
        let prepared = Arc::clone(parts).prepare(config, next);
        let reasons =
            |reasons: Vec<String>| reasons.into_iter().map(RefusalReason::of_configuration).collect();
        prepared.map(Some).map_err(reasons)
    }

    fn flip(
        &self,
        (candidate, parts): (Generation, Option<Box<dyn PreparedParts>>),
        config: &Config,
        started: Instant,
    ) -> Arc<Generation> {
        let before = self.generations.live();
        let live = match parts {
            Some(parts) => parts.take_over(Box::new(|| self.generations.flip(candidate))),
            None => self.generations.flip(candidate),
        };
        self.factory.ways().take(config.network.as_ref());
        self.generations.keep(config.server.keep_generations);
        *self.live_environment.lock() = config.environment.clone();
        config.secrets.remember_store();
        self.factory.tidy(&self.generations);
        self.reloads.flipped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.report(&before, &live, started.elapsed());
        self.access.flipped(&before, &live, config.no_new_access);
        live
    }

    /// The configuration as it is written.
    fn written(&self, files: &mut Fingerprints) -> Result<(Config, Vec<RefusalReason>), Vec<RefusalReason>> {
        let (config, faults) = usable(resolve::load_parts(&self.path, &self.environment, Strictness::Parts))?;
        let obstacles = self.obstacles(&config);
        self.note_waiting(&obstacles);
        if !obstacles.is_empty() {
            files.extend(config.files.clone());
            return Err(obstacles.into_iter().map(RefusalReason::of_configuration).collect());
        }
        // These files are watched for a candidate that fails, too, because the repair of the file that it names must
        // be seen.
        config.policies.values().flat_map(|policy| policy.written()).for_each(|file| files.note(&file));
        files.extend(config.files.clone());
        Ok((config, faults))
    }

    /// The changes in `config` that need a restart.
    fn obstacles(&self, config: &Config) -> Vec<String> {
        self.fixed.obstacles(&FixedSettings::of(config, self.fixed.follows))
    }

    fn note_waiting(&self, now: &[String]) {
        let mut waiting = self.waiting.lock();
        if *waiting != now {
            *waiting = now.to_vec();
        }
    }

    fn renew_upstreams(&self, config: &Config, live: &Generation) -> bool {
        self.upstreams.renew(config, live, |text| self.read(text, Strictness::Parts))
    }

    fn read(&self, text: &str, strictness: Strictness) -> Result<LoadedConfig, Vec<Diagnostic>> {
        let last = self.live_environment.lock().clone();
        // A rollback that somebody asks for fails with the fault instead.
        let last = Some(&last).filter(|_| strictness == Strictness::Parts);
        resolve::load_text_parts(&self.path, text, &self.environment, last, strictness)
    }
}
