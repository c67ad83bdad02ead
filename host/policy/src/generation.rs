//! Generations: immutable, fully checked sets of policies. Exactly one is live.

mod history;
pub mod pipeline;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::HeaderName;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use witgate_plugin::Digest;

use crate::denied_peers::DeniedPeers;
use crate::limits::CallLimits;
use crate::upstream_lists::UpstreamLists;
use crate::{LivePolicies, Policy};
use witgate_base::clock::{self, Clock};
use witgate_base::digest::sha256;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::networks::Networks;
use witgate_config::limits::Lockout;
use witgate_config::secrets::SecretSources;

pub use crate::Recipe;
pub use history::FormerGeneration;
use history::History;
pub use pipeline::{ClosedPipeline, NextPipeline, Pipeline};

/// An immutable set of compiled policies with their configuration.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    origin: u64,
    since: SystemTime,
    clock: Clock,
    recipe: Arc<Recipe>,
    repeats: bool,
    /// True if a failure of the machine prevented rebuilding a policy, so that the earlier one decides.
    is_stale: bool,
    /// The live policies, by name. If a pipeline is held back, these are the ones that decide there alone.
    policies: BTreeMap<String, Arc<Policy>>,
    pipelines: Vec<Pipeline>,
    credential_headers: Vec<HeaderName>,
    /// The policies that know keys, each once.
    key_policies: Box<[Arc<Policy>]>,
    files: Fingerprints,
    /// The policies whose recipe is the generation's.
    written: BTreeSet<PathBuf>,
    restrictions: Restrictions,
    secrets: SecretSources,
    /// Turns for shadow policies.
    shadows: Arc<Semaphore>,
}

/// The contents of a generation, built from one recipe.
#[derive(Debug)]
pub struct Contents {
    /// The policies in the configuration, as far as they could be built.
    pub policies: BTreeMap<String, Arc<Policy>>,
    /// The pipelines, each at the place of its upstream.
    pub pipelines: Vec<Pipeline>,
    /// The recipe.
    pub recipe: Arc<Recipe>,
    /// The files that were read.
    pub files: Fingerprints,
    /// The files that are part of the recipe.
    pub written: BTreeSet<PathBuf>,
    /// The clock of the policies.
    pub clock: Clock,
    /// The restrictions for all callers beside the policies.
    pub restrictions: Restrictions,
    /// The sources of its secrets.
    pub secrets: SecretSources,
}

/// The restrictions of a configuration beside its policies.
#[derive(Clone, Debug, Default)]
pub struct Restrictions {
    /// The limits of calls.
    pub limits: CallLimits,
    /// Pauses after failed authentications. None: there are none.
    pub lockout: Option<Lockout>,
    /// Networks that may not connect.
    pub denied_peers: Networks,
}

/// Maximum number of calls that shadow policies judge at the same time. Under load, further calls are not judged.
const SHADOWS: usize = 32;

