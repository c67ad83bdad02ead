//! An instance of a component: created, configured, and called for one hook at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};
use witgate_plugin::{ConfigError, Description, Wants};

use super::engine::Engine;
use super::epochs::Epochs;
use super::fault::Fault;
use super::grants::{self, GrantedInterfaces, ImportError};
use super::linker::linker;
use super::load::LoadedComponent;
use super::output;
use super::slow_lane::{Lane, SlowLane};
use super::state::{Gauges, HookLimits, State, on_tick};
use super::time::HookTime;
use super::v0_1::{Exports, GuestExports};
use crate::failure::Failure;
use witgate_base::cause::Cause;
use witgate_base::printable::clean;
use witgate_config::Limits;
use witgate_services::{Scope, Services};

/// Time limit for `describe` and `configure`. They parse stores of any size, but no request waits for them.
const SETUP_TIME: Duration = Duration::from_secs(5);

/// Maximum output of `describe` and `configure`. It is above the limits of their results, so that an error names the
/// exceeded limit.
const SETUP_OUTPUT: usize = 8 << 20;

/// The package of the worlds.
pub const PACKAGE: &str = "witgate:auth";
/// Its version.
pub const VERSION: &str = "0.1.0";

/// The error when a component cannot be used as a policy.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// An import is not available.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The component does not have a world of `witgate:auth`.
    #[error("the component is not of a world of `witgate:auth@0.1.0`: {0}")]
    World(String),
    /// `describe` or `configure` did not return.
    #[error("`{function}` ended with `{}`: {detail}", failure.reason())]
    Setup {
        /// The function.
        function: &'static str,
        /// The kind of failure.
        failure: Failure,
        /// The engine's message.
        detail: String,
    },
    /// The component refuses its settings.
    #[error("the component refuses its settings: {0}")]
    Config(ConfigError),
    /// The result of `describe` exceeds a limit.
    #[error("invalid `describe` result: {0}; correct what `describe` returns")]
    Description(String),
    /// The result of `configure` exceeds a limit.
    #[error("invalid `configure` result: {0}; correct what `configure` returns")]
    Wants(String),
}

impl PrepareError {
    /// The cause.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Setup { failure, .. } => failure.cause(),
            Self::Import(_) | Self::World(_) | Self::Config(_) | Self::Description(_) | Self::Wants(_) => {
                Cause::Content
            }
        }
    }

    fn world(error: wasmtime::Error) -> Self {
        Self::World(clean(&format!("{error:#}")))
    }

    /// The names are right, but the types are not.
    fn other_types(error: wasmtime::Error) -> Self {
        Self::World(format!(
            "{}; it was built with another WIT than this host's: use the files of `witgate:auth@0.1.0` unchanged",
            clean(&format!("{error:#}"))
        ))
    }

    fn setup(function: &'static str, fault: Fault) -> Self {
        let detail = match fault.failure {
            Failure::Output => {
                format!("its output to the host at once exceeds {} MiB; make it smaller", SETUP_OUTPUT >> 20)
            }
            _ => fault.detail,
        };
        Self::Setup { function, failure: fault.failure, detail }
    }
}

/// Checks that a component has the exports of a world.
fn check_world(engine: &Engine, component: &Component) -> Result<(), PrepareError> {
    let kind = component.component_type();
    let exports: Vec<String> = kind.exports(engine.inner()).map(|(name, _)| name.to_owned()).collect();
    world_of(&exports).map(drop).map_err(PrepareError::World)
}

