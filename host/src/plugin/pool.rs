//! Configured instances of one component: checked out for a hook, given back after it, and thrown
//! away after any fault.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap};
use witgate_plugin::{Call, ConfigError, Credential, Decision, Description, Principal, Verdict, Wants};

use super::grants::{self, Granted, ImportError};
use super::load::Loaded;
use super::state::{State, on_tick};
use super::v0_1::{Exports, Guest};
use super::{engine::Engine, output};
use crate::config::Limits;
use crate::flow::reject::Failure;
use crate::services::{Scope, Services, clean};

/// How many instances of one policy work at once. Checks that wait for nothing take microseconds,
/// so a few would do; those that wait for an authorization server hold one each.
const AT_WORK: usize = 100;

/// How long `describe` and `configure` may take: they parse stores of any size, off the request
/// path.
const SETUP_TIME: Duration = Duration::from_secs(5);

/// How much longer a hook may take that waits for the network: the longest wait of the fetcher.
const NETWORK_TIME: Duration = Duration::from_secs(5);

/// Why a component cannot serve as a policy.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Its imports are not met.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// It is not of a world of `witgate:auth`.
    #[error("the component is not of a world of `witgate:auth@0.1.0`: {0}")]
    World(String),
    /// `describe` or `configure` did not come back.
    #[error("`{function}` ended with `{}`: {detail}", failure.reason())]
    Setup {
        /// Which of the two.
        function: &'static str,
        /// How.
        failure: Failure,
        /// What the engine says.
        detail: String,
    },
    /// It does not take its settings.
    #[error("the component refuses its settings: {0}")]
    Config(ConfigError),
    /// What it says of itself is not within the bounds.
    #[error("the component describes itself out of bounds: {0}")]
    Description(String),
}

/// How a hook failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason code.
    pub failure: Failure,
    /// For the operator.
    pub detail: String,
}

/// A component, linked and checked, before it has its settings.
pub struct Prepared {
    pre: InstancePre<State>,
    exports: Exports,
    services: Arc<Services>,
    limits: Limits,
}

/// A component at work.
pub struct Pool {
    prepared: Prepared,
    config: String,
    waits: bool,
    idle: Mutex<Vec<Instance>>,
    at_work: Semaphore,
}

struct Instance {
    store: Store<State>,
    guest: Guest,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("idle", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Prepared {
    /// Links a component with what is granted and finds its exports.
    ///
    /// # Errors
    /// When an import is not granted, or the exports are not those of a world.
    pub fn new(
        engine: &Engine,
        loaded: &Loaded,
        granted: Granted,
        services: Arc<Services>,
        limits: Limits,
    ) -> Result<Self, PrepareError> {
        grants::check(engine, &loaded.component, granted)?;
        let world = |error: wasmtime::Error| PrepareError::World(clean(&format!("{error:#}")));
        let linker = grants::linker(engine, granted).map_err(world)?;
        let pre = linker.instantiate_pre(&loaded.component).map_err(world)?;
        let exports = Exports::find(&pre).map_err(world)?;
        if !exports.authenticates() && !exports.authorizes() {
            return Err(PrepareError::World(
                "it exports neither `authentication` nor `authorization`".to_owned(),
            ));
        }
        Ok(Self { pre, exports, services, limits })
    }

    /// Whether it has the hook of an authenticator.
    pub fn authenticates(&self) -> bool {
        self.exports.authenticates()
    }

    /// Whether it has the hook of an authorizer.
    pub fn authorizes(&self) -> bool {
        self.exports.authorizes()
    }

    /// Asks the component what it is.
    ///
    /// # Errors
    /// When it fails to say.
    pub async fn describe(&self) -> Result<Description, PrepareError> {
        let mut instance = self.instantiate().await.map_err(|fault| setup("describe", fault))?;
        let described = instance.guest.describe(&mut instance.store).await;
        let description = described.map_err(|error| setup("describe", instance.fault(&error)))?;
        output::check_description(&description).map_err(PrepareError::Description)?;
        Ok(description)
    }

    /// Hands the settings to a first instance. `waits` says whether hooks wait for the network.
    ///
    /// # Errors
    /// When the component does not take them.
    pub async fn configure(self, config: String, waits: bool) -> Result<(Pool, Wants), PrepareError> {
        let (instance, wants) = self.configured(&config).await?;
        output::check_wants(&wants).map_err(PrepareError::Description)?;
        let pool = Pool {
            prepared: self,
            config,
            waits,
            idle: Mutex::new(vec![instance]),
            at_work: Semaphore::new(AT_WORK),
        };
        Ok((pool, wants))
    }

    async fn configured(&self, config: &str) -> Result<(Instance, Wants), PrepareError> {
        let mut instance = self.instantiate().await.map_err(|fault| setup("configure", fault))?;
        let outcome = instance.guest.configure(&mut instance.store, &self.services.policy, config).await;
        match outcome {
            Ok(Ok(wants)) => {
                instance.store.data_mut().end();
                Ok((instance, wants))
            }
            Ok(Err(error)) => Err(PrepareError::Config(ConfigError {
                pointer: clean(&error.pointer),
                message: clean(&error.message),
            })),
            Err(error) => Err(setup("configure", instance.fault(&error))),
        }
    }

    async fn instantiate(&self) -> Result<Instance, Fault> {
        let state = State::new(Arc::clone(&self.services), Limits { timeout: SETUP_TIME, ..self.limits });
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| state);
        store.epoch_deadline_callback(on_tick);
        store.set_epoch_deadline(1);
        store.data_mut().begin(None, SETUP_TIME);
        let made = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            self.exports.load(&mut store, &instance)
        };
        match made.await {
            Ok(guest) => Ok(Instance { store, guest }),
            Err(error) => Err(fault(store.data().fault(), &error)),
        }
    }
}

