//! Builds generations from configurations.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::make_rehearsed;
use witgate_base::cause::Cause;
use witgate_base::clock::Clock;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::networks::Networks;
use witgate_component::compile_queue::CompileQueue;
use witgate_component::load::Loader;
use witgate_component::settings::{RemoteKeys, Surroundings};
use witgate_config::environment::Environment;
use witgate_config::resolve::{self, Strictness};
use witgate_config::secrets::SecretSources;
use witgate_config::{self as config, Config};
use witgate_policy::generation::pipeline::{self, NextPipeline, Pipeline, PipelineAssembly};
use witgate_policy::generation::{Contents, Generation, Generations, Recipe, Restrictions};
use witgate_policy::limits::{CallLimits, LimitTables};
use witgate_policy::{MakeInputs, Policy, PolicyError};
use witgate_services::network::Ways;
use witgate_services::passwords::PasswordChecks;

/// Builds generations.
#[derive(Debug)]
pub struct Factory {
    loader: Arc<Loader>,
    queue: CompileQueue,
    remote: RemoteKeys,
    environment: Environment,
    clock: Clock,
    limits: Arc<LimitTables>,
    passwords: Arc<PasswordChecks>,
    /// True if its policies are for explanations.
    is_observed: bool,
    /// True if its policies have no network.
    is_cut_off: bool,
}

/// The mode of compilation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CompileMode {
    /// Builds wait for the compiler.
    Waits,
    /// Components are compiled in the background. Until then, the policy cannot be built.
    Beside,
}

/// The policies of one configuration, as far as they can be built.
struct PolicyParts {
    policies: BTreeMap<String, Arc<Policy>>,
    errors: Vec<PolicyError>,
    files: Fingerprints,
    /// The files that are part of the recipe.
    written: BTreeSet<PathBuf>,
    recipe: Arc<Recipe>,
    clock: Clock,
    restrictions: Restrictions,
    secrets: SecretSources,
}

/// A candidate for the live generation's successor.
#[derive(Debug)]
pub struct Successor {
    /// The generation. None: no part of the change can be applied, and nothing else has changed.
    pub generation: Option<Generation>,
    /// All faults.
    pub errors: Vec<PolicyError>,
    /// The files that were read.
    pub files: Fingerprints,
}

impl Successor {
    /// True if a component is being compiled, so another attempt will follow.
    pub fn is_compiling(&self) -> bool {
        self.errors.iter().any(|error| error.cause == Cause::Compiling)
    }
}

impl Factory {
    /// A factory that compiles with `loader` and reads secrets from `environment`.
    pub fn new(loader: Loader, environment: Environment, clock: Clock) -> Self {
        let loader = Arc::new(loader);
        let queue = CompileQueue::new(Arc::clone(&loader));
        let (remote, limits, passwords) = (RemoteKeys::new(Ways::closed()), Arc::default(), Arc::default());
        let (is_observed, is_cut_off) = (false, false);
        Self { loader, queue, remote, environment, clock, limits, passwords, is_observed, is_cut_off }
    }

    /// A factory beside this one, with the same compiled components, for generations that explain decisions by `clock`
    /// without a network. Nothing of what they do reaches the generations of this one.
    #[must_use]
    pub fn beside(&self, clock: Clock) -> Self {
        let loader = Arc::clone(&self.loader);
        Self {
            queue: CompileQueue::new(Arc::clone(&loader)),
            loader,
            remote: RemoteKeys::unreachable(),
            environment: self.environment.clone(),
            clock,
            limits: Arc::default(),
            passwords: Arc::default(),
            is_observed: true,
            is_cut_off: true,
        }
    }

    /// The same, for generations that explain decisions and serve nobody: the host calls of their policies are traced,
    /// and they change nothing.
    #[must_use]
    pub fn observing(self) -> Self {
        Self { is_observed: true, ..self }
    }

    /// The outgoing connections, with the network settings of the last configuration.
    pub fn ways(&self) -> &Arc<Ways> {
        self.remote.ways()
    }

    /// The checks of passwords of all its generations.
    pub fn passwords(&self) -> &Arc<PasswordChecks> {
        &self.passwords
    }

    /// The buckets of the limits of all its generations.
    pub fn limits(&self) -> &Arc<LimitTables> {
        &self.limits
    }

    /// Builds a candidate. Every policy of `config` that a pipeline uses is compiled, linked, configured and checked.
    /// `live` is the live generation; without one, built-ins may replace missing components.
    ///
    /// # Errors
    /// With all faults, one per policy.
    pub async fn candidate(
        &self,
        config: &Config,
        live: Option<&Generation>,
    ) -> Result<Generation, Vec<PolicyError>> {
        let parts = self.parts(config, live, None, CompileMode::Waits).await;
        whole(config, live, parts)
    }

