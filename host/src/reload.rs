//! From a changed file to a new live generation, or to a reason why not. Runs off the request
//! path; a candidate that fails anywhere leaves the live generation as it is.

pub mod certificates;
pub mod rollback;
pub mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use witgate_plugin::Digest;

use crate::config::Config;
use crate::config::diagnostic::Diagnostic;
use crate::config::environment::Environment;
use crate::config::resolve;
use crate::digest::digest_text;
use crate::fingerprints::Fingerprints;
use crate::generation::{Factory, Generation, Generations, Recipe};
use crate::policy::PolicyError;

use self::rollback::Rollback;
use self::watch::{Unwatched, Watcher};

/// What became of the last candidate.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it was made.
    pub at: SystemTime,
    /// How long it took, from the first sign of a change.
    pub took: Duration,
    /// The number of the generation that went live, or why none did.
    pub outcome: Result<u64, Vec<Refused>>,
}

/// A reason why a candidate was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The policy that it is about. None: the configuration as a whole.
    pub policy: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.policy {
            Some(policy) => write!(f, "policy `{policy}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<PolicyError> for Refused {
    fn from(error: PolicyError) -> Self {
        Self { policy: Some(error.policy), message: error.message }
    }
}

fn of_config(message: String) -> Refused {
    Refused { policy: None, message }
}

/// Makes and flips candidates.
#[derive(Debug)]
pub struct Reloader {
    factory: Factory,
    generations: Arc<Generations>,
    path: PathBuf,
    environment: Environment,
    /// Names of the upstreams, in the order that the routes count them.
    upstreams: Vec<String>,
    /// What a restart alone can change.
    fixed: String,
    /// Where a rollback is kept over a restart.
    state: Option<PathBuf>,
    /// The rollback that is in force. Whoever makes a candidate holds it, so that it is one at a time.
    rollback: tokio::sync::Mutex<Option<Rollback>>,
    /// Which generation that went back to, for those who only look.
    rolled_back_to: Mutex<Option<u64>>,
    /// Other files are to be watched.
    files_changed: Notify,
    /// Files whose changes bring no notification.
    unwatched: Unwatched,
    last: Mutex<Option<Attempt>>,
    reloads: Reloads,
}

/// How candidates have fared.
#[derive(Debug, Default)]
pub struct Reloads {
    /// Went live.
    pub flipped: std::sync::atomic::AtomicU64,
    /// Did not.
    pub refused: std::sync::atomic::AtomicU64,
}

/// A rollback that was done.
#[derive(Clone, Debug)]
pub struct RolledBack {
    /// The generation that was gone back to.
    pub to: u64,
    /// The generation that repeats it, and is live.
    pub live: u64,
    /// Why it ends with the process. None: it survives a restart.
    pub unkept: Option<String>,
}

impl Reloader {
    /// A reloader for the config file at `path`, beside the first generation of `config`, which may be what a
    /// `rollback` has made it.
    pub fn new(
        factory: Factory,
        generations: Arc<Generations>,
        path: PathBuf,
        environment: Environment,
        config: &Config,
        rollback: Option<Rollback>,
    ) -> Self {
        let upstreams = config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        Self {
            factory,
            generations,
            path,
            environment,
            upstreams,
            fixed: fixed(config),
            state: config.server.state.clone(),
            rolled_back_to: Mutex::new(rollback.as_ref().map(|rollback| rollback.to)),
            rollback: tokio::sync::Mutex::new(rollback),
            files_changed: Notify::new(),
            unwatched: Unwatched::default(),
            last: Mutex::default(),
            reloads: Reloads::default(),
        }
    }

    /// What became of the last candidate. None: there was none yet.
    pub fn last(&self) -> Option<Attempt> {
        lock(&self.last).clone()
    }

    /// Files whose changes bring no notification.
    pub fn unwatched(&self) -> &Unwatched {
        &self.unwatched
    }

    /// How candidates have fared.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// The generation that a rollback, which is in force, has gone back to.
    pub fn rolled_back_to(&self) -> Option<u64> {
        *lock(&self.rolled_back_to)
    }

    /// Watches for as long as the returned future is polled.
    pub async fn watch(&self) {
        let mut watcher = Watcher::new(&self.unwatched);
        let mut seen = self.generations.live().files().clone();
        loop {
            watcher.watch(&seen.paths());
            // What changed between reading the files and watching them is not lost.
            match seen.differ() {
                true => watcher.changed_meanwhile().await,
                false => tokio::select! {
                    () = watcher.changed() => {}
                    () = self.files_changed.notified() => {
                        seen.extend(self.generations.live().files().clone());
                    }
                },
            }
            if seen.differ() {
                let begun = Instant::now();
                seen = self.attempt(begun, seen.renewed()).await;
            }
        }
    }

    /// Makes a candidate and flips to it. Returns the files to watch from now on, as they were when
    /// they were last looked at; `files` are those until now.
    async fn attempt(&self, begun: Instant, mut files: Fingerprints) -> Fingerprints {
        let mut rollback = self.rollback.lock().await;
        if let Some(held) = &*rollback
            && held.against == self.written().await
        {
            if let Err(reasons) = self.renew(begun).await {
                self.refuse(&reasons);
            }
            files.extend(self.generations.live().files().renewed());
            return files;
        }
        let outcome = self.candidate(&mut files).await;
        let outcome = match outcome {
            Ok(candidate) => {
                if let Some(held) = rollback.take() {
                    tracing::info!(
                        "the files have changed, so the rollback to generation {} is over",
                        held.to
                    );
                    self.forget_rollback();
                }
                let live = self.flip(candidate, begun);
                files = live.files().clone();
                Ok(live.number())
            }
            Err(reasons) => {
                if let Some(held) = &mut *rollback {
                    // Nothing better has come, so that it also holds against this.
                    held.against = self.written().await;
                    self.keep_rollback(held);
                }
                self.refuse(&reasons);
                // That this fails for the same reason need not be said twice.
                let _ = self.renew(begun).await;
                Err(reasons)
            }
        };
        let attempt = Attempt { at: SystemTime::now(), took: begun.elapsed(), outcome };
        *lock(&self.last) = Some(attempt);
        files
    }

    /// Goes back to the generation `to`; none named: to the last one that was made from something else. Its
    /// configuration and its components come back; key stores, key sets and secrets stay as they are now. It holds
    /// until the configuration or a component changes again, and over a restart.
    ///
    /// # Errors
    /// With why that is not possible; the live generation stays.
    pub async fn roll_back(&self, to: Option<u64>) -> Result<RolledBack, String> {
        let begun = Instant::now();
        let mut rollback = self.rollback.lock().await;
        let target = self.generations.earlier(to).ok_or_else(|| self.nothing_to_go_back_to(to))?;
        let candidate = self.repeat(&target.recipe, target.origin).await.map_err(|reasons| {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            format!("generation {} cannot be made again: {}", target.number, reasons.join("; "))
        })?;
        let live = self.flip(candidate, begun);
        tracing::warn!(generation = live.number(), "rolled back to generation {}", target.origin);
        let against = self.written().await;
        let mut unkept = None;
        if against == target.recipe {
            // This is what the files say: there is nothing to hold.
            *rollback = None;
            self.forget_rollback();
        } else {
            let held = Rollback { to: target.origin, recipe: target.recipe, against };
            unkept = self.keep_rollback(&held);
            *rollback = Some(held);
        }
        self.files_changed.notify_one();
        Ok(RolledBack { to: target.origin, live: live.number(), unkept })
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
            None => "there is no earlier generation that was made from something else".to_owned(),
        }
    }

    fn flip(&self, candidate: Generation, begun: Instant) -> Arc<Generation> {
        let before = self.generations.live();
        let live = self.generations.flip(candidate);
        self.factory.tidy(&self.generations.kept());
        self.reloads.flipped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        report(&before, &live, begun.elapsed());
        live
    }

    fn refuse(&self, reasons: &[Refused]) {
        // What was compiled for it is of no use to anybody.
        self.factory.tidy(&self.generations.kept());
        self.reloads.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for reason in reasons {
            tracing::error!(
                live = self.generations.live().number(),
                "the change was not taken, and the live generation stays: {reason}"
            );
        }
    }

    /// What the live generation was made from stays, and what else it reads is taken as it is now: a key that is
    /// revoked is revoked also while the configuration is broken, or rolled back.
    async fn renew(&self, begun: Instant) -> Result<(), Vec<Refused>> {
        let live = self.generations.live();
        if live.has_new_data() {
            let candidate = self.repeat(live.recipe(), live.origin()).await?;
            self.flip(candidate, begun);
        }
        Ok(())
    }

    async fn candidate(&self, files: &mut Fingerprints) -> Result<Generation, Vec<Refused>> {
        let config = self.usable(resolve::load(Some(&self.path), &self.environment))?;
        if fixed(&config) != self.fixed {
            tracing::warn!(
                "[server] and where upstreams are change with a restart only; the rest of the change is judged now"
            );
        }
        // Also of a candidate that fails: mending the file that it names has to be seen.
        config.policies.values().flat_map(|policy| policy.written()).for_each(|file| files.note(&file));
        files.extend(config.files.clone());
        let live = self.generations.live();
        self.factory.candidate(&config, Some(&live)).await.map_err(|errors| {
            for error in &errors {
                files.extend(error.files.clone());
            }
            errors.into_iter().map(Refused::from).collect()
        })
    }

    async fn repeat(&self, recipe: &Recipe, origin: u64) -> Result<Generation, Vec<Refused>> {
        let config = self.usable(resolve::load_text(&self.path, recipe.config(), &self.environment))?;
        let live = self.generations.live();
        let repeated = self.factory.repeat(&config, Some(&live), recipe, origin).await;
        repeated.map_err(|errors| errors.into_iter().map(Refused::from).collect())
    }

    fn usable(&self, loaded: Result<resolve::Loaded, Vec<Diagnostic>>) -> Result<Config, Vec<Refused>> {
        let loaded = loaded.map_err(|faults| {
            let errors = faults.iter().filter(|fault| fault.is_error());
            errors.map(|fault| of_config(fault.to_string())).collect::<Vec<_>>()
        })?;
        let mut config = loaded.config;
        self.keep_order(&mut config)?;
        Ok(config)
    }

    /// What the files say: the configuration, and the components of its policies.
    async fn written(&self) -> Recipe {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || rollback::written(&path)).await.unwrap_or_default()
    }

    fn keep_rollback(&self, rollback: &Rollback) -> Option<String> {
        *lock(&self.rolled_back_to) = Some(rollback.to);
        let state = self.state.as_ref()?;
        let error = rollback.write(state).err()?;
        let message =
            format!("it ends with this process, because {} cannot be written: {error}", state.display());
        tracing::error!("the rollback does not survive a restart: {message}");
        Some(message)
    }

    fn forget_rollback(&self) {
        *lock(&self.rolled_back_to) = None;
        if let Some(Err(error)) = self.state.as_ref().map(|state| Rollback::remove(state)) {
            tracing::error!("the rollback that is over cannot be removed: {error}");
        }
    }

    /// Upstreams and listeners are made at the start. A change there has to wait for the next.
    fn keep_order(&self, config: &mut Config) -> Result<(), Vec<Refused>> {
        let place = |name: &str| self.upstreams.iter().position(|known| known == name);
        config.upstreams.sort_by_key(|upstream| place(&upstream.name));
        let same = config.upstreams.iter().map(|upstream| &upstream.name).eq(&self.upstreams);
        if same {
            return Ok(());
        }
        let message = "upstreams were added, removed or renamed, which takes a restart; nothing of this change is in force";
        Err(vec![of_config(message.to_owned())])
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is made once, at the start: listeners and upstreams. Secrets in it do not print, so a changed
/// one is not seen here.
fn fixed(config: &Config) -> String {
    let upstreams: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| (&upstream.path, &upstream.resource, &upstream.target, upstream.timeout))
        .collect();
    format!("{:?} {upstreams:?}", config.server)
}

/// Says what is new: for each component whose content changed, the old and the new digest.
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
