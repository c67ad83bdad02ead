//! Twins of generations: the same policies, for explanations alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use witgate_base::clock::{self, Clock};
use witgate_cases::factory::Factory;
use witgate_config::Config;
use witgate_config::environment::Environment;
use witgate_config::resolve::{self, LoadedConfig, Strictness};
use witgate_flow::request::Route;
use witgate_policy::generation::{Generation, Recipe};

use crate::access::scene::DecisionScene;
use crate::routes::routes;

/// Makes twins of generations.
#[derive(Debug)]
pub(in crate::reload) struct TwinMaker {
    factory: Factory,
    /// The clock of all twins.
    clock: Arc<AtomicU64>,
    /// The configuration file.
    path: PathBuf,
    environment: Environment,
}

/// The policies of a generation, for explanations alone.
#[derive(Debug)]
pub(in crate::reload) struct GenerationTwin {
    /// The number of the generation.
    pub(super) number: u64,
    pub(super) config: Config,
    generation: Arc<Generation>,
    routes: Vec<Arc<Route>>,
    clock: Arc<AtomicU64>,
}

impl TwinMaker {
    /// A maker that uses the components which `factory` has compiled.
    pub(in crate::reload) fn new(factory: &Factory, path: PathBuf, environment: Environment) -> Self {
        let clock = Arc::new(AtomicU64::new(clock::since_epoch().as_secs()));
        let factory = factory.beside(Clock::Set(Arc::clone(&clock)));
        Self { factory, clock, path, environment }
    }

    /// The twin of the generation `number` with this recipe. `last` are the variables of the live generation.
    ///
    /// # Errors
    /// With the reason why there is none.
    pub(super) async fn make(
        &self,
        recipe: &Recipe,
        number: u64,
        last: Environment,
    ) -> Result<GenerationTwin, String> {
        let (path, text) = (&self.path, recipe.config());
        let loaded = resolve::load_text_parts(path, text, &self.environment, Some(&last), Strictness::Parts);
        let unusable = |why: String| format!("the policies of generation {number} cannot be built: {why}");
        let loaded = loaded.map_err(|faults| unusable(joined(&faults)))?;
        let LoadedConfig { config, faults, .. } = loaded;
        if !faults.is_empty() {
            return Err(unusable(joined(&faults)));
        }
        let made = self.factory.repeat(&config, None, recipe, number).await;
        let generation = Arc::new(made.map_err(|errors| unusable(joined(&errors)))?);
        let (routes, clock) = (routes(&config), Arc::clone(&self.clock));
        Ok(GenerationTwin { number, config, generation, routes, clock })
    }
}

impl GenerationTwin {
    /// The policies, to ask them.
    pub(super) fn view(&self) -> DecisionScene<'_> {
        let Self { config, generation, routes, clock, .. } = self;
        DecisionScene { config, generation, routes, clock }
    }
}

fn joined(errors: &[impl ToString]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
