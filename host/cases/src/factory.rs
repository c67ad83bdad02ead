//! From a configuration to a generation.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::make_rehearsed;
use witgate_base::cause::Cause;
use witgate_base::clock::Clock;
use witgate_base::fingerprints::Fingerprints;
use witgate_component::compile_queue::CompileQueue;
use witgate_component::load::Loader;
use witgate_component::settings::{RemoteKeys, Surroundings};
use witgate_config::environment::Environment;
use witgate_config::resolve::{self, Strictness};
use witgate_config::{self as config, Config};
use witgate_policy::generation::pipeline::{self, NextPipeline, Pipeline, PipelineAssembly};
use witgate_policy::generation::{Contents, Generation, Generations, Recipe};
use witgate_policy::{MakeInputs, Policy, PolicyError};
use witgate_services::network::Ways;

/// Makes generations.
#[derive(Debug)]
pub struct Factory {
    loader: Arc<Loader>,
    queue: CompileQueue,
    remote: RemoteKeys,
    environment: Environment,
    clock: Clock,
}

/// The way components are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CompileMode {
    /// The caller of a compilation waits for it.
    Waits,
    /// Beside everything else: until it is done, the policy cannot be made.
    Beside,
}

/// The policies of one configuration, as far as they can be made.
struct PolicyParts {
    policies: BTreeMap<String, Arc<Policy>>,
    errors: Vec<PolicyError>,
    files: Fingerprints,
    /// Those of the files that the recipe holds.
    written: BTreeSet<PathBuf>,
    recipe: Arc<Recipe>,
    clock: Clock,
}

/// The candidate to follow the live generation.
#[derive(Debug)]
pub struct Successor {
    /// The generation. None: nothing of the change can be applied, and nothing else has changed.
    pub generation: Option<Generation>,
    /// Everything that is wrong.
    pub errors: Vec<PolicyError>,
    /// The files that were looked at.
    pub files: Fingerprints,
}

impl Successor {
    /// True if a component is being compiled, so that there is more to come.
    pub fn is_compiling(&self) -> bool {
        self.errors.iter().any(|error| error.cause == Cause::Compiling)
    }
}

impl Factory {
    /// A factory that compiles with `loader` and takes secrets from `environment`.
    pub fn new(loader: Loader, environment: Environment, clock: Clock) -> Self {
        let loader = Arc::new(loader);
        let queue = CompileQueue::new(Arc::clone(&loader));
        Self { loader, queue, remote: RemoteKeys::new(Ways::closed()), environment, clock }
    }

    /// The ways by which connections go out: as the configuration says that the last policies were made from.
    pub fn ways(&self) -> &Arc<Ways> {
        self.remote.ways()
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
        let parts = self.parts(config, live, None, CompileMode::Waits).await;
        whole(config, live, parts)
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
        let parts = self.parts(config, live, Some(recipe), CompileMode::Waits).await;
        let repeated = whole(config, live, parts)?;
        Ok(repeated.with_repeats(true).repeating(Some(origin)))
    }

    /// Makes the first generation. A policy that is broken closes the pipelines that ask it, and no others.
    ///
    /// # Errors
    /// With everything that is wrong, where no pipeline is whole.
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
                pipelines.push(Pipeline::closed(&upstream.name, &upstream.name, reason));
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

