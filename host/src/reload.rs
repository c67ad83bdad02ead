//! Makes a new live generation from a changed file, or reports why there is none. It runs off the request path; a
//! candidate that fails anywhere leaves the live generation as it is.

pub(crate) mod certificates;
mod retry;
pub(crate) mod rollback;
mod upstreams;
pub(crate) mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;
use witgate_plugin::Digest;

use crate::operation::{OperationLog, Requester};
use witgate_base::cause::Cause;
use witgate_base::clock;
use witgate_base::digest::digest_text;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::signing::PublishedKeys;
use witgate_cases::factory::{Factory, Successor};
use witgate_config::Config;
use witgate_config::diagnostic::{Diagnostic, Part};
use witgate_config::environment::Environment;
use witgate_config::resolve::{self, LoadedConfig, Strictness};
use witgate_policy::PolicyError;
use witgate_policy::generation::{Generation, Generations, Recipe};
use witgate_upstream::renewal::Renewable;

use self::retry::Retry;
use self::rollback::Rollback;
use self::upstreams::{FixedSettings, Upstreams};
use self::watch::{UnwatchedFiles, Watcher};

/// The result of the last candidate.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The time of the attempt.
    pub at: SystemTime,
    /// The time that it took, from the first sign of a change.
    pub took: Duration,
    /// The number of the generation that went live, or the reasons why none did.
    pub outcome: Result<u64, Vec<RefusalReason>>,
}

/// A reason why a candidate was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusalReason {
    /// The policy that the reason is about. None: the configuration as a whole.
    pub policy: Option<String>,
    /// The error, with advice.
    pub message: String,
    /// True if the machine is at fault, so that Witgate tries the same again.
    pub may_pass: bool,
}

impl std::fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.policy {
            Some(policy) => write!(f, "policy `{policy}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<PolicyError> for RefusalReason {
    fn from(error: PolicyError) -> Self {
        Self { policy: Some(error.policy), message: error.message, may_pass: error.cause.may_pass() }
    }
}

impl From<&Diagnostic> for RefusalReason {
    fn from(fault: &Diagnostic) -> Self {
        Self { policy: None, message: fault.to_string(), may_pass: fault.may_pass() }
    }
}

/// The end of an attempt.
struct AttemptResult {
    /// The files to watch from now on.
    files: Fingerprints,
    /// True if the machine is at fault for a failure.
    may_pass: bool,
    /// True if a component is being compiled, so that another attempt follows.
    is_compiling: bool,
}

/// Makes candidates, and flips to them.
#[derive(Debug)]
pub(crate) struct Reloader {
    factory: Factory,
    generations: Arc<Generations>,
    path: PathBuf,
    environment: Environment,
    /// The variables of the live generation. They count for it also while `server.env_file` has a fault.
    live_environment: Mutex<Environment>,
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
}

/// Time limit for an attempt: a few seconds for each policy that is slow to configure. No attempt compiles anything.
const ATTEMPT: Duration = Duration::from_secs(120);

/// Longest time without a check of the files. Checks are a second or an attempt apart; after a longer time something
/// is wrong.
const LIVELY: Duration = Duration::from_secs(ATTEMPT.as_secs() + 30);

/// The counters of candidates.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    /// Candidates that went live.
    pub flipped: std::sync::atomic::AtomicU64,
    /// Candidates that were refused.
    pub refused: std::sync::atomic::AtomicU64,
}

