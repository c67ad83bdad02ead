//! Generations: immutable, fully checked sets of policies. Exactly one is live.

mod history;
mod recipe;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::HeaderName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use witgate_plugin::{Digest, Scheme};

use crate::cause::Cause;
use crate::config::environment::Environment;
use crate::config::{self, Config, Mode};
use crate::fingerprints::Fingerprints;
use crate::plugin::load::Loader;
use crate::plugin::settings::{RemoteKeys, Surroundings};
use crate::policy::{Making, Policy, PolicyError};
use crate::services::Clock;

use history::History;
pub use history::Kept;
pub use recipe::Recipe;

/// One immutable set of compiled policies with their config.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    origin: u64,
    since: SystemTime,
    recipe: Recipe,
    repeats: bool,
    policies: BTreeMap<String, Arc<Policy>>,
    pipelines: Vec<Pipeline>,
    credential_headers: Vec<HeaderName>,
    files: Fingerprints,
    /// Those of them that its recipe holds.
    written: BTreeSet<PathBuf>,
    /// Turns for the policies that are only watched.
    shadows: Arc<Semaphore>,
}

/// Calls that shadows judge at once. Under load they are the first to go without.
const SHADOWS: usize = 32;

/// Who judges the calls of one upstream.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// Authenticators that count, in order.
    pub authenticate: Vec<Arc<Policy>>,
    /// Authorizers that count; every one must allow.
    pub authorize: Vec<Arc<Policy>>,
    /// Authenticators whose verdict is recorded and changes nothing.
    pub shadow_authenticate: Vec<Arc<Policy>>,
    /// Authorizers whose verdict is recorded and changes nothing.
    pub shadow_authorize: Vec<Arc<Policy>>,
    /// Roles of who shows no credential at all. None: such a caller is refused.
    pub anonymous: Option<Vec<String>>,
    /// Nobody is asked for a credential, and one that is shown is not looked at.
    pub unchecked: bool,
}

impl Pipeline {
    /// Whether an authenticator that counts judges credentials of this scheme.
    pub fn judges(&self, scheme: Scheme) -> bool {
        self.authenticate.iter().any(|policy| policy.judges(scheme))
    }

    /// Whether one that is only watched does.
    pub fn watches(&self, scheme: Scheme) -> bool {
        self.shadow_authenticate.iter().any(|policy| policy.judges(scheme))
    }
}

impl Generation {
    /// Its number; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The generation that it repeats; its own number where it repeats none.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// What it was made from.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Whether its components were taken from a recipe, whatever their files were.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// When it was made.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Its policies by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// One of them.
    pub fn policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// The pipeline at a place: the upstream's place in the config. A place without a pipeline
    /// has an empty one, which denies.
    pub fn pipeline(&self, place: usize) -> &Pipeline {
        static EMPTY: Pipeline = Pipeline {
            authenticate: Vec::new(),
            authorize: Vec::new(),
            shadow_authenticate: Vec::new(),
            shadow_authorize: Vec::new(),
            anonymous: None,
            unchecked: false,
        };
        self.pipelines.get(place).unwrap_or(&EMPTY)
    }

    /// Headers that carry credentials, beside `Authorization`, as its policies declared them.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    /// A turn for its shadows. None: they have enough to do.
    pub fn shadow_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shadows).try_acquire_owned().ok()
    }

    /// The files that it was made from, as they were just before: a change of one makes a new
    /// candidate.
    pub fn files(&self) -> &Fingerprints {
        &self.files
    }

    /// Whether a key store, key set or secret has changed since: whatever it was made from and its recipe does not
    /// hold.
    pub fn has_new_data(&self) -> bool {
        self.files.differ_besides(&self.written)
    }
}

/// Makes generations.
#[derive(Debug)]
pub struct Factory {
    loader: Loader,
    remote: RemoteKeys,
    environment: Environment,
    clock: Clock,
}

impl Factory {
    /// A factory that compiles with `loader` and takes secrets from `environment`.
    pub fn new(loader: Loader, environment: Environment, clock: Clock) -> Self {
        Self { loader, remote: RemoteKeys::default(), environment, clock }
    }

    /// Makes a candidate: every policy of `config` that a pipeline uses is compiled, linked,
    /// configured and checked. `live` is the generation that it is to follow; without one, missing
    /// components may fall back to built-ins.
    ///
    /// # Errors
    /// With everything that is wrong, one entry per policy.
    pub async fn candidate(
        &self,
        config: &Config,
        live: Option<&Generation>,
    ) -> Result<Generation, Vec<PolicyError>> {
        self.make(config, live, None).await
    }

    /// Makes a candidate again from `recipe`, whose configuration is `config`: its components are taken whatever
    /// their files are by now, everything else as it is now. `origin` is the generation that was made from it first.
    ///
    /// # Errors
    /// As [`Factory::candidate`].
    pub async fn repeat(
        &self,
        config: &Config,
        live: Option<&Generation>,
        recipe: &Recipe,
        origin: u64,
    ) -> Result<Generation, Vec<PolicyError>> {
        let repeated = self.make(config, live, Some(recipe)).await?;
        Ok(Generation { origin, ..repeated })
    }