/// The world with these exports.
///
/// # Errors
/// With the missing or superfluous export.
pub fn world_of(exports: &[String]) -> Result<&'static str, String> {
    let has = |name: &str| exports.iter().any(|export| export == &format!("{PACKAGE}/{name}@{VERSION}"));
    let ours = |export: &&String| export.strip_prefix(PACKAGE).is_some_and(|rest| rest.starts_with('/'));
    let other = |export: &&String| !export.ends_with(&format!("@{VERSION}"));
    match (has("plugin"), has("authentication"), has("authorization"), has("list-authorization")) {
        (true, true, true, false) => return Ok("policy"),
        (true, true, true, true) => return Ok("list-policy"),
        (true, true, false, false) => return Ok("authenticator"),
        (true, false, true, false) => return Ok("authorizer"),
        (true, false, true, true) => return Ok("list-authorizer"),
        (true, _, false, true) => {
            return Err("it exports `list-authorization` without `authorization`; implement both".to_owned());
        }
        _ => {}
    }
    if let Some(export) = exports.iter().filter(ours).find(other) {
        return Err(format!(
            "it exports `{}`; this host has `{PACKAGE}@{VERSION}`, so build it against that version",
            clean(export)
        ));
    }
    if exports.iter().any(|export| ours(&export)) {
        return Err(match has("plugin") {
            true => {
                "it exports neither `authentication` nor `authorization`; implement one of them".to_owned()
            }
            false => "it does not export `plugin`; implement `describe` and `configure`".to_owned(),
        });
    }
    let found = match exports.first() {
        Some(first) => format!("it exports `{}` and nothing of that package", clean(first)),
        None => "it exports nothing".to_owned(),
    };
    Err(format!("{found}; build it for the world `authenticator`, `authorizer` or `policy`"))
}

impl From<PrepareError> for Fault {
    /// The fault of a component that was configured before, and fails the next time.
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Setup { failure, detail, .. } => Self { failure, detail },
            error => Self::new(Failure::Config, error.to_string()),
        }
    }
}

/// A component, linked and checked, without settings.
#[derive(Clone)]
pub struct PreparedComponent {
    pre: InstancePre<State>,
    exports: Exports,
    services: Arc<Services>,
    limits: Limits,
    gauges: Arc<Gauges>,
    long_hooks: Arc<Semaphore>,
    slow_lane: Option<Arc<SlowLane>>,
    epochs: Option<Arc<Epochs>>,
}

/// An instance.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    pub(super) guest: GuestExports,
    /// The number of hooks that it has answered.
    pub(super) served: u64,
}

impl PreparedComponent {
    /// Links a component with the granted interfaces, and finds its exports.
    ///
    /// # Errors
    /// If an import is not granted, or the exports are not those of a world.
    pub fn new(
        engine: &Engine,
        loaded: &LoadedComponent,
        granted: GrantedInterfaces,
        services: Arc<Services>,
        limits: Limits,
    ) -> Result<Self, PrepareError> {
        let pre = loaded.linked(granted, || {
            check_world(engine, &loaded.component)?;
            grants::check(engine, &loaded.component, granted)?;
            let linker = linker(engine, granted).map_err(PrepareError::world)?;
            linker.instantiate_pre(&loaded.component).map_err(PrepareError::other_types)
        })?;
        let exports = Exports::find(&pre).map_err(PrepareError::other_types)?;
        let (long_hooks, slow_lane) = (Arc::clone(engine.long_hooks()), engine.slow_lane().cloned());
        let epochs = engine.epochs().cloned();
        Ok(Self { pre, exports, services, limits, gauges: Arc::default(), long_hooks, slow_lane, epochs })
    }

    /// True if the component exports the hook of an authenticator.
    pub fn authenticates(&self) -> bool {
        self.exports.authenticates()
    }

    /// True if the component exports the hook of an authorizer.
    pub fn authorizes(&self) -> bool {
        self.exports.authorizes()
    }

    /// True if the component decides about many entries of a list in one call.
    pub fn authorizes_entries(&self) -> bool {
        self.exports.authorizes_entries()
    }

    /// The threads for long-running hooks.
    pub(super) fn slow_lane(&self) -> Option<&Arc<SlowLane>> {
        self.slow_lane.as_ref()
    }