    /// Builds a candidate from the earlier `recipe`, whose configuration is `config`. Its components are those of the
    /// recipe, and all other data is current. `origin` is the generation that was first built from the recipe.
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
        let parts = self.parts(config, live, Some(recipe), CompileMode::Waits).await;
        let repeated = whole(config, live, parts)?;
        Ok(repeated.with_repeats(true).repeating(Some(origin)))
    }

    /// Builds the first generation. A broken policy closes only the pipelines that use it.
    ///
    /// # Errors
    /// With all faults, if no pipeline is complete.
    pub async fn first(
        &self,
        config: &Config,
        recipe: Option<&Recipe>,
    ) -> Result<(Generation, Vec<PolicyError>), Vec<PolicyError>> {
        let mut parts = self.parts(config, None, recipe, CompileMode::Waits).await;
        let (mut pipelines, mut any_whole) = (Vec::new(), false);
        for upstream in &config.upstreams {
            let find = |name: &str| parts.policies.get(name).cloned();
            let PipelineAssembly { misfits, is_whole, .. } =
                pipeline::assemble(upstream, config, &parts.recipe, find);
            any_whole |= is_whole && misfits.is_empty();
            let is_closed = !misfits.is_empty() || config.broken.pipelines.contains(&upstream.name);
            parts.errors.extend(misfits);
            if is_closed {
                let reason = "its pipeline is invalid".to_owned();
                let made_from = pipeline::made_from(upstream, &config.server).into();
                let closed = Pipeline::closed(&upstream.name, &upstream.name, reason);
                pipelines.push(Pipeline { made_from, ..closed });
                continue;
            }
            let find = |name: &str| {
                Some(parts.policies.get(name).cloned().unwrap_or_else(|| parts.broken(name, config, None)))
            };
            pipelines.push(pipeline::assemble(upstream, config, &parts.recipe, find).pipeline);
        }
        if !any_whole && !parts.errors.is_empty() {
            return Err(parts.errors);
        }
        let errors = std::mem::take(&mut parts.errors);
        for error in &errors {
            parts.files.extend(error.files.clone());
        }
        Ok((parts.generation(1, pipelines).with_repeats(recipe.is_some()), errors))
    }

    /// Builds the successor of `live`. A new pipeline goes live only as a whole. If one of its policies cannot be
    /// built, the live pipeline is rebuilt with current data, and the buildable part of the new one restricts it. So a
    /// fault never prevents the revocation of a key or a stricter rule. With `repeated`, the components are those of
    /// that recipe.
    pub async fn successor(
        &self,
        config: &Config,
        live: &Generation,
        repeated: Option<&Recipe>,
    ) -> Successor {
        self.queue.begin_round();
        let parts = Box::pin(self.parts(config, Some(live), repeated, CompileMode::Beside)).await;
        self.queue.end_round();
        let mut making = Succession {
            factory: self,
            config,
            live,
            parts,
            bases: Vec::new(),
            errors: Vec::new(),
            has_new_data: live.is_stale() || live.has_new_data(),
            is_stale: Cell::new(false),
        };
        let mut pipelines = Vec::new();
        for running in live.pipelines() {
            pipelines.push(making.pipeline(running).await);
        }
        making.add_new(&mut pipelines);
        making.conclude(pipelines, repeated.is_some())
    }

    /// Waits until a component of a successor is compiled, or its compilation has failed.
    pub async fn compiled(&self) {
        self.queue.done().await;
    }

    async fn parts(
        &self,
        config: &Config,
        live: Option<&Generation>,
        repeated: Option<&Recipe>,
        compiling: CompileMode,
    ) -> PolicyParts {
        // A candidate may be refused: its network counts from its flip on.
        if live.is_none() && !self.is_cut_off {
            self.ways().take(config.network.as_ref());
        }
        let dir = config.dir();
        let making = MakeInputs {
            loader: &self.loader,
            queue: (compiling == CompileMode::Beside).then_some(&self.queue),
            around: Surroundings {
                dir: &dir,
                keys: &config.keys,
                remote: &self.remote,
                secrets: &config.secrets,
                on_stage: false,
            },
            clock: &self.clock,
            passwords: &self.passwords,
            password_cost: config.password_cost,
            before: live.map(Generation::before),
            repeated,
            stage: None,
            is_observed: self.is_observed,
        };
        let mut parts = PolicyParts::of(config, self.clock.clone(), &self.limits);
        // All at the same time, so that slow configurations run in parallel.
        let made = used(config).map(|policy| Box::pin(made(policy, config, making)));
        for (policy, made) in used(config).zip(join_all(made).await) {
            parts.add(policy, made);
        }
        parts
    }

    /// Loads the components of a recipe in advance, because compiling them may take minutes.
    pub async fn prepare(&self, recipe: &Recipe) {
        for digest in recipe.digests() {
            // The next load reports the error.
            let _ = self.loader.kept(&digest).await;
        }
    }

    /// Removes components that belong neither to a possible rollback nor to a live pipeline.
    pub fn tidy(&self, generations: &Generations) {
        let mut digests: HashSet<_> = generations.live().digests().collect();
        digests.extend(generations.kept().iter().flat_map(|kept| kept.recipe.digests().collect::<Vec<_>>()));
        self.loader.keep_only(&digests);
    }
}

