//! The scene of an explanation: the policies of a configuration, built in this process for explanations alone, and their
//! clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::question::CallQuestion;
use crate::cli::context::{Context, DEFAULT_CONFIG};
use crate::cli::outcome::CommandFailure;
use crate::reload::rollback::Rollback;
use crate::serve::{cache_directory, load, route};
use witgate_base::clock::Clock;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_component::store::ComponentStore;
use witgate_config::{Config, Upstream, resolve};
use witgate_flow::authorize::EntryAccess;
use witgate_flow::explanation::{ExplainedCause, Explanation, explain, listed};
use witgate_flow::request::Route;
use witgate_plugin::TargetKind;
use witgate_policy::generation::Generation;

/// A configuration with its policies.
pub(in crate::cli) struct ExplanationScene {
    pub(in crate::cli) config: Config,
    pub(in crate::cli) generation: Arc<Generation>,
    pub(in crate::cli) factory: Factory,
    clock: Arc<AtomicU64>,
    routes: Vec<Arc<Route>>,
    /// The faults of parts that the scene leaves out.
    pub(in crate::cli) faults: Vec<String>,
}

impl ExplanationScene {
    /// Builds the policies of the configuration in force, or those of a candidate: a directory or a file. `at` is the
    /// time, in seconds since the Unix epoch.
    pub(in crate::cli) async fn build(
        context: &Context,
        candidate: Option<&Path>,
        at: u64,
    ) -> Result<Self, CommandFailure> {
        let path = config_path(context, candidate)?;
        let (loaded, rollback) = match candidate {
            Some(_) => {
                let loaded = resolve::load(path.as_deref(), &context.environment);
                (loaded.map_err(CommandFailure::Config)?, None)
            }
            None => load(path.as_deref(), &context.environment).map_err(CommandFailure::Config)?,
        };
        let (clock, config) = (Arc::new(AtomicU64::new(at)), loaded.config);
        let factory = factory(context, &config, rollback.as_ref(), &clock)?;
        let recipe = rollback.as_ref().map(|rollback| &rollback.recipe);
        let first = factory.first(&config, recipe).await;
        let (generation, errors) = first.map_err(|errors| {
            let fault = |error: &witgate_policy::PolicyError| {
                resolve::policy_fault(config.path.as_deref(), &error.policy, &error.message)
            };
            CommandFailure::Config(errors.iter().map(fault).collect())
        })?;
        let faults = loaded.faults.iter().map(ToString::to_string);
        let faults = faults.chain(errors.iter().map(ToString::to_string)).collect();
        let upstreams = config.upstreams.iter().enumerate();
        let routes = upstreams.map(|(place, upstream)| Arc::new(route(&config, place, upstream))).collect();
        Ok(Self { generation: Arc::new(generation), factory, clock, routes, faults, config })
    }

    /// The place of the upstream of this name, or of the only one.
    pub(in crate::cli) fn upstream(&self, name: Option<&str>) -> Result<usize, CommandFailure> {
        let upstreams = &self.config.upstreams;
        let names = || upstreams.iter().map(|upstream| upstream.name.as_str()).collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => upstreams.iter().position(|upstream| upstream.name == name).ok_or_else(|| {
                CommandFailure::new(format!("there is no upstream `{name}`; there are: {}", names()))
            }),
            None if upstreams.len() == 1 => Ok(0),
            None => Err(CommandFailure::new(format!(
                "there are several upstreams; name one with `--upstream NAME`: {}",
                names()
            ))),
        }
    }

    pub(in crate::cli) fn upstream_at(&self, place: usize) -> Option<&Upstream> {
        self.config.upstreams.get(place)
    }

    /// The route to the upstream at `place`.
    pub(in crate::cli) fn route(&self, place: usize) -> Result<&Arc<Route>, CommandFailure> {
        self.routes.get(place).ok_or_else(|| CommandFailure::new("there is no such upstream"))
    }

    /// True for each of `names` that the sender of `question`, which asks for a list, sees in it; or the reason why they get
    /// no list.
    pub(in crate::cli) async fn lists(
        &self,
        question: &CallQuestion,
        kind: TargetKind,
        names: &[&str],
    ) -> Result<Result<Vec<bool>, ExplainedCause>, CommandFailure> {
        let route = self.route(question.upstream)?;
        self.clock.store(question.at, Ordering::Relaxed);
        question.prepare(&self.generation);
        let asked = question.arrival(&self.config)?;
        let seen = listed(&self.generation, route, asked, kind, names).await;
        Ok(seen.map(|seen| seen.into_iter().map(|access| access != EntryAccess::None).collect()))
    }

    /// The answer of the policies to a question.
    pub(in crate::cli) async fn explain(
        &self,
        question: &CallQuestion,
    ) -> Result<Explanation, CommandFailure> {
        let route = self.route(question.upstream)?;
        self.clock.store(question.at, Ordering::Relaxed);
        question.prepare(&self.generation);
        let (arrival, caller) = question.arrival(&self.config)?;
        Ok(explain(&self.generation, route, arrival, caller).await)
    }
}

/// The file of the configuration. In the directory of a candidate, it has the same name as the configuration in force.
fn config_path(context: &Context, candidate: Option<&Path>) -> Result<Option<PathBuf>, CommandFailure> {
    let own = context.config_path();
    let Some(candidate) = candidate else { return Ok(own) };
    if !candidate.is_dir() {
        return Ok(Some(candidate.to_owned()));
    }
    let name = own.as_deref().and_then(Path::file_name).unwrap_or(DEFAULT_CONFIG.as_ref());
    let names = [name, DEFAULT_CONFIG.as_ref()];
    let found = names.iter().map(|name| candidate.join(name)).find(|path| path.exists());
    found.map(Some).ok_or_else(|| {
        CommandFailure::new(format!("{} contains no {}", candidate.display(), Path::new(name).display()))
    })
}

/// A factory whose policies change nothing. It reads kept components only for a rollback that is in force.
fn factory(
    context: &Context,
    config: &Config,
    rollback: Option<&Rollback>,
    clock: &Arc<AtomicU64>,
) -> Result<Factory, CommandFailure> {
    let engine = Engine::new().map_err(|error| CommandFailure::new(error.to_string()))?;
    let state = config.server.state.as_deref().filter(|_| rollback.is_some());
    let store = state.map(|state| ComponentStore::new(Rollback::components(state)));
    let cache = cache_directory(&context.environment);
    let loader = Loader::new(engine, Compiler::own(), cache).keeping(store);
    let clock = Clock::Set(Arc::clone(clock));
    Ok(Factory::new(loader, context.environment.clone(), clock).observing())
}
