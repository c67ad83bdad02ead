//! The scene of an explanation: the policies of a configuration, built in this process for explanations alone, and their
//! clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::access::question::CallQuestion;
use crate::access::scene::DecisionScene;
use crate::cli::context::{Context, DEFAULT_CONFIG};
use crate::cli::outcome::CommandFailure;
use crate::reload::rollback::Rollback;
use crate::routes::routes;
use crate::serve::{cache_directory, load};
use witgate_base::clock::Clock;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_component::store::ComponentStore;
use witgate_config::resolve::LoadedConfig;
use witgate_config::{Config, Upstream, resolve};
use witgate_flow::explanation::{ExplainedCause, Explanation};
use witgate_flow::request::Route;
use witgate_plugin::TargetKind;
use witgate_policy::generation::{Generation, Recipe};

/// The source of the policies of a scene.
#[derive(Clone, Debug)]
pub(in crate::cli) enum SceneSource {
    /// The configuration in force: that of the files, or of a rollback.
    InForce,
    /// Another configuration: a directory or a file.
    Candidate(PathBuf),
    /// An earlier generation.
    Earlier(Box<Recipe>),
    /// The configuration in force, with another component of a policy.
    Component {
        /// The policy's name.
        policy: String,
        /// The component.
        file: PathBuf,
    },
}

impl SceneSource {
    /// The configuration in force, or that of a candidate.
    pub(in crate::cli) fn of(candidate: Option<&Path>) -> Self {
        candidate.map_or(Self::InForce, |candidate| Self::Candidate(candidate.to_owned()))
    }

    /// The configuration, and the recipe whose components decide in place of the files.
    fn load(&self, context: &Context) -> Result<(LoadedConfig, Option<Recipe>), CommandFailure> {
        let own = || context.config_path();
        match self {
            Self::InForce | Self::Component { .. } => {
                let loaded = load(own().as_deref(), &context.environment);
                let (mut loaded, rollback) = loaded.map_err(CommandFailure::Config)?;
                if let Self::Component { policy, file } = self {
                    replace_component(&mut loaded.config, policy, file)?;
                }
                Ok((loaded, rollback.map(|rollback| rollback.recipe)))
            }
            Self::Candidate(candidate) => {
                let path = candidate_path(own().as_deref(), candidate)?;
                let loaded = resolve::load(Some(&path), &context.environment);
                Ok((loaded.map_err(CommandFailure::Config)?, None))
            }
            Self::Earlier(recipe) => {
                let path = own().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG));
                let loaded = resolve::load_text(&path, recipe.config(), &context.environment);
                Ok((loaded.map_err(CommandFailure::Config)?, Some(Recipe::clone(recipe))))
            }
        }
    }
}

/// A configuration with its policies.
pub(in crate::cli) struct ExplanationScene {
    pub(in crate::cli) config: Config,
    pub(in crate::cli) generation: Arc<Generation>,
    pub(in crate::cli) factory: Factory,
    clock: Arc<AtomicU64>,
    pub(super) routes: Vec<Arc<Route>>,
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
        Self::from(context, &SceneSource::of(candidate), at).await
    }

    /// Builds the policies of `source`.
    pub(in crate::cli) async fn from(
        context: &Context,
        source: &SceneSource,
        at: u64,
    ) -> Result<Self, CommandFailure> {
        let (loaded, recipe) = source.load(context)?;
        let (clock, config) = (Arc::new(AtomicU64::new(at)), loaded.config);
        let factory = factory(context, &config, recipe.is_some(), &clock)?;
        let first = factory.first(&config, recipe.as_ref()).await;
        let (generation, errors) = first.map_err(|errors| {
            let fault = |error: &witgate_policy::PolicyError| {
                resolve::policy_fault(config.path.as_deref(), &error.policy, &error.message)
            };
            CommandFailure::Config(errors.iter().map(fault).collect())
        })?;
        let faults = loaded.faults.iter().map(ToString::to_string);
        let faults = faults.chain(errors.iter().map(ToString::to_string)).collect();
        let routes = routes(&config);
        Ok(Self { generation: Arc::new(generation), factory, clock, routes, faults, config })
    }

    /// The policies, to ask them.
    pub(in crate::cli) fn view(&self) -> DecisionScene<'_> {
        let Self { config, generation, routes, clock, .. } = self;
        DecisionScene { config, generation, routes, clock }
    }

    /// The place of the upstream of this name, or of the only one.
    pub(in crate::cli) fn upstream(&self, name: Option<&str>) -> Result<usize, CommandFailure> {
        let upstreams = &self.config.upstreams;
        let endpoints = self.config.endpoints.iter().map(|endpoint| endpoint.name.as_str());
        let all = || upstreams.iter().map(|upstream| upstream.name.as_str()).chain(endpoints.clone());
        let names = || all().collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => self.view().place(name).ok_or_else(|| {
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

    /// True for each of `names` that the sender of `question`, which asks for a list, sees in it; or the reason why they get
    /// no list.
    pub(in crate::cli) async fn lists(
        &self,
        question: &CallQuestion,
        kind: TargetKind,
        names: &[&str],
    ) -> Result<Result<Vec<bool>, ExplainedCause>, CommandFailure> {
        Ok(self.view().lists(question, kind, names).await?)
    }

    /// The answer of the policies to a question.
    pub(in crate::cli) async fn explain(
        &self,
        question: &CallQuestion,
    ) -> Result<Explanation, CommandFailure> {
        Ok(self.view().explain(question).await?)
    }
}

/// The file of a candidate. In a directory, it has the same name as the configuration in force, `own`.
fn candidate_path(own: Option<&Path>, candidate: &Path) -> Result<PathBuf, CommandFailure> {
    if !candidate.is_dir() {
        return Ok(candidate.to_owned());
    }
    let name = own.and_then(Path::file_name).unwrap_or(DEFAULT_CONFIG.as_ref());
    let names = [name, DEFAULT_CONFIG.as_ref()];
    let found = names.iter().map(|name| candidate.join(name)).find(|path| path.exists());
    found.ok_or_else(|| {
        CommandFailure::new(format!("{} contains no {}", candidate.display(), Path::new(name).display()))
    })
}

fn replace_component(config: &mut Config, policy: &str, file: &Path) -> Result<(), CommandFailure> {
    let known = config.policies.get_mut(policy).ok_or_else(|| {
        CommandFailure::new(format!(
            "the configuration has no policy `{policy}`; name one with `--policy NAME`"
        ))
    })?;
    known.component = Some(file.to_owned());
    Ok(())
}

/// A factory whose policies change nothing. It reads kept components only if a recipe names the components.
fn factory(
    context: &Context,
    config: &Config,
    has_recipe: bool,
    clock: &Arc<AtomicU64>,
) -> Result<Factory, CommandFailure> {
    let engine = Engine::new().map_err(|error| CommandFailure::new(error.to_string()))?;
    let state = config.server.state.as_deref().filter(|_| has_recipe);
    let store = state.map(|state| ComponentStore::new(Rollback::components(state)));
    let cache = cache_directory(&context.environment);
    let loader = Loader::new(engine, Compiler::own(), cache).keeping(store);
    let clock = Clock::Set(Arc::clone(clock));
    Ok(Factory::new(loader, context.environment.clone(), clock).observing())
}