/// A policy, or the reason why it cannot be built.
async fn made(
    policy: &config::Policy,
    config: &Config,
    making: MakeInputs<'_>,
) -> Result<(Policy, Fingerprints), PolicyError> {
    match config.broken.policies.get(&policy.name) {
        Some(fault) => Err(unusable(&policy.name, fault)),
        None => make_rehearsed(policy, making).await,
    }
}

impl PolicyParts {
    /// No policies yet.
    fn of(config: &Config, clock: Clock, limits: &Arc<LimitTables>) -> Self {
        let restrictions = Restrictions {
            limits: CallLimits::new(&config.limits, limits),
            lockout: config.lockout,
            denied_peers: Networks::new(&config.denied_peers),
        };
        Self {
            policies: BTreeMap::new(),
            errors: Vec::new(),
            files: config.files.clone(),
            written: config.path.iter().cloned().collect(),
            recipe: Arc::new(Recipe::new(&config.text)),
            clock,
            restrictions,
            secrets: config.secrets.clone(),
        }
    }

    fn add(&mut self, policy: &config::Policy, made: Result<(Policy, Fingerprints), PolicyError>) {
        self.written.extend(policy.written());
        match made {
            Ok((made, from)) => {
                self.files.extend(from);
                if let (Some(file), Some(digest)) = (&policy.component, made.digest()) {
                    Arc::make_mut(&mut self.recipe).add(file, &digest);
                }
                self.policies.insert(policy.name.clone(), Arc::new(made));
            }
            Err(error) => self.errors.push(error),
        }
    }

    /// True if `recipe` also contains all parts that could be built.
    fn adds_nothing_to(&self, recipe: &Recipe) -> bool {
        let broken: Vec<_> = self.errors.iter().map(|error| error.policy.as_str()).collect();
        self.recipe.is_part_of(recipe, &broken)
    }

    fn error_of(&self, policy: &str) -> Option<&PolicyError> {
        self.errors.iter().find(|error| error.policy == policy)
    }

    /// Replaces a policy that cannot be built with one that denies. `live` is the live policy of this name.
    fn broken(&self, name: &str, config: &Config, live: Option<&Policy>) -> Arc<Policy> {
        let reason = self.error_of(name).map_or("it is not configured", |error| &error.message);
        Arc::new(Policy::broken(name, config.policies.get(name), reason, live))
    }

    fn generation(self, number: u64, pipelines: Vec<Pipeline>) -> Generation {
        let Self { policies, files, written, recipe, clock, restrictions, secrets, errors: _ } = self;
        let contents = Contents { policies, pipelines, recipe, files, written, clock, restrictions, secrets };
        Generation::new(number, contents)
    }
}

/// A complete generation.
fn whole(
    config: &Config,
    live: Option<&Generation>,
    mut parts: PolicyParts,
) -> Result<Generation, Vec<PolicyError>> {
    let mut pipelines: Vec<_> =
        live.iter().flat_map(|live| live.pipelines()).map(Pipeline::retired).collect();
    for upstream in &config.upstreams {
        let find = |name: &str| parts.policies.get(name).cloned();
        let PipelineAssembly { pipeline, misfits, .. } =
            pipeline::assemble(upstream, config, &parts.recipe, find);
        let running = live.iter().flat_map(|live| live.pipelines());
        let place = running.enumerate().find(|(_, running)| running.serves(upstream, config));
        match place.and_then(|(place, _)| pipelines.get_mut(place)) {
            Some(at_its_place) => *at_its_place = pipeline,
            None => pipelines.push(pipeline),
        }
        parts.errors.extend(misfits);
    }
    if !parts.errors.is_empty() {
        return Err(parts.errors);
    }
    Ok(parts.generation(live.map_or(1, |live| live.number() + 1), pipelines))
}