    /// Makes what is to follow `live`. A pipeline takes over as a whole. Where a policy of it cannot be made, the
    /// pipeline that is in force is made again with today's data, and what can be made of the new one restricts it: so
    /// nothing that is broken keeps a key from being revoked, or a rule from being tightened. `repeated`: the components
    /// of that recipe are taken, whatever their files are.
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
        making.conclude(pipelines, repeated.is_some())
    }

    /// Waits until a component that a successor asked for is compiled, or found out to be none.
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
        self.ways().take(config.network.as_ref());
        let dir = config.dir();
        let making = MakeInputs {
            loader: &self.loader,
            queue: (compiling == CompileMode::Beside).then_some(&self.queue),
            around: Surroundings {
                dir: &dir,
                keys: &config.keys,
                remote: &self.remote,
                environment: &self.environment,
                on_stage: false,
            },
            clock: &self.clock,
            before: live.map(Generation::before),
            repeated,
            stage: None,
        };
        let mut parts = PolicyParts::of(config, self.clock.clone());
        // At once, so that those that take their time to be configured take it together.
        let made = used(config).map(|policy| Box::pin(made(policy, config, making)));
        for (policy, made) in used(config).zip(join_all(made).await) {
            parts.add(policy, made);
        }
        parts
    }

    /// Has the components of a recipe at hand: compiling them may take minutes.
    pub async fn prepare(&self, recipe: &Recipe) {
        for digest in recipe.digests() {
            // Whoever asks for it next is told.
            let _ = self.loader.kept(&digest).await;
        }
    }

    /// Forgets components that belong to no generation to which a rollback is possible, and to no
    /// live pipeline.
    pub fn tidy(&self, generations: &Generations) {
        let mut digests: HashSet<_> = generations.live().digests().collect();
        digests.extend(generations.kept().iter().flat_map(|kept| kept.recipe.digests().collect::<Vec<_>>()));
        self.loader.keep_only(&digests);
    }
}

