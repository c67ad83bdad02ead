//! From a changed file to a new live generation, or to a reason why not. Runs off the request
//! path; a candidate that fails anywhere leaves the live generation as it is.

mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::config::environment::Environment;
use crate::config::{Config, resolve};
use crate::fingerprints::Fingerprints;
use crate::generation::{Factory, Generation, Generations};
use crate::policy::{PolicyError, Source};
use crate::services::digest_text;

use self::watch::Watcher;

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

impl Reloader {
    /// A reloader for the config file at `path`, beside the first generation of `config`.
    pub fn new(
        factory: Factory,
        generations: Arc<Generations>,
        path: PathBuf,
        environment: Environment,
        config: &Config,
    ) -> Self {
        let upstreams = config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        Self {
            factory,
            generations,
            path,
            environment,
            upstreams,
            fixed: fixed(config),
            last: Mutex::default(),
            reloads: Reloads::default(),
        }
    }

    /// What became of the last candidate. None: there was none yet.
    pub fn last(&self) -> Option<Attempt> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How candidates have fared.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Watches for as long as the returned future is polled.
    ///
    /// # Errors
    /// When the machine offers no file notifications.
    pub async fn watch(&self) -> notify::Result<()> {
        let mut watcher = Watcher::new()?;
        let mut seen = self.generations.live().files().clone();
        loop {
            watcher.watch(&seen.paths());
            // What changed between reading the files and watching them is not lost.
            if !seen.differ() && watcher.changed().await.is_none() {
                return Ok(());
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
        let outcome = self.candidate(&mut files).await;
        let outcome = match outcome {
            Ok(candidate) => {
                let before = self.generations.live();
                let live = self.generations.flip(candidate);
                self.factory.tidy(&live);
                self.reloads.flipped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                report(&before, &live, begun.elapsed());
                files = live.files().clone();
                Ok(live.number())
            }
            Err(reasons) => {
                self.reloads.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                for reason in &reasons {
                    tracing::error!(
                        live = self.generations.live().number(),
                        "the change was not taken, and the live generation stays: {reason}"
                    );
                }
                Err(reasons)
            }
        };
        let attempt = Attempt { at: SystemTime::now(), took: begun.elapsed(), outcome };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt);
        files
    }

    async fn candidate(&self, files: &mut Fingerprints) -> Result<Generation, Vec<Refused>> {
        let loaded = resolve::load(Some(&self.path), &self.environment).map_err(|faults| {
            let errors = faults.iter().filter(|fault| fault.is_error());
            errors.map(|fault| of_config(fault.to_string())).collect::<Vec<_>>()
        })?;
        let mut config = loaded.config;
        self.keep_order(&mut config)?;
        if fixed(&config) != self.fixed {
            tracing::warn!(
                "[server] and where upstreams are change with a restart only; the rest of the change is judged now"
            );
        }
        // Also of a candidate that fails: mending the file that it names has to be seen.
        config
            .policies
            .values()
            .filter_map(|policy| policy.component.as_ref())
            .for_each(|file| files.note(file));
        files.extend(config.files.clone());
        let live = self.generations.live();
        self.factory.candidate(&config, Some(&live)).await.map_err(|errors| {
            for error in &errors {
                files.extend(error.files.clone());
            }
            errors.into_iter().map(Refused::from).collect()
        })
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
        let old =
            before.policies().find(|old| old.name() == policy.name()).and_then(|old| digest(old.source()));
        let new = digest(policy.source());
        if old != new {
            let (old, new) =
                (old.unwrap_or_else(|| "built-in".into()), new.unwrap_or_else(|| "built-in".into()));
            tracing::info!(policy = %policy.name(), generation = live.number(), "swapped {old} → {new}");
        }
    }
}

fn digest(source: &Source) -> Option<String> {
    match source {
        Source::Component { digest, .. } => Some(digest_text(digest)),
        Source::Builtin | Source::Fallback { .. } => None,
    }
}
