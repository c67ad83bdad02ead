//! The WebAssembly engine. Knows nothing of MCP.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::slow_lane::SlowLane;
use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// The grain of deadlines. One millisecond is the smallest that a limit can name.
pub const TICK: Duration = Duration::from_millis(1);

/// Maximum number of live instances, over all policies and generations.
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

/// The detail of traces: with or without lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// Functions, by their names.
    Functions,
    /// Lines of the source as well. For authors who look at their own components: debug information is read anew for each
    /// frame of each failure, and one that is made to be slow takes seconds of a thread that others need.
    Lines,
}

/// Room for memories in the address space. Compiled code is for one of these alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// All of it is reserved at the start, so that code need not look at bounds.
    Reserved,
    /// Each memory takes what it uses, for where address space is limited (`ulimit -v`): code is slower.
    Scarce,
}

/// The error when the engine cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine cannot start on this machine: {0}")]
pub struct EngineError(String);

/// The engine, with a thread that counts its epochs.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    places: Places,
    room: Room,
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

    /// The same, for a command that tells authors where their component failed.
    ///
    /// # Errors
    /// When the machine cannot run it.
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
        count_epochs(&inner).map_err(no_thread)?;
        let slow_lane = SlowLane::new().map_err(no_thread)?;
        Ok(Self { slow_lane: Some(Arc::new(slow_lane)), ..Self::of(inner, places, room) })
    }

    /// An engine that runs nothing, and makes code for those that do and have this room.
    ///
    /// # Errors
    /// When the machine cannot run it.
    pub(super) fn for_compiling(places: Places, room: Room) -> Result<Self, EngineError> {
        let inner = engine(room, places).or_else(|_| {
            // Whoever compiles runs nothing: what is reserved does not count, what the code looks at does.
            wasmtime::Engine::new(&config(room, InstanceAllocationStrategy::OnDemand, places))
        });
        Ok(Self::of(inner.map_err(|error| EngineError(format!("{error:#}")))?, places, room))
    }

    fn of(inner: wasmtime::Engine, places: Places, room: Room) -> Self {
        // One processor, where there are several, stays with those who are done at once.
        let turns = thread::available_parallelism().map_or(1, |processors| (processors.get() - 1).max(1));
        Self { inner, places, room, long_hooks: Arc::new(Semaphore::new(turns)), slow_lane: None }
    }

    /// Turns for hooks that run for long: however many loop, the others have a processor.
    pub(super) fn long_hooks(&self) -> &Arc<Semaphore> {
        &self.long_hooks
    }

    /// Threads for components whose hooks run for long.
    pub(super) fn slow_lane(&self) -> Option<&Arc<SlowLane>> {
        self.slow_lane.as_ref()
    }

    /// The detail of its traces.
    pub(super) fn places(&self) -> Places {
        self.places
    }

    /// The room for its memories.
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
    pool
}

fn config(room: Room, allocation: InstanceAllocationStrategy, places: Places) -> Config {
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
    if room == Room::Scarce {
        // A memory has the size that it asks for, and moves where it grows: within `memory_mib`, in any case.
        config.memory_reservation(0).memory_reservation_for_growth(1 << 20).memory_guard_size(64 << 10);
    }
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