impl Generation {
    /// The generation `number`, which does not repeat another one.
    pub fn new(number: u64, contents: Contents) -> Self {
        let Contents { mut policies, pipelines, recipe, files, written, clock, restrictions, secrets } =
            contents;
        for policy in pipelines.iter().flat_map(Pipeline::own_policies) {
            policies.insert(policy.name().to_string(), Arc::clone(policy));
        }
        let all = || policies.values().chain(pipelines.iter().flat_map(Pipeline::policies));
        let mut credential_headers = Vec::new();
        for header in all().flat_map(|policy| policy.credential_headers()) {
            if !credential_headers.contains(header) {
                credential_headers.push(header.clone());
            }
        }
        let mut key_policies: Vec<_> =
            all().filter(|policy| !policy.known_keys().is_empty()).cloned().collect();
        key_policies.sort_unstable_by_key(Arc::as_ptr);
        key_policies.dedup_by(|one, other| Arc::ptr_eq(one, other));
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
            key_policies: key_policies.into(),
            files,
            written,
            restrictions,
            secrets,
            shadows: Arc::new(Semaphore::new(SHADOWS)),
        }
    }

    /// The same; with `repeats`, its components come from a recipe, even if their files have changed.
    pub fn with_repeats(self, repeats: bool) -> Self {
        Self { repeats, ..self }
    }

    /// The same; `is_stale` if a failure of the machine prevented rebuilding a policy, so that the earlier one
    /// decides.
    pub fn with_stale(self, is_stale: bool) -> Self {
        Self { is_stale, ..self }
    }

    /// True if a text is a key of one of the policies.
    pub fn has_key(&self, text: &str) -> bool {
        if self.key_policies.is_empty() {
            return false;
        }
        let digest = sha256(text.as_bytes());
        self.key_policies.iter().any(|policy| policy.known_keys().has(&digest))
    }

    /// The generation's number; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The number of the repeated generation, or its own number if it repeats none.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// The recipe of the generation.
    pub fn recipe(&self) -> &Arc<Recipe> {
        &self.recipe
    }

    /// The policies and their inputs, for building a candidate.
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

    /// True if all pipelines follow the recipe completely.
    pub fn is_whole(&self) -> bool {
        !self.is_stale && self.pipelines.iter().all(Pipeline::is_whole)
    }

    /// True if a pipeline follows its recipe completely.
    pub fn takes_over(&self) -> bool {
        self.pipelines.iter().any(|pipeline| pipeline.is_whole() && pipeline.recipe == self.recipe)
    }

    /// True if a failure of the machine prevented rebuilding a policy, so that the earlier one decides.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// The same as a repetition of the generation `origin`, or of none.
    pub fn repeating(self, origin: Option<u64>) -> Self {
        Self { origin: origin.unwrap_or(self.origin), ..self }
    }

    /// The components of the pipelines.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        let recipes = self.pipelines.iter().map(|pipeline| &pipeline.recipe).chain([&self.recipe]);
        recipes.flat_map(|recipe| recipe.digests())
    }

    /// All pipelines by their places, also those of upstreams that are no longer served.
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.pipelines
    }

    /// The pipelines of the upstreams that are served.
    pub fn served(&self) -> impl Iterator<Item = &Pipeline> {
        self.pipelines.iter().filter(|pipeline| !pipeline.is_retired())
    }

    /// True if the components come from a recipe, even if their files have changed.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// The time at which it was built.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// The time now by the clock of the policies, in whole seconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// The policies by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// A policy by name.
    pub fn policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// The pipeline of an upstream, by the upstream's place. Without a pipeline, it is an empty one, which denies.
    pub fn pipeline(&self, place: usize) -> &Pipeline {
        static EMPTY: LazyLock<Pipeline> = LazyLock::new(Pipeline::default);
        self.pipelines.get(place).unwrap_or(&EMPTY)
    }

    /// All policies of all pipelines. There are several of one name if a pipeline is held back.
    fn all_policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.pipelines.iter().flat_map(Pipeline::policies)
    }

    /// Headers that contain credentials, besides `Authorization`, as the policies have declared them.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    /// Headers that the policies read, those with credentials first.
    pub fn headers_read(&self) -> impl Iterator<Item = HeaderName> {
        let policies = self.policies.values().chain(self.pipelines.iter().flat_map(Pipeline::policies));
        let wanted = policies.filter_map(|policy| policy.wants()).flat_map(|wants| &wants.headers);
        self.credential_headers.iter().cloned().chain(wanted.filter_map(|name| name.parse().ok()))
    }

    /// The limits of calls.
    pub fn limits(&self) -> &CallLimits {
        &self.restrictions.limits
    }

    /// Pauses after failed authentications.
    pub fn lockout(&self) -> Option<&Lockout> {
        self.restrictions.lockout.as_ref()
    }

    /// The networks that the configuration denies.
    pub fn denied_peers(&self) -> &[IpNet] {
        self.restrictions.denied_peers.all()
    }

    /// True if the configuration denies connections from this address.
    pub fn denies_peer(&self, address: IpAddr) -> bool {
        self.restrictions.denied_peers.contain(address)
    }

    /// A turn for shadow policies. None: they are busy.
    pub fn shadow_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shadows).try_acquire_owned().ok()
    }

    /// The fingerprints of its files, taken just before reading them. A change of one causes a new candidate.
    pub fn files(&self) -> &Fingerprints {
        &self.files
    }

    /// The sources of its secrets.
    pub fn secrets(&self) -> &SecretSources {
        &self.secrets
    }

    /// True if a key store, key set or secret has changed since. These files are not part of the recipe.
    pub fn has_new_data(&self) -> bool {
        self.files.differ_besides(&self.written) || self.secrets.have_changed()
    }
}

/// The live generation, behind one atomic pointer, and the last ones.
#[derive(Debug)]
pub struct Generations {
    live: ArcSwap<Generation>,
    history: History,
    /// Former generations that still have requests.
    past: Mutex<Vec<Weak<Generation>>>,
    forgotten: AtomicU64,
    denied_peers: DeniedPeers,
    /// The names that upstreams have listed.
    lists: UpstreamLists,
}

impl Generations {
    /// Starts with a first generation. A rollback can return to the last `keep` generations.
    pub fn new(first: Generation, keep: usize) -> Self {
        let history = History::new(first.kept(), keep);
        let (past, forgotten, denied_peers, lists) = Default::default();
        Self { live: ArcSwap::from_pointee(first), history, past, forgotten, denied_peers, lists }
    }

    /// The live generation. A request reads it once, and keeps it.
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
        next.limits().forget_others();
        self.lists.keep(|place| !next.pipeline(place).is_retired());
        self.history.add(next.kept());
        next
    }

    /// Drops the cached results of the policies for the token with this digest, also in former generations that still
    /// have calls. All rights are then checked again. Returns the names of the live policies that had cached results.
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

    /// The names that upstreams have listed, for comparing generations.
    pub fn lists(&self) -> &UpstreamLists {
        &self.lists
    }

    /// Sets the number of generations that a rollback can return to.
    pub fn keep(&self, most: usize) {
        self.history.keep(most);
    }

    /// The networks that operators deny besides those of the configuration.
    pub fn denied_peers(&self) -> &DeniedPeers {
        &self.denied_peers
    }

    /// True if the live configuration or an operator denies connections from this address.
    pub fn deny_peer(&self, address: IpAddr) -> bool {
        self.live.load().denies_peer(address) || self.denied_peers.contain(address)
    }

    /// The number of forgotten tokens.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// The last generations, oldest first; the live one is the last.
    pub fn kept(&self) -> Vec<FormerGeneration> {
        self.history.all()
    }

    /// The target of a rollback: the generation `to`, or else the most recent one with different inputs.
    pub fn earlier(&self, to: Option<u64>) -> Option<FormerGeneration> {
        let live = self.live();
        self.history.find(to, live.origin, &live.recipe)
    }
}