/// The error for a policy whose configuration is broken.
fn unusable(policy: &str, fault: &str) -> PolicyError {
    PolicyError {
        policy: policy.to_owned(),
        message: fault.to_owned(),
        cause: Cause::Content,
        files: Fingerprints::default(),
    }
}

/// The policies that pipelines name.
fn used(config: &Config) -> impl Iterator<Item = &config::Policy> {
    let names: BTreeSet<_> = config
        .upstreams
        .iter()
        .flat_map(|upstream| upstream.pipeline.authenticate.iter().chain(&upstream.pipeline.authorize))
        .collect();
    config.policies.values().filter(move |policy| names.contains(&policy.name))
}

/// The state while the successor of a generation is built.
struct Succession<'a> {
    factory: &'a Factory,
    config: &'a Config,
    live: &'a Generation,
    parts: PolicyParts,
    /// The inputs of pipelines that are held back, with current data.
    bases: Vec<RollbackBase>,
    errors: Vec<PolicyError>,
    /// True if a key store, key set or secret differs from the live generation's.
    has_new_data: bool,
    /// True if a live policy continues because it could not be rebuilt.
    is_stale: Cell<bool>,
}

/// The policies of an earlier recipe.
struct RollbackBase {
    config: Config,
    parts: PolicyParts,
}