fn setup(function: &'static str, fault: Fault) -> PrepareError {
    PrepareError::Setup { function, failure: fault.failure, detail: fault.detail }
}

impl Pool {
    /// Asks the component who shows `credential`.
    ///
    /// # Errors
    /// With how it failed to say; the instance is gone then.
    pub async fn authenticate(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Result<Verdict, Fault> {
        let mut work = self.check_out(scope).await?;
        let outcome = work.instance.guest.authenticate(&mut work.instance.store, call, credential).await;
        let (verdict, overreached) = work.finish(self, outcome)?;
        output::check_verdict(&verdict).map_err(bad_output)?;
        if overreached && matches!(verdict, Verdict::Identity(_)) {
            return Err(overreach());
        }
        Ok(verdict)
    }

    /// Asks the component whether `principal` may make `call`.
    ///
    /// # Errors
    /// With how it failed to say; the instance is gone then.
    pub async fn authorize(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Result<Decision, Fault> {
        let mut work = self.check_out(scope).await?;
        let outcome = work.instance.guest.authorize(&mut work.instance.store, call, principal).await;
        let (decision, overreached) = work.finish(self, outcome)?;
        output::check_decision(&decision).map_err(bad_output)?;
        if overreached && matches!(decision, Decision::Allow | Decision::Abstain) {
            return Err(overreach());
        }
        Ok(decision)
    }

    /// Whether it has the hook of an authenticator.
    pub fn authenticates(&self) -> bool {
        self.prepared.authenticates()
    }

    /// Whether it has the hook of an authorizer.
    pub fn authorizes(&self) -> bool {
        self.prepared.authorizes()
    }

    /// How many instances are waiting for work.
    pub fn idle(&self) -> usize {
        self.lock().len()
    }

    async fn check_out(&self, scope: &Scope) -> Result<Work<'_>, Fault> {
        let limits = self.prepared.limits;
        let time = limits.timeout + if self.waits { NETWORK_TIME } else { Duration::ZERO };
        let permit = self.permit(time).await?;
        // Taken in a statement of its own, so that the lock is not held over the making.
        let idle = self.lock().pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => self.make().await?,
        };
        instance.store.data_mut().limit(limits);
        instance.store.data_mut().begin(Some(scope.clone()), time);
        instance.store.set_epoch_deadline(1);
        Ok(Work { instance, _permit: permit })
    }

    async fn permit(&self, time: Duration) -> Result<SemaphorePermit<'_>, Fault> {
        if let Ok(permit) = self.at_work.try_acquire() {
            return Ok(permit);
        }
        match timeout_at(Instant::now() + time, self.at_work.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Fault {
                failure: Failure::Timeout,
                detail: format!("all {AT_WORK} instances of the policy were busy"),
            }),
        }
    }

    async fn make(&self) -> Result<Instance, Fault> {
        match self.prepared.configured(&self.config).await {
            Ok((instance, _)) => Ok(instance),
            Err(PrepareError::Setup { failure, detail, .. }) => Err(Fault { failure, detail }),
            Err(error) => Err(Fault { failure: Failure::Config, detail: error.to_string() }),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance at work. Dropped in the middle of a hook (the caller went away), it is gone.
struct Work<'a> {
    instance: Instance,
    _permit: SemaphorePermit<'a>,
}

impl Work<'_> {
    /// The hook's output, and whether it reached for what is not granted.
    fn finish<T>(mut self, pool: &Pool, outcome: wasmtime::Result<T>) -> Result<(T, bool), Fault> {
        match outcome {
            Ok(output) => {
                let overreached = self.instance.store.data().has_overreached();
                self.instance.store.data_mut().end();
                pool.lock().push(self.instance);
                Ok((output, overreached))
            }
            Err(error) => Err(self.instance.fault(&error)),
        }
    }
}

impl Instance {
    fn fault(&self, error: &wasmtime::Error) -> Fault {
        fault(self.store.data().fault(), error)
    }
}

/// Which reason code a trap gets: the host's own, where the host ended the hook.
fn fault(known: Option<Failure>, error: &wasmtime::Error) -> Fault {
    let failure = known.unwrap_or(match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Failure::Fuel,
        Some(Trap::Interrupt) => Failure::Timeout,
        _ if error.is::<wasmtime::PoolConcurrencyLimitError>() => Failure::Unavailable,
        _ => Failure::Trap,
    });
    Fault { failure, detail: clean(&error.root_cause().to_string()) }
}

fn overreach() -> Fault {
    let detail = "the component reached for what is not granted, and went on".to_owned();
    Fault { failure: Failure::HostDenied, detail }
}

fn bad_output(detail: String) -> Fault {
    Fault { failure: Failure::BadOutput, detail }
}