    async fn make(
        &self,
        config: &Config,
        live: Option<&Generation>,
        again: Option<&Recipe>,
    ) -> Result<Generation, Vec<PolicyError>> {
        let number = live.map_or(1, |live| live.number + 1);
        let dir = config.dir();
        let making = Making {
            loader: &self.loader,
            around: Surroundings {
                dir: &dir,
                keys: &config.keys,
                remote: &self.remote,
                environment: &self.environment,
                on_stage: false,
            },
            clock: &self.clock,
            live,
            again,
            stage: None,
        };
        let (mut policies, mut files, mut errors) = (BTreeMap::new(), config.files.clone(), Vec::new());
        let mut recipe = Recipe::new(&config.text);
        let mut written: BTreeSet<_> = config.path.iter().cloned().collect();
        for policy in used(config) {
            match Policy::make_rehearsed(policy, making).await {
                Ok((made, from)) => {
                    files.extend(from);
                    written.extend(policy.written());
                    if let (Some(file), Some(digest)) = (&policy.component, made.digest()) {
                        recipe.add(file, &digest);
                    }
                    policies.insert(policy.name.clone(), Arc::new(made));
                }
                Err(error) => errors.push(error),
            }
        }
        let pipelines = config
            .upstreams
            .iter()
            .map(|upstream| Pipeline {
                unchecked: config.auth_disabled,
                ..pipeline(&upstream.pipeline, &policies, &mut errors)
            })
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let credential_headers = policies.values().filter_map(|p| p.credential_header().cloned()).collect();
        let (origin, since) = (number, SystemTime::now());
        let shadows = Arc::new(Semaphore::new(SHADOWS));
        Ok(Generation {
            number,
            origin,
            since,
            recipe,
            repeats: again.is_some(),
            policies,
            pipelines,
            credential_headers,
            files,
            written,
            shadows,
        })
    }

    /// Forgets components that none of `kept` was made from.
    pub fn tidy(&self, kept: &[Kept]) {
        let digests: HashSet<_> = kept.iter().flat_map(|kept| kept.recipe.digests()).collect();
        self.loader.keep_only(&digests);
    }
}

/// The policies that some pipeline names.
fn used(config: &Config) -> impl Iterator<Item = &config::Policy> {
    let names: BTreeSet<_> = config
        .upstreams
        .iter()
        .flat_map(|upstream| upstream.pipeline.authenticate.iter().chain(&upstream.pipeline.authorize))
        .collect();
    config.policies.values().filter(move |policy| names.contains(&policy.name))
}

fn pipeline(
    config: &config::Pipeline,
    policies: &BTreeMap<String, Arc<Policy>>,
    errors: &mut Vec<PolicyError>,
) -> Pipeline {
    let mut members = |names: &[String], fits: fn(&Policy) -> bool, hook: &str| -> Vec<Arc<Policy>> {
        let made = names.iter().filter_map(|name| policies.get(name));
        let (fitting, others): (Vec<_>, Vec<_>) = made.cloned().partition(|policy| fits(policy));
        errors.extend(others.iter().map(|policy| PolicyError {
            policy: policy.name().to_string(),
            message: format!(
                "the pipeline lists it under `{hook}`, and it has no such hook; take it out there{}",
                match policy.authenticates() {
                    true => ": it is an authenticator, which stands under `authenticate`",
                    false => ": it is an authorizer, which stands under `authorize`",
                }
            ),
            cause: Cause::Content,
            files: Fingerprints::default(),
        }));
        fitting
    };
    let authenticate = members(&config.authenticate, Policy::authenticates, "authenticate");
    let authorize = members(&config.authorize, Policy::authorizes, "authorize");
    let is_shadow = |policy: &Arc<Policy>| policy.mode() == Mode::Shadow;
    let (shadow_authenticate, authenticate) = authenticate.into_iter().partition(is_shadow);
    let (shadow_authorize, authorize) = authorize.into_iter().partition(is_shadow);
    Pipeline {
        authenticate,
        authorize,
        shadow_authenticate,
        shadow_authorize,
        anonymous: config.anonymous.clone(),
        unchecked: false,
    }
}

/// The live generation, behind one atomic pointer, and the last ones.
#[derive(Debug)]
pub struct Generations {
    live: ArcSwap<Generation>,
    history: History,
    /// Those before it that some request still stands on.
    past: Mutex<Vec<Weak<Generation>>>,
    forgotten: AtomicU64,
}

impl Generations {
    /// Begins with a first generation. `keep` of them can be gone back to.
    pub fn new(first: Generation, keep: usize) -> Self {
        let history = History::new(&first, keep);
        let (past, forgotten) = Default::default();
        Self { live: ArcSwap::from_pointee(first), history, past, forgotten }
    }

    /// The live generation. A request takes it once and stays on it.
    pub fn live(&self) -> Arc<Generation> {
        self.live.load_full()
    }

    /// Makes a candidate the live generation, in one step.
    pub fn flip(&self, candidate: Generation) -> Arc<Generation> {
        let next = Arc::new(candidate);
        let mut past = self.past();
        past.retain(|generation| generation.strong_count() > 0);
        past.push(Arc::downgrade(&self.live.swap(Arc::clone(&next))));
        drop(past);
        self.history.add(&next);
        next
    }

    /// Forgets what the policies remember about the token of this digest, those of earlier generations too that some
    /// call still stands on, and has everything that lasts judged again. Returns the names of those of the live one that
    /// remembered something.
    pub fn forget(&self, token: &Digest) -> Vec<Arc<str>> {
        let live = self.live();
        let names =
            live.policies().filter(|policy| policy.forget(token)).map(|policy| Arc::clone(policy.name()));
        let names = names.collect();
        for generation in self.past().iter().filter_map(Weak::upgrade) {
            for policy in generation.policies() {
                policy.forget(token);
            }
        }
        self.forgotten.fetch_add(1, Ordering::Release);
        names
    }

    fn past(&self) -> MutexGuard<'_, Vec<Weak<Generation>>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a token was forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// The last generations, oldest first; the live one is the last.
    pub fn kept(&self) -> Vec<Kept> {
        self.history.all()
    }

    /// The generation to go back to: `to`, else the last one that was made from something else.
    pub fn earlier(&self, to: Option<u64>) -> Option<Kept> {
        self.history.find(to, &self.live())
    }
}