impl Succession<'_> {
    /// True if `running` is current, except for policies that cannot be built.
    fn is_up_to_date(&self, running: &Pipeline) -> bool {
        let waits = match &running.next {
            None => self.parts.adds_nothing_to(&running.recipe),
            Some(next) => next.pipeline.recipe == self.parts.recipe,
        };
        waits && !self.has_new_data
    }

    /// The successor of the pipeline `running`.
    async fn pipeline(&mut self, running: &Pipeline) -> Pipeline {
        let config = self.config;
        if running.is_retired() || (!self.parts.errors.is_empty() && self.is_up_to_date(running)) {
            return running.clone();
        }
        let Some(upstream) = config.upstreams.iter().find(|upstream| *upstream.name == *running.upstream)
        else {
            if config.broken.upstreams.contains(&*running.upstream) {
                return self.held_back(running, None).await;
            }
            return running.retired();
        };
        match self.new_pipeline(upstream) {
            // A broken upstream keeps its former settings.
            Some(new) if config.broken.upstreams.contains(&upstream.name) => {
                Pipeline { made_from: Arc::clone(&running.made_from), ..new }.keeping_pins(running)
            }
            Some(new) if running.serves(upstream, config) => new.keeping_pins(running),
            // The upstream with its new settings gets a place of its own.
            Some(_) => running.retired(),
            None => self.held_back(running, Some(upstream)).await,
        }
    }

    /// The pipeline of `upstream`, if all of it can be used.
    fn new_pipeline(&mut self, upstream: &config::Upstream) -> Option<Pipeline> {
        let config = self.config;
        let find = |name: &str| self.parts.policies.get(name).cloned();
        let new = pipeline::assemble(upstream, config, &self.parts.recipe, find);
        let is_usable = new.misfits.is_empty() && !config.broken.pipelines.contains(&upstream.name);
        self.errors.extend(new.misfits);
        (new.is_whole && is_usable).then_some(new.pipeline)
    }

    /// Adds the pipelines of upstreams that are not served yet. One that cannot be used waits, and the errors of its
    /// policies tell why.
    fn add_new(&mut self, pipelines: &mut Vec<Pipeline>) {
        let config = self.config;
        for upstream in &config.upstreams {
            let is_there =
                |pipeline: &Pipeline| !pipeline.is_retired() && *pipeline.upstream == *upstream.name;
            if pipelines.iter().any(is_there) || config.broken.upstreams.contains(&upstream.name) {
                continue;
            }
            pipelines.extend(self.new_pipeline(upstream));
        }
    }

    /// The live pipeline `running`, with current data, restricted by the buildable part of the new one.
    async fn held_back(&mut self, running: &Pipeline, upstream: Option<&config::Upstream>) -> Pipeline {
        let base = self.base(running).await.and_then(|place| self.bases.get(place));
        let Some(base @ RollbackBase { config, parts }) = base else { return running.clone() };
        let in_force =
            |name: &str| parts.policies.get(name).cloned().or_else(|| self.in_force(running, name, base));
        let Some(former) = config.upstreams.iter().find(|former| *former.name == *running.upstream) else {
            return running.clone();
        };
        let recipe = &running.recipe;
        let mut held = pipeline::assemble(former, config, recipe, in_force).pipeline.keeping_pins(running);
        held.made_from = Arc::clone(&running.made_from);
        let Some(upstream) = upstream.filter(|_| !self.parts.adds_nothing_to(recipe)) else {
            // All new policies are among those that cannot be built.
            return held;
        };
        // After a failure of the machine, the missing policies follow with the next attempt. Until then, nobody is
        // denied because new rules judge former roles, or former rules new ones.
        let passes = |name: &str| self.parts.error_of(name).is_some_and(PolicyError::may_pass);
        let is_new = |name: &str| match (self.config.policies.get(name), config.policies.get(name)) {
            (Some(new), Some(former)) => !new.is_configured_as(former),
            _ => true,
        };
        if upstream.pipeline.authenticate.iter().any(|name| passes(name) && is_new(name)) {
            return held;
        }
        // A broken policy is replaced by its former version, which also restricts the new roles. So is an
        // authenticator without changes.
        let judges = |name: &str| held.own_policy(name).filter(|_| !passes(name) || !is_new(name));
        let find = |name: &str| self.parts.policies.get(name).or_else(|| judges(name)).cloned();
        let next = pipeline::assemble(upstream, self.config, &self.parts.recipe, find);
        let PipelineAssembly { pipeline, has_all_authorizers, .. } = next;
        let pipeline = pipeline.keeping_pins(running);
        held.next = Some(Box::new(NextPipeline { pipeline, has_all_authorizers }));
        held
    }

    /// The place in `bases` of the inputs of `running`. None: it cannot be rebuilt, and stays.
    async fn base(&mut self, running: &Pipeline) -> Option<usize> {
        let known = |base: &RollbackBase| *base.parts.recipe == *running.recipe;
        if let Some(place) = self.bases.iter().position(known) {
            return Some(place);
        }
        let recipe = Arc::clone(&running.recipe);
        let path = self.config.path.as_deref()?;
        let (environment, last) = (&self.factory.environment, Some(&self.config.environment));
        let loaded = resolve::load_text_parts(path, recipe.config(), environment, last, Strictness::Parts);
        let loaded = loaded.ok()?;
        let parts = self.factory.parts(&loaded.config, Some(self.live), Some(&recipe), CompileMode::Beside);
        let mut parts = Box::pin(parts).await;
        parts.recipe = recipe;
        self.bases.push(RollbackBase { config: loaded.config, parts });
        Some(self.bases.len() - 1)
    }

    /// A live policy that cannot be rebuilt. After a failure of the machine, it continues until the next attempt. If
    /// its data is at fault, it denies, because it is not known what it would refuse now.
    fn in_force(&self, running: &Pipeline, name: &str, base: &RollbackBase) -> Option<Arc<Policy>> {
        let live = running.own_policy(name);
        match (base.parts.error_of(name), live) {
            (Some(error), Some(live)) if error.cause.may_pass() => {
                self.is_stale.set(true);
                Some(Arc::clone(live))
            }
            (_, live) => Some(base.parts.broken(name, &base.config, live.map(|live| &**live))),
        }
    }

    fn conclude(self, pipelines: Vec<Pipeline>, repeats: bool) -> Successor {
        let Self { live, mut parts, bases, mut errors, has_new_data, is_stale, .. } = self;
        let is_stale = is_stale.get();
        errors.append(&mut parts.errors);
        for RollbackBase { parts: base, .. } in bases {
            parts.files.extend(base.files);
            parts.written.extend(base.written);
            errors.extend(base.errors);
        }
        errors.sort_by(|one, other| one.policy.cmp(&other.policy));
        errors.dedup_by(|one, other| one.policy == other.policy && one.message == other.message);
        for error in &errors {
            parts.files.extend(error.files.clone());
        }
        let files = parts.files.clone();
        let nothing_new = !has_new_data && same_sources(live.pipelines(), &pipelines);
        if nothing_new && !errors.is_empty() {
            return Successor { generation: None, errors, files };
        }
        let generation =
            parts.generation(live.number() + 1, pipelines).with_repeats(repeats).with_stale(is_stale);
        Successor { generation: Some(generation), errors, files }
    }
}

/// True if the pipelines come from the same recipes, and are held back by the same ones.
fn same_sources(some: &[Pipeline], others: &[Pipeline]) -> bool {
    let of_next = |pipeline: &Pipeline| pipeline.next.as_ref().map(|next| Arc::clone(&next.pipeline.recipe));
    let same = |(one, other): (&Pipeline, &Pipeline)| {
        one.recipe == other.recipe
            && of_next(one) == of_next(other)
            && one.closed.is_some() == other.closed.is_some()
    };
    some.len() == others.len() && some.iter().zip(others).all(same)
}
