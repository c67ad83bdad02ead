//! Generations: immutable, fully checked sets of policies. Exactly one is live.

mod history;
pub mod pipeline;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::HeaderName;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use witgate_plugin::Digest;

use crate::{LivePolicies, Policy};
use witgate_base::clock::{self, Clock};
use witgate_base::fingerprints::Fingerprints;

pub use crate::Recipe;
pub use history::FormerGeneration;
use history::History;
pub use pipeline::{ClosedPipeline, NextPipeline, Pipeline};

/// One immutable set of compiled policies with their config.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    origin: u64,
    since: SystemTime,
    clock: Clock,
    recipe: Arc<Recipe>,
    repeats: bool,
    /// The machine kept a policy from being made again, so that an earlier one goes on.
    is_stale: bool,
    /// Those that decide, by name. Where a pipeline is held back: the one that decides there alone.
    policies: BTreeMap<String, Arc<Policy>>,
    pipelines: Vec<Pipeline>,
    credential_headers: Vec<HeaderName>,
    files: Fingerprints,
    /// Those of them that its recipe holds.
    written: BTreeSet<PathBuf>,
    /// Turns for the policies that are only watched.
    shadows: Arc<Semaphore>,
}

/// The contents of a generation, as they were made from one recipe.
#[derive(Debug)]
pub struct Contents {
    /// The policies that the configuration names, as far as they could be made.
    pub policies: BTreeMap<String, Arc<Policy>>,
    /// The pipelines, in the order of the upstreams.
    pub pipelines: Vec<Pipeline>,
    /// The recipe.
    pub recipe: Arc<Recipe>,
    /// The files that were looked at.
    pub files: Fingerprints,
    /// Those of the files that the recipe holds.
    pub written: BTreeSet<PathBuf>,
    /// The clock of its policies.
    pub clock: Clock,
}

/// Calls that shadows judge at once. Under load they are the first to go without.
const SHADOWS: usize = 32;

impl Generation {
    /// The generation `number`, which repeats none.
    pub fn new(number: u64, contents: Contents) -> Self {
        let Contents { mut policies, pipelines, recipe, files, written, clock } = contents;
        for policy in pipelines.iter().flat_map(Pipeline::own_policies) {
            policies.insert(policy.name().to_string(), Arc::clone(policy));
        }
        let all = || policies.values().chain(pipelines.iter().flat_map(Pipeline::policies));
        let mut credential_headers = Vec::new();
        for header in all().filter_map(|policy| policy.credential_header()) {
            if !credential_headers.contains(header) {
                credential_headers.push(header.clone());
            }
        }
        Self {
            number,
            origin: number,
            since: clock::system_time(),
            clock,
            recipe,
            repeats: false,
            is_stale: false,
            policies,
            pipelines,
            credential_headers,
            files,
            written,
            shadows: Arc::new(Semaphore::new(SHADOWS)),
        }
    }

    /// The same; `repeats` where its components were taken from a recipe, whatever their files were.
    pub fn with_repeats(self, repeats: bool) -> Self {
        Self { repeats, ..self }
    }

    /// The same; `is_stale` where the machine kept a policy from being made again, so that an earlier one goes on.
    pub fn with_stale(self, is_stale: bool) -> Self {
        Self { is_stale, ..self }
    }

    /// Its number; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The generation that it repeats; its own number where it repeats none.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// The recipe of the generation.
    pub fn recipe(&self) -> &Arc<Recipe> {
        &self.recipe
    }

    /// Its policies and their inputs, for the policies of a candidate.
    pub fn before(&self) -> LivePolicies<'_> {
        LivePolicies {
            policies: &self.policies,
            recipe: &self.recipe,
            files: &self.files,
            repeats: self.repeats,
        }
    }

    fn kept(&self) -> FormerGeneration {
        let policies = self.policies().map(|policy| (policy.name().to_string(), policy.digest()));
        FormerGeneration {
            number: self.number,
            origin: self.origin,
            since: self.since,
            recipe: Arc::clone(&self.recipe),
            is_whole: self.is_whole(),
            policies: policies.collect(),
        }
    }

    /// True if all its pipelines follow that recipe, and nothing of it is missing.
    pub fn is_whole(&self) -> bool {
        !self.is_stale && self.pipelines.iter().all(Pipeline::is_whole)
    }

    /// True if a pipeline follows its recipe as a whole.
    pub fn takes_over(&self) -> bool {
        self.pipelines.iter().any(|pipeline| pipeline.is_whole() && pipeline.recipe == self.recipe)
    }

    /// True if a fault of the machine kept a policy from being built again, so that an earlier one goes on.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// The same as a repetition of the generation `origin`; of none, where it repeats none.
    pub fn repeating(self, origin: Option<u64>) -> Self {
        Self { origin: origin.unwrap_or(self.origin), ..self }
    }

    /// The components that its pipelines are made from.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        let recipes = self.pipelines.iter().map(|pipeline| &pipeline.recipe).chain([&self.recipe]);
        recipes.flat_map(|recipe| recipe.digests())
    }

    /// Its pipelines, in the order of the upstreams.
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.pipelines
    }

    /// True if its components were taken from a recipe, whatever their files were.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// The time at which it was built.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// The time now, as its policies see it, in whole seconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.clock.now()
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
        static EMPTY: LazyLock<Pipeline> = LazyLock::new(Pipeline::default);
        self.pipelines.get(place).unwrap_or(&EMPTY)
    }

    /// Every policy that some pipeline asks: several of one name where a pipeline is held back.
    fn all_policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.pipelines.iter().flat_map(Pipeline::policies)
    }

    /// Headers that carry credentials, beside `Authorization`, as its policies declared them.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    /// Headers that its policies read, those of credentials first.
    pub fn headers_read(&self) -> impl Iterator<Item = HeaderName> {
        let policies = self.policies.values().chain(self.pipelines.iter().flat_map(Pipeline::policies));
        let wanted = policies.filter_map(|policy| policy.wants()).flat_map(|wants| &wants.headers);
        self.credential_headers.iter().cloned().chain(wanted.filter_map(|name| name.parse().ok()))
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

    /// True if a key store, key set or secret has changed since: the files that are no part of the recipe.
    pub fn has_new_data(&self) -> bool {
        self.files.differ_besides(&self.written)
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
    /// Begins with a first generation. A rollback can return to `keep` of them.
    pub fn new(first: Generation, keep: usize) -> Self {
        let history = History::new(first.kept(), keep);
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
        let mut past = self.past.lock();
        past.retain(|generation| generation.strong_count() > 0);
        past.push(Arc::downgrade(&self.live.swap(Arc::clone(&next))));
        drop(past);
        self.history.add(next.kept());
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
        for policy in live.all_policies() {
            policy.forget(token);
        }
        for generation in self.past.lock().iter().filter_map(Weak::upgrade) {
            for policy in generation.all_policies() {
                policy.forget(token);
            }
        }
        self.forgotten.fetch_add(1, Ordering::Release);
        names
    }

    /// The number of forgotten tokens.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// The last generations, oldest first; the live one is the last.
    pub fn kept(&self) -> Vec<FormerGeneration> {
        self.history.all()
    }

    /// The generation to go back to: `to`, else the most recent one with different inputs.
    pub fn earlier(&self, to: Option<u64>) -> Option<FormerGeneration> {
        let live = self.live();
        self.history.find(to, live.origin, &live.recipe)
    }
}