/// A policy, or why it cannot be made.
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
    fn of(config: &Config, clock: Clock) -> Self {
        Self {
            policies: BTreeMap::new(),
            errors: Vec::new(),
            files: config.files.clone(),
            written: config.path.iter().cloned().collect(),
            recipe: Arc::new(Recipe::new(&config.text)),
            clock,
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

    /// True if the parts that could be built follow from `recipe` as well.
    fn adds_nothing_to(&self, recipe: &Recipe) -> bool {
        let broken: Vec<_> = self.errors.iter().map(|error| error.policy.as_str()).collect();
        self.recipe.is_part_of(recipe, &broken)
    }

    fn error_of(&self, policy: &str) -> Option<&PolicyError> {
        self.errors.iter().find(|error| error.policy == policy)
    }

    /// Represents a policy that cannot be made: it denies. `live` is the one that decides now.
    fn broken(&self, name: &str, config: &Config, live: Option<&Policy>) -> Arc<Policy> {
        let reason = self.error_of(name).map_or("it is not configured", |error| &error.message);
        Arc::new(Policy::broken(name, config.policies.get(name), reason, live))
    }

    fn generation(self, number: u64, pipelines: Vec<Pipeline>) -> Generation {
        let Self { policies, files, written, recipe, clock, errors: _ } = self;
        Generation::new(number, Contents { policies, pipelines, recipe, files, written, clock })
    }
}

/// A generation in which nothing is missing.
fn whole(
    config: &Config,
    live: Option<&Generation>,
    mut parts: PolicyParts,
) -> Result<Generation, Vec<PolicyError>> {
    let mut pipelines = Vec::new();
    for upstream in &config.upstreams {
        let find = |name: &str| parts.policies.get(name).cloned();
        let PipelineAssembly { pipeline, misfits, .. } =
            pipeline::assemble(upstream, config, &parts.recipe, find);
        pipelines.push(pipeline);
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

/// The policies that some pipeline names.
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
    /// The inputs of pipelines that are held back, with today's data.
    bases: Vec<RollbackBase>,
    errors: Vec<PolicyError>,
    /// True if a key store, key set or secret differs from the live generation's.
    has_new_data: bool,
    /// A policy goes on that could not be made again.
    is_stale: Cell<bool>,
}

/// The policies of an earlier recipe.
struct RollbackBase {
    config: Config,
    parts: PolicyParts,
}

impl Succession<'_> {
    /// True if there is nothing to take over at `running`, besides what cannot be built.
    fn is_up_to_date(&self, running: &Pipeline) -> bool {
        let waits = match &running.next {
            None => self.parts.adds_nothing_to(&running.recipe),
            Some(next) => next.pipeline.recipe == self.parts.recipe,
        };
        waits && !self.has_new_data
    }

    /// The pipeline that follows `running`.
    async fn pipeline(&mut self, running: &Pipeline) -> Pipeline {
        let config = self.config;
        if !self.parts.errors.is_empty() && self.is_up_to_date(running) {
            return running.clone();
        }
        let Some(upstream) = config.upstreams.iter().find(|upstream| *upstream.name == *running.upstream)
        else {
            if config.broken.upstreams.contains(&*running.upstream) {
                return self.held_back(running, None).await;
            }
            let reason = "the upstream is not in the configuration any more".to_owned();
            return Pipeline::closed(&running.upstream, &running.upstream, reason);
        };
        let find = |name: &str| self.parts.policies.get(name).cloned();
        let new = pipeline::assemble(upstream, config, &self.parts.recipe, find);
        let is_usable = new.misfits.is_empty() && !config.broken.pipelines.contains(&upstream.name);
        self.errors.extend(new.misfits);
        if new.is_whole && is_usable {
            return new.pipeline;
        }
        self.held_back(running, Some(upstream)).await
    }

    /// The pipeline in force at `running`, with today's data, restricted by the buildable part of the new
    /// one.
    async fn held_back(&mut self, running: &Pipeline, upstream: Option<&config::Upstream>) -> Pipeline {
        let base = self.base(running).await.and_then(|place| self.bases.get(place));
        let Some(base @ RollbackBase { config, parts }) = base else { return running.clone() };
        let in_force =
            |name: &str| parts.policies.get(name).cloned().or_else(|| self.in_force(running, name, base));
        let Some(former) = config.upstreams.iter().find(|former| *former.name == *running.upstream) else {
            return running.clone();
        };
        let recipe = &running.recipe;
        let mut held = pipeline::assemble(former, config, recipe, in_force).pipeline;
        let Some(upstream) = upstream.filter(|_| !self.parts.adds_nothing_to(recipe)) else {
            // What cannot be made is all that is new.
            return held;
        };
        // Where the machine is at fault, what is missing comes with the next try. Until then nobody is denied because new
        // rules judge former roles, or former rules new ones.
        let passes = |name: &str| self.parts.error_of(name).is_some_and(PolicyError::may_pass);
        let is_new = |name: &str| match (self.config.policies.get(name), config.policies.get(name)) {
            (Some(new), Some(former)) => !new.is_configured_as(former),
            _ => true,
        };
        if upstream.pipeline.authenticate.iter().any(|name| passes(name) && is_new(name)) {
            return held;
        }
        // What is broken is represented by its former self, which restricts the new roles, too; so is an authenticator that
        // has not changed.
        let judges = |name: &str| held.own_policy(name).filter(|_| !passes(name) || !is_new(name));
        let find = |name: &str| self.parts.policies.get(name).or_else(|| judges(name)).cloned();
        let next = pipeline::assemble(upstream, self.config, &self.parts.recipe, find);
        let PipelineAssembly { pipeline, has_all_authorizers, .. } = next;
        held.next = Some(Box::new(NextPipeline { pipeline, has_all_authorizers }));
        held
    }

    /// The place among `bases` of what `running` is made from. None: it cannot be made again, and stays.
    async fn base(&mut self, running: &Pipeline) -> Option<usize> {
        let known = |base: &RollbackBase| *base.parts.recipe == *running.recipe;
        if let Some(place) = self.bases.iter().position(known) {
            return Some(place);
        }
        let recipe = Arc::clone(&running.recipe);
        let path = self.config.path.as_deref()?;
        let environment = &self.factory.environment;
        let loaded = resolve::load_text_parts(path, recipe.config(), environment, Strictness::Parts).ok()?;
        let parts = self.factory.parts(&loaded.config, Some(self.live), Some(&recipe), CompileMode::Beside);
        let mut parts = Box::pin(parts).await;
        parts.recipe = recipe;
        self.bases.push(RollbackBase { config: loaded.config, parts });
        Some(self.bases.len() - 1)
    }

    /// A policy that decides now and cannot be made again. Where the machine is at fault, it goes on until the machine is
    /// well again. Where its data is, nobody knows what it would refuse by now, so that it denies.
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

/// True if pipelines come from the same recipes, and are held back by the same ones.
fn same_sources(some: &[Pipeline], others: &[Pipeline]) -> bool {
    let of_next = |pipeline: &Pipeline| pipeline.next.as_ref().map(|next| Arc::clone(&next.pipeline.recipe));
    let same = |(one, other): (&Pipeline, &Pipeline)| {
        one.recipe == other.recipe
            && of_next(one) == of_next(other)
            && one.closed.is_some() == other.closed.is_some()
    };
    some.len() == others.len() && some.iter().zip(others).all(same)
}