    /// Keeps the clock of hooks going for one of this time.
    pub(super) fn count_epochs(&self, time: &HookTime) {
        if let Some(epochs) = &self.epochs {
            epochs.go_on_until(time.deadline().into_std());
        }
    }

    /// The limits of a hook.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Maximum number of instances at work at the same time. All policies share one supply, with one memory and two
    /// tables for each instance. A component that needs more of them per instance gets fewer instances.
    pub(super) fn at_once(&self) -> usize {
        let parts = self.pre.component().resources_required();
        let each = parts.map_or(1, |parts| parts.num_memories.max(parts.num_tables.div_ceil(2)).max(1));
        (self.limits.instances / usize::try_from(each).unwrap_or(usize::MAX)).max(1)
    }

    /// The gauges of the instances.
    pub(super) fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Calls `describe`.
    ///
    /// # Errors
    /// If it fails.
    pub async fn describe(&self) -> Result<Description, PrepareError> {
        let failed = |fault| PrepareError::setup("describe", fault);
        let mut instance = self.instantiate("describe").await?;
        let Instance { store, guest, .. } = &mut instance;
        let described = store.data().time().bounds(guest.describe(store)).await.map_err(failed)?;
        let description = described.map_err(|error| failed(instance.fault(&error)))?;
        output::check_description(&description).map_err(PrepareError::Description)?;
        Ok(description)
    }

    /// A configured instance, and the data that it wants.
    ///
    /// # Errors
    /// If the component refuses the settings.
    pub(super) async fn configured(&self, config: &str) -> Result<(Instance, Wants), PrepareError> {
        let failed = |fault| PrepareError::setup("configure", fault);
        let mut instance = self.instantiate("configure").await?;
        let Instance { store, guest, .. } = &mut instance;
        let time = store.data().time();
        match time.bounds(guest.configure(store, &self.services.policy, config)).await.map_err(failed)? {
            Ok(Ok(wants)) => {
                output::check_wants(&wants).map_err(PrepareError::Wants)?;
                instance.store.data_mut().end();
                instance.store.set_hostcall_fuel(self.limits.output);
                Ok((instance, wants))
            }
            Ok(Err(error)) => Err(PrepareError::Config(ConfigError {
                pointer: clean(&error.pointer),
                message: clean(&error.message),
            })),
            Err(error) => Err(failed(instance.fault(&error))),
        }
    }

    /// An instance for `function`, which the error names.
    async fn instantiate(&self, function: &'static str) -> Result<Instance, PrepareError> {
        let state = State::new(
            Arc::clone(&self.services),
            self.limits,
            Arc::clone(&self.gauges),
            Arc::clone(&self.long_hooks),
        );
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(SETUP_OUTPUT);
        store.set_max_component_handles(self.limits.handles);
        store.epoch_deadline_callback(on_tick);
        let time = HookTime::of(SETUP_TIME);
        self.count_epochs(&time);
        store.set_epoch_deadline(1);
        let limits = HookLimits::of(&Limits { timeout: SETUP_TIME, ..self.limits }, 1);
        store.data_mut().begin(None, limits, time.clone(), Lane::Fast);
        let failed = |fault| PrepareError::setup(function, fault);
        let made = time.bounds(self.pre.instantiate_async(&mut store)).await.map_err(failed)?;
        let made = made.map_err(|error| failed(store.data_mut().fault(&error)))?;
        let guest = self.exports.load(&mut store, &made).map_err(PrepareError::other_types)?;
        Ok(Instance { store, guest, served: 0 })
    }
}

impl Instance {
    /// Prepares the instance for a hook about `scope`.
    pub(super) fn begin(&mut self, scope: Scope, limits: HookLimits, time: HookTime, lane: Lane) {
        self.store.data_mut().begin(Some(scope), limits, time, lane);
        self.store.set_epoch_deadline(1);
    }

    pub(super) fn fault(&mut self, error: &wasmtime::Error) -> Fault {
        self.store.data_mut().fault(error)
    }
}
