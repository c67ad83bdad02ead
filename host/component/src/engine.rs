//! The WebAssembly engine. It is independent of MCP.

use std::sync::Arc;
use std::thread;

use super::epochs::Epochs;
use super::slow_lane::SlowLane;
use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// Maximum number of live instances, over all policies and generations.
const INSTANCES: u32 = 1000;
/// The largest limit of memory in settings.
pub const LARGEST_MEMORY: usize = 1 << 30;
/// Bytes of a memory or table that stay mapped between uses. The shipped checks write to fewer. A thousand times this
/// number is the most that removed components can leave behind.
const RESIDENT: usize = 256 << 10;
/// Memories that wait for an instance of the same component. Together with the bytes that stay mapped, they limit what
/// removed components leave behind.
const WARM: u32 = 32;
/// The stack of WebAssembly code. Interpreters in guests need more than the checks do.
const WASM_STACK: usize = 512 << 10;

/// Frames of a stack that are read after the failure of a hook. A panic of Rust has eight of its own.
const FRAMES: usize = 20;

/// The detail of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// Names of functions.
    Functions,
    /// Lines of the source as well. This is for authors who examine their own components: debug information is read
    /// again for each frame of each failure, and a malicious one can take seconds of a thread.
    Lines,
}

/// The address space for memories. Compiled code works with only one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// All of it is reserved at the start, so that code need not check bounds.
    Reserved,
    /// Each memory takes only what it uses. This is for a limited address space (`ulimit -v`); code is slower.
    Scarce,
}

/// The error when the engine cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine cannot start on this machine: {0}")]
pub struct EngineError(String);

/// The engine, with the clock of its hooks.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    places: Places,
    room: Room,
    long_hooks: Arc<Semaphore>,
    /// None: this engine runs nothing.
    slow_lane: Option<Arc<SlowLane>>,
    /// None: it runs nothing.
    epochs: Option<Arc<Epochs>>,
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

    /// The same, for a command that shows authors the place of a failure.
    ///
    /// # Errors
    /// If the machine cannot run it.
    pub fn telling(places: Places) -> Result<Self, EngineError> {
        let reserved = engine(Room::Reserved, places).map(|inner| (inner, Room::Reserved));
        let (inner, room) = reserved
            .or_else(|reason| {
                tracing::info!(
                    "address space is limited here ({reason}); components take less of it and are slower"
                );
                Ok((engine(Room::Scarce, places)?, Room::Scarce))
            })
            .map_err(|error: wasmtime::Error| EngineError(format!("{error:#}")))?;
        let no_thread = |error: std::io::Error| EngineError(error.to_string());
        let epochs = Some(Epochs::count(&inner).map_err(no_thread)?);
        let slow_lane = Some(Arc::new(SlowLane::new().map_err(no_thread)?));
        Ok(Self { slow_lane, epochs, ..Self::of(inner, places, room) })
    }

    /// An engine that runs nothing, and compiles code for engines with this room.
    ///
    /// # Errors
    /// If the machine cannot run it.
    pub(super) fn for_compiling(places: Places, room: Room) -> Result<Self, EngineError> {
        let inner = engine(room, places).or_else(|_| {
            // This engine only compiles. Its own reservations do not matter, but the bounds checks in the code do.
            wasmtime::Engine::new(&config(room, InstanceAllocationStrategy::OnDemand, places))
        });
        Ok(Self::of(inner.map_err(|error| EngineError(format!("{error:#}")))?, places, room))
    }

    fn of(inner: wasmtime::Engine, places: Places, room: Room) -> Self {
        // If there are several processors, one of them is left to hooks that end quickly.
        let turns = thread::available_parallelism().map_or(1, |processors| (processors.get() - 1).max(1));
        Self {
            inner,
            places,
            room,
            long_hooks: Arc::new(Semaphore::new(turns)),
            slow_lane: None,
            epochs: None,
        }
    }

    /// Turns for long-running hooks. They leave a processor to all others.
    pub(super) fn long_hooks(&self) -> &Arc<Semaphore> {
        &self.long_hooks
    }

    /// Threads for components with long-running hooks.
    pub(super) fn slow_lane(&self) -> Option<&Arc<SlowLane>> {
        self.slow_lane.as_ref()
    }

    /// The clock of its hooks.
    pub(super) fn epochs(&self) -> Option<&Arc<Epochs>> {
        self.epochs.as_ref()
    }

    /// The detail of traces.
    pub(super) fn places(&self) -> Places {
        self.places
    }

    /// The room for memories.
    pub(super) fn room(&self) -> Room {
        self.room
    }

    /// The engine underneath.
    pub fn inner(&self) -> &wasmtime::Engine {
        &self.inner
    }
}

fn engine(room: Room, places: Places) -> wasmtime::Result<wasmtime::Engine> {
    let allocation = match room {
        Room::Reserved => InstanceAllocationStrategy::Pooling(pool()),
        Room::Scarce => InstanceAllocationStrategy::OnDemand,
    };
    wasmtime::Engine::new(&config(room, allocation, places))
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        // The total for the parts of all instances; they are only counted.
        .total_core_instances(100 * INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(2 * INSTANCES)
        .total_stacks(INSTANCES)
        .max_memory_size(LARGEST_MEMORY)
        .max_unused_warm_slots(WARM)
        .linear_memory_keep_resident(RESIDENT)
        .table_keep_resident(RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn config(room: Room, allocation: InstanceAllocationStrategy, places: Places) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(allocation)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(2 * WASM_STACK)
        // Plugins do not need concurrent component-model tasks, whose bookkeeping triples the cost of every call.
        .concurrency_support(false)
        // Frames are read only after a failure. The environment does not change that, because the compiler's is empty.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(FRAMES))
        .wasm_backtrace_details(match places {
            Places::Functions => WasmBacktraceDetails::Disable,
            Places::Lines => WasmBacktraceDetails::Enable,
        });
    if room == Room::Scarce {
        // A memory has the size that it asks for, and moves when it grows. `memory_mib` limits it in any case.
        config.memory_reservation(0).memory_reservation_for_growth(1 << 20).memory_guard_size(64 << 10);
    }
    config
}
