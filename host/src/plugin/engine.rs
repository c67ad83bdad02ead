//! The WebAssembly engine. Knows nothing of MCP.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::slow_lane::SlowLane;
use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// The grain of deadlines. One millisecond is the smallest that a limit can name.
pub const TICK: Duration = Duration::from_millis(1);

/// How many instances may live at once, over all policies and generations.
const INSTANCES: u32 = 1000;
/// The largest memory that a policy's limit can name.
pub const LARGEST_MEMORY: usize = 1 << 30;
/// Bytes of a memory or table that stay mapped between uses: the shipped checks write to less. Times a thousand, it is
/// what components that wrote all over theirs can leave behind.
const RESIDENT: usize = 256 << 10;
/// Memories that wait for an instance of the same component. With those that stay mapped in them, this is what
/// components that came and went leave behind.
const WARM: u32 = 32;
/// Stack of WebAssembly code. Interpreters in guests need more than the checks do.
const WASM_STACK: usize = 512 << 10;

/// Frames of a stack that are looked at where a hook fails. A panic of Rust has eight of its own.
const FRAMES: usize = 20;

/// What is told of where a component failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// Functions, by their names.
    Functions,
    /// Lines of the source as well. For whoever looks at his own component: debug information is read anew for each
    /// frame of each failure, and one that is made to be slow takes seconds of a thread that others need.
    Lines,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine cannot start on this machine: {0}")]
pub struct EngineError(String);

/// The engine, with a thread that counts its epochs.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    places: Places,
    long_hooks: Arc<Semaphore>,
    /// None: it runs nothing.
    slow_lane: Option<Arc<SlowLane>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts an engine.
    ///
    /// # Errors
    /// When the machine cannot run it.
    pub fn new() -> Result<Self, EngineError> {
        Self::telling(Places::Functions)
    }

    /// The same, for a command that tells an author where his component failed.
    ///
    /// # Errors
    /// When the machine cannot run it.
    pub fn telling(places: Places) -> Result<Self, EngineError> {
        let inner = pooling_engine(places).or_else(|reason| {
            // Where address space is limited, instances cost more but work the same.
            tracing::debug!("no pooling allocator on this machine ({reason}); instances are made on demand");
            on_demand_engine(places)
        });
        let inner = inner.map_err(|error| EngineError(format!("{error:#}")))?;
        let no_thread = |error: std::io::Error| EngineError(error.to_string());
        count_epochs(&inner).map_err(no_thread)?;
        let slow_lane = SlowLane::new().map_err(no_thread)?;
        Ok(Self { slow_lane: Some(Arc::new(slow_lane)), ..Self::of(inner, places) })
    }

    /// An engine that runs nothing, and makes code for those that do.
    ///
    /// # Errors
    /// When the machine cannot run it.
    pub fn for_compiling(places: Places) -> Result<Self, EngineError> {
        let inner = pooling_engine(places).or_else(|_| on_demand_engine(places));
        Ok(Self::of(inner.map_err(|error| EngineError(format!("{error:#}")))?, places))
    }

    fn of(inner: wasmtime::Engine, places: Places) -> Self {
        // One processor, where there are several, stays with those who are done at once.
        let turns = thread::available_parallelism().map_or(1, |processors| (processors.get() - 1).max(1));
        Self { inner, places, long_hooks: Arc::new(Semaphore::new(turns)), slow_lane: None }
    }

    /// Turns for hooks that run for long: however many loop, the others have a processor.
    pub(super) fn long_hooks(&self) -> &Arc<Semaphore> {
        &self.long_hooks
    }

    /// Threads for components whose hooks run for long.
    pub(super) fn slow_lane(&self) -> Option<&Arc<SlowLane>> {
        self.slow_lane.as_ref()
    }

    /// What it tells of where a component failed.
    pub(super) fn places(&self) -> Places {
        self.places
    }

    /// The engine underneath.
    pub fn inner(&self) -> &wasmtime::Engine {
        &self.inner
    }
}

fn on_demand_engine(places: Places) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(InstanceAllocationStrategy::OnDemand, places))
}

fn pooling_engine(places: Places) -> wasmtime::Result<wasmtime::Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        // As many as an instance may be made of; they are only counted.
        .total_core_instances(100 * INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(2 * INSTANCES)
        .total_stacks(INSTANCES)
        .max_memory_size(LARGEST_MEMORY)
        .max_unused_warm_slots(WARM)
        .linear_memory_keep_resident(RESIDENT)
        .table_keep_resident(RESIDENT)
        .pagemap_scan(Enabled::Auto);
    wasmtime::Engine::new(&config(InstanceAllocationStrategy::Pooling(pool), places))
}

fn config(allocation: InstanceAllocationStrategy, places: Places) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(allocation)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(2 * WASM_STACK)
        // No plugin needs concurrent component-model tasks, and their bookkeeping triples the
        // cost of every call.
        .concurrency_support(false)
        // Looked at only where a hook fails, and whatever the environment says: the compiler's is empty.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(FRAMES))
        .wasm_backtrace_details(match places {
            Places::Functions => WasmBacktraceDetails::Disable,
            Places::Lines => WasmBacktraceDetails::Enable,
        });
    config
}

/// Counts the epochs for as long as the engine lives.
fn count_epochs(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    thread::Builder::new().name("witgate-epochs".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    })?;
    Ok(())
}
