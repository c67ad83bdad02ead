//! What the host keeps for one instance: what the hook at hand is about, and what it has used up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use super::pool::Lane;
use super::slow_lane::Pace;
use crate::config::Limits;
use crate::flow::reject::Failure;
use crate::services::witness::Witness;
use crate::services::{PolicyHost, Scope, Services};

/// Core instances, memories and tables of one component each; one of an interpreted language has a
/// dozen.
const PARTS: usize = 100;

/// A hook of so many ticks is a long one. The first may come just after it began, and another when the machine stood
/// still.
const LONG: u128 = 3;

/// Random bytes that `wasi:random` gives at once.
const RANDOM_BYTES: u64 = 64 << 10;

/// The instances of one policy: how many, how much, how fast.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// How many there are, at work or idle.
    pub instances: AtomicUsize,
    /// What they hold.
    pub memory: AtomicUsize,
    /// Whether their hooks take their time.
    pub pace: Pace,
}

/// The data of a store.
pub(crate) struct State {
    services: Arc<Services>,
    limits: Limits,
    gauges: Arc<Gauges>,
    long_hooks: Arc<Semaphore>,
    /// The turn of a hook that runs for long.
    turn: Turn,
    lane: Lane,
    scope: Option<Scope>,
    /// When the hook at hand has to be done.
    deadline: Instant,
    spent: Spent,
    held: Held,
    /// Why the host ended the hook; what the trap then says is only a consequence.
    fault: Option<Failure>,
    /// Whether the hook reached for what is not granted.
    overreached: bool,
    wasi: WasiCtx,
    table: ResourceTable,
}

/// What the hook at hand has used up.
#[derive(Default)]
struct Spent {
    /// Of its own code's time.
    ticks: u128,
    host_calls: u32,
    log_lines: u32,
    http_requests: u32,
}

/// What the instance holds.
#[derive(Default)]
struct Held {
    memory: usize,
    table_elements: usize,
}

impl State {
    pub(super) fn new(
        services: Arc<Services>,
        limits: Limits,
        gauges: Arc<Gauges>,
        long_hooks: Arc<Semaphore>,
    ) -> Self {
        gauges.instances.fetch_add(1, Ordering::Relaxed);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Self {
            services,
            limits,
            gauges,
            long_hooks,
            turn: Turn::default(),
            lane: Lane::default(),
            scope: None,
            deadline: Instant::now(),
            spent: Spent::default(),
            held: Held::default(),
            fault: None,
            overreached: false,
            // Empty: no environment, no arguments, no files, no sockets, no standard streams.
            wasi: WasiCtx::builder()
                .max_random_size(RANDOM_BYTES)
                // A socket that leads nowhere is an open file of this process all the same.
                .allow_tcp(false)
                .allow_udp(false)
                .build(),
            table,
        }
    }

    /// Begins a hook, `describe` or `configure`, whose own code may run for `timeout`, and which has to
    /// be done at `deadline`.
    pub(super) fn begin(&mut self, scope: Option<Scope>, timeout: Duration, deadline: Instant, lane: Lane) {
        self.scope = scope;
        self.lane = lane;
        self.limits.timeout = timeout;
        self.deadline = deadline;
        self.spent = Spent::default();
        self.fault = None;
        self.overreached = false;
    }

    /// Ends it: nothing of the request stays with the instance's host side.
    pub(super) fn end(&mut self) {
        self.scope = None;
        self.turn.release();
        if self.spent.ticks < LONG {
            self.gauges.pace.note(false);
        }
    }

    pub(super) fn fault(&self) -> Option<Failure> {
        self.fault
    }

    /// Who watches the policy, on stage.
    pub(super) fn witness(&self) -> Option<&Witness> {
        self.services.witness.as_deref()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The host, for one call of an import. Each counts.
    pub(super) fn host(&mut self) -> wasmtime::Result<PolicyHost<'_>> {
        self.spent.host_calls += 1;
        if self.spent.host_calls > self.limits.host_calls {
            return Err(self.fail(Failure::HostCalls));
        }
        Ok(PolicyHost { services: &self.services, scope: self.scope.as_ref() })
    }

    /// The host, for one line of the log.
    pub(super) fn host_for_log(&mut self) -> wasmtime::Result<PolicyHost<'_>> {
        self.spent.log_lines += 1;
        if self.spent.log_lines > self.limits.log_lines {
            return Err(self.fail(Failure::Log));
        }
        self.host()
    }

    /// The host, for one HTTP request.
    pub(super) fn host_for_http(&mut self) -> wasmtime::Result<PolicyHost<'_>> {
        self.spent.http_requests += 1;
        if self.spent.http_requests > self.limits.http_requests {
            return Err(self.fail(Failure::HttpRequests));
        }
        self.host()
    }

    /// Notes that the hook reached for what is not granted. It is told so and may still refuse;
    /// it may not allow any more.
    pub(super) fn overreach(&mut self, what: &str) {
        // Once is enough for the operator; the plugin may try in a loop.
        if !self.overreached {
            tracing::warn!(policy = %self.services.policy, "the component reached for {what}, which is not granted");
        }
        self.overreached = true;
    }

    pub(super) fn has_overreached(&self) -> bool {
        self.overreached
    }

    pub(super) fn fail(&mut self, failure: Failure) -> wasmtime::Error {
        self.fault = Some(failure);
        wasmtime::Error::msg(failure.reason())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.gauges.instances.fetch_sub(1, Ordering::Relaxed);
        self.gauges.memory.fetch_sub(self.held.memory, Ordering::Relaxed);
    }
}

/// The turn of a hook that runs for long, shared with the future that waits for it.
#[derive(Clone, Default)]
struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turn {
    /// Waits for the next one, after everybody else has had his.
    async fn take(self, turns: Arc<Semaphore>) {
        tokio::task::yield_now().await;
        // Nobody closes it. If it were, the hook would run on within its time.
        let turn = turns.acquire_owned().await.ok();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }

    fn release(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Called whenever an epoch ends while the guest's own code runs. Whoever runs for a whole one gives the worker
/// thread back, and goes on when it is his turn among those who run for long: so a guest that loops takes nobody
/// else's turn, and all that loop together take no more than some of the processors.
pub(super) fn on_tick(mut context: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let state = context.data_mut();
    state.spent.ticks += 1;
    if let Some(witness) = &state.services.witness {
        witness.ticked();
    }
    if state.spent.ticks > state.limits.timeout.as_millis() || Instant::now() >= state.deadline {
        return Err(state.fail(Failure::Timeout));
    }
    // The first may end just after the hook began.
    if state.spent.ticks == 1 {
        return Ok(UpdateDeadline::Continue(1));
    }
    if state.spent.ticks == LONG {
        state.gauges.pace.note(true);
    }
    // There, nobody has to be spared.
    if state.lane == Lane::Slow {
        return Ok(UpdateDeadline::Yield(1));
    }
    state.turn.release();
    let next = state.turn.clone().take(Arc::clone(&state.long_hooks));
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(next)))
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // All memories together: a component may have many.
        let total = self.held.memory.saturating_sub(current).saturating_add(desired);
        if total > self.limits.memory {
            return Err(self.fail(Failure::Memory));
        }
        self.gauges.memory.fetch_add(desired.saturating_sub(current), Ordering::Relaxed);
        self.held.memory = total;
        if let Some(witness) = &self.services.witness {
            witness.holds(total);
        }
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.held.table_elements.saturating_sub(current).saturating_add(desired);
        if total > self.limits.table_elements {
            return Err(self.fail(Failure::Memory));
        }
        self.held.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