/// A rollback that was done.
#[derive(Clone, Debug)]
pub(crate) struct RollbackResult {
    /// The target of the rollback.
    pub to: u64,
    /// The generation that repeats it, and is live.
    pub live: u64,
    /// The reason why the rollback ends with the process. None: it survives a restart.
    pub unkept: Option<String>,
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
        Self {
            factory,
            generations,
            path,
            environment,
            live_environment: Mutex::new(config.environment.clone()),
            fixed: FixedSettings::of(config),
            waiting: Mutex::default(),
            upstreams: Upstreams::default(),
            state: config.server.state.clone(),
            rolled_back_to: Mutex::new(rollback.as_ref().map(|rollback| rollback.to)),
            rollback: tokio::sync::Mutex::new(rollback),
            files_changed: Notify::new(),
            asked: Notify::new(),
            unwatched: UnwatchedFiles::default(),
            last: Mutex::default(),
            reloads: Reloads::default(),
            looked_at: Mutex::new(Instant::now()),
            compiling_since: Mutex::default(),
            audit: OperationLog::default(),
        }
    }

    /// Has a reload renew these upstreams as well.
    #[must_use]
    pub(crate) fn renewing(self, upstreams: Vec<Renewable>) -> Self {
        let keys = self.upstreams.keys;
        Self { upstreams: Upstreams { all: upstreams, keys }, ..self }
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
        let mut watcher = Watcher::new(&self.unwatched);
        let mut seen = self.generations.live().files().clone();
        let programs = self.environment.programs();
        let mut changes = self.generations.live().secrets().changes();
        let mut retry = Retry::default();
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
                    () = self.asked.notified() => retry.soon(),
                    () = retry.due() => {}
                },
            }
            *self.looked_at.lock() = Instant::now();
            programs.tend();
            let before = std::mem::replace(&mut changes, programs.changes());
            if retry.is_due() || seen.differ() || changes != before {
                let started = Instant::now();
                let attempt = self.attempt(started, seen.renewed());
                match timeout(ATTEMPT, Box::pin(attempt)).await {
                    Ok(AttemptResult { files, may_pass, is_compiling }) => {
                        seen = files;
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
                Ok(now) if now == held.against => return self.renew(started, files).await,
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
        let successor = self.factory.successor(&config, &self.generations.live(), None).await;
        let started = self.start_of_change(started, successor.is_compiling());
        let taken = self.take(successor, started, None, &config);
        let SuccessorResult { live, mut reasons, mut may_pass, is_compiling, files: looked_at } = taken;
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
        let reasons: Vec<_> = errors.into_iter().map(RefusalReason::from).collect();
        let live = generation.map(|next| self.flip(next.repeating(origin), config, started));
        may_pass |= self.renew_upstreams(config, live.as_ref().unwrap_or(&self.generations.live()));
        SuccessorResult { live, reasons, may_pass, is_compiling, files }
    }

    fn note(&self, started: Instant, outcome: Result<u64, Vec<RefusalReason>>) {
        *self.last.lock() = Some(Attempt { at: clock::system_time(), took: started.elapsed(), outcome });
    }

    /// Keeps the rollback in force, also against the present content of the files. To be called when the files have
    /// changed and no candidate is better.
    fn hold_against_files(&self, rollback: &mut Option<Rollback>, restricted: bool) {
        let Some(held) = rollback else { return };
        // Files that cannot be read now still differ from the recipe that the rollback overrides, and are checked
        // again.
        if let Ok(now) = rollback::written(&self.path) {
            held.against = now;
            held.restricted = restricted;
            self.keep_rollback(held);
        }
    }

    fn end_rollback(&self, rollback: &mut Option<Rollback>) {
        if let Some(held) = rollback.take() {
            tracing::info!("the files have changed, so the rollback to generation {} is over", held.to);
            self.forget_rollback();
        }
    }

    /// Goes back to the generation `to`, or without a number to the most recent one with different inputs. Its
    /// configuration and its components come back; key stores, key sets and secrets stay as they are now. The rollback
    /// holds until the configuration or a component changes again, and it survives a restart.
    ///
    /// # Errors
    /// With the reason why the rollback is not possible; the live generation stays.
    pub(crate) async fn roll_back(&self, to: Option<u64>, by: Requester) -> Result<RollbackResult, String> {
        let started = Instant::now();
        if let Some(target) = self.generations.earlier(to) {
            // Before the lock, because a revocation is an attempt as well and must not wait.
            self.factory.prepare(&target.recipe).await;
        }
        let mut rollback = self.rollback.lock().await;
        let target = self.generations.earlier(to).ok_or_else(|| self.nothing_to_go_back_to(to))?;
        let (candidate, config) = self.repeat(&target.recipe, target.origin).await.map_err(|reasons| {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            format!("generation {} cannot be made again: {}", target.number, reasons.join("; "))
        })?;
        let against = rollback::written(&self.path).map_err(|error| {
            format!(
                "the files cannot be read, so a later change of them could not be noticed: {error}; try again"
            )
        })?;
        let live = self.flip(candidate, &config, started);
        self.renew_upstreams(&config, &live);
        tracing::warn!(generation = live.number(), "rolled back to generation {}", target.origin);
        self.audit.rolled_back(target.origin, live.number(), by);
        let mut unkept = None;
        if against == *target.recipe {
            // The target is what the files say: there is nothing to hold.
            *rollback = None;
            self.forget_rollback();
        } else {
            let recipe = Recipe::clone(&target.recipe);
            let held = Rollback { to: target.origin, recipe, against, restricted: false };
            unkept = self.keep_rollback(&held);
            *rollback = Some(held);
        }
        self.files_changed.notify_one();
        Ok(RollbackResult { to: target.origin, live: live.number(), unkept })
    }

    fn nothing_to_go_back_to(&self, to: Option<u64>) -> String {
        let numbers: Vec<_> = self.generations.kept().iter().map(|kept| kept.number.to_string()).collect();
        match to {
            Some(to) => {
                format!(
                    "generation {to} is not kept; there are {} (`witgate plugin list`)",
                    numbers.join(", ")
                )
            }
            None => "there is no earlier generation with other inputs".to_owned(),
        }
    }

    fn flip(&self, candidate: Generation, config: &Config, started: Instant) -> Arc<Generation> {
        let before = self.generations.live();
        let live = self.generations.flip(candidate);
        *self.live_environment.lock() = config.environment.clone();
        config.secrets.remember_store();
        self.factory.tidy(&self.generations);
        self.reloads.flipped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        report(&before, &live, started.elapsed());
        self.audit.reloaded(&before, &live, started.elapsed());
        live
    }

    /// Logs why a change was refused, or, if there is a `live` generation made from it, which parts of the change
    /// were.
    fn refuse(&self, reasons: &[RefusalReason], live: Option<&Generation>, took: Duration) {
        if reasons.is_empty() {
            return;
        }
        // Nobody uses the code that was compiled for the refused change.
        self.factory.tidy(&self.generations);
        self.reloads.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.has_said(reasons) {
            return;
        }
        let texts: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        self.audit.reload_refused(&self.generations.live(), &texts, took);
        for reason in reasons {
            match live {
                None => tracing::error!(
                    live = self.generations.live().number(),
                    "the change was not applied; the live generation stays: {reason}"
                ),
                Some(live) => tracing::error!(
                    live = live.number(),
                    "the change was not applied completely: {reason}; the pipelines with that policy allow no more than before"
                ),
            }
        }
    }

    /// True if the last attempt failed for the same reasons: Witgate tries it again and again, and logs it once.
    fn has_said(&self, reasons: &[RefusalReason]) -> bool {
        let last = self.last.lock();
        let said = last.as_ref().and_then(|last| last.outcome.as_ref().err());
        said.is_some_and(|said| reasons.iter().all(|reason| reason.may_pass && said.contains(reason)))
    }

    /// The configuration as it is written.
    fn written(&self, files: &mut Fingerprints) -> Result<(Config, Vec<RefusalReason>), Vec<RefusalReason>> {
        let (config, mut faults) =
            usable(resolve::load_parts(&self.path, &self.environment, Strictness::Parts))?;
        let now = FixedSettings::of(&config);
        if let Some(message) = self.fixed.obstacle(&now) {
            files.extend(config.files.clone());
            return Err(vec![RefusalReason { policy: None, message, may_pass: false }]);
        }
        self.note_waiting(self.fixed.waiting(&now));
        faults.extend(other_upstreams(&config, &self.generations.live()));
        // These files are watched for a candidate that fails, too, because the repair of the file that it names must
        // be seen.
        config.policies.values().flat_map(|policy| policy.written()).for_each(|file| files.note(&file));
        files.extend(config.files.clone());
        Ok((config, faults))
    }

    fn note_waiting(&self, now: Vec<String>) {
        let mut waiting = self.waiting.lock();
        if *waiting != now {
            now.iter().for_each(|what| tracing::warn!("needs a restart: {what}"));
            *waiting = now;
        }
    }

    fn renew_upstreams(&self, config: &Config, live: &Generation) -> bool {
        self.upstreams.renew(config, live, |text| self.read(text, Strictness::Parts))
    }

    /// The configuration of an earlier recipe.
    fn recovered(&self, recipe: &Recipe, strictness: Strictness) -> Result<Config, Vec<RefusalReason>> {
        let (config, _) = usable(self.read(recipe.config(), strictness))?;
        match self.fixed.obstacle(&FixedSettings::of(&config)) {
            Some(message) => Err(vec![RefusalReason { policy: None, message, may_pass: false }]),
            None => Ok(config),
        }
    }

    fn read(&self, text: &str, strictness: Strictness) -> Result<LoadedConfig, Vec<Diagnostic>> {
        let last = self.live_environment.lock().clone();
        // A rollback that somebody asks for fails with the fault instead.
        let last = Some(&last).filter(|_| strictness == Strictness::Parts);
        resolve::load_text_parts(&self.path, text, &self.environment, last, strictness)
    }

    /// Makes a generation again, with all its parts.
    async fn repeat(&self, recipe: &Recipe, origin: u64) -> Result<(Generation, Config), Vec<RefusalReason>> {
        let mut config = self.recovered(recipe, Strictness::Whole)?;
        let live = self.generations.live();
        in_order(&mut config, &live)?;
        let repeated = self.factory.repeat(&config, Some(&live), recipe, origin).await;
        let repeated =
            repeated.map_err(|errors| errors.into_iter().map(RefusalReason::from).collect::<Vec<_>>())?;
        Ok((repeated, config))
    }

    fn keep_rollback(&self, rollback: &Rollback) -> Option<String> {
        *self.rolled_back_to.lock() = Some(rollback.to);
        let state = self.state.as_ref()?;
        let error = rollback.write(state).err()?;
        let message =
            format!("it ends with this process, because {} cannot be written: {error}", state.display());
        tracing::error!("the rollback does not survive a restart: {message}");
        Some(message)
    }

    fn forget_rollback(&self) {
        *self.rolled_back_to.lock() = None;
        if let Some(Err(error)) = self.state.as_ref().map(|state| Rollback::remove(state)) {
            tracing::error!("cannot remove the state of the former rollback: {error}");
        }
    }
}

/// The result of a successor.
struct SuccessorResult {
    live: Option<Arc<Generation>>,
    reasons: Vec<RefusalReason>,
    may_pass: bool,
    /// True if a component is being compiled, so that another attempt follows.
    is_compiling: bool,
    files: Fingerprints,
}

/// The configuration, and the faults of parts of it.
fn usable(
    loaded: Result<LoadedConfig, Vec<Diagnostic>>,
) -> Result<(Config, Vec<RefusalReason>), Vec<RefusalReason>> {
    let reasons = |faults: &[Diagnostic]| {
        faults.iter().filter(|fault| fault.is_error()).map(RefusalReason::from).collect()
    };
    match loaded {
        Ok(LoadedConfig { config, mut faults, .. }) => {
            // The faults of a policy are reported when it is to be made. One without a kind is never made.
            let is_to_be_made = |name: &String| config.policies.contains_key(name);
            faults.retain(|fault| !matches!(fault.part(), Some(Part::Policy(name)) if is_to_be_made(name)));
            Ok((config, reasons(&faults)))
        }
        Err(faults) => Err(reasons(&faults)),
    }
}

/// Removed and added upstreams, as reasons. Upstreams are made at the start: a removed one is closed at once; an added
/// one waits for the next start.
fn other_upstreams(config: &Config, live: &Generation) -> Vec<RefusalReason> {
    let is_written = |name: &str| {
        config.broken.upstreams.contains(name) || config.upstreams.iter().any(|written| written.name == name)
    };
    let runs = |name: &str| live.pipelines().iter().any(|pipeline| &*pipeline.upstream == name);
    let removed =
        live.pipelines().iter().map(|pipeline| &*pipeline.upstream).filter(|name| !is_written(name));
    let removed = removed.map(|name| {
        format!("the upstream `{name}` was removed or renamed, so that its calls are denied until a restart")
    });
    let added = config.upstreams.iter().map(|written| &*written.name).filter(|name| !runs(name));
    let added = added.map(|name| format!("the upstream `{name}` was added, and is served after a restart"));
    removed.chain(added).map(|message| RefusalReason { policy: None, message, may_pass: false }).collect()
}

/// Puts upstreams into the order of the live generation. Upstreams and listeners are made at the start: no rollback
/// returns to a generation with others.
fn in_order(config: &mut Config, live: &Generation) -> Result<(), Vec<RefusalReason>> {
    let running = || live.pipelines().iter().map(|pipeline| &*pipeline.upstream);
    config.upstreams.sort_by_key(|upstream| running().position(|name| name == upstream.name));
    if config.upstreams.iter().map(|upstream| &*upstream.name).eq(running()) {
        return Ok(());
    }
    let message = "its upstreams differ from those that are served, which needs a restart".to_owned();
    Err(vec![RefusalReason { policy: None, message, may_pass: false }])
}

/// Logs the new generation, and for each policy whose component changed the old and the new digest.
fn report(before: &Generation, live: &Generation, took: Duration) {
    let milliseconds = took.as_millis();
    tracing::info!(generation = live.number(), milliseconds, "a new generation is live");
    for policy in live.policies() {
        let old = before.policy(policy.name()).and_then(|old| old.digest());
        let new = policy.digest();
        if old != new {
            let name =
                |digest: Option<Digest>| digest.map_or("built-in".into(), |digest| digest_text(&digest));
            let (old, new) = (name(old), name(new));
            tracing::info!(policy = %policy.name(), generation = live.number(), "swapped {old} → {new}");
        }
    }
}
