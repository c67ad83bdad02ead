//! What the host keeps for one instance: what the hook at hand is about, and what it may use up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use crate::config::Limits;
use crate::flow::reject::Failure;
use crate::services::{PolicyHost, Scope, Services};

/// Lines that one hook may log. A check that says more is talking to nobody.
const LOG_LINES: u32 = 32;
/// Elements of one table; interpreters need some ten thousand.
const TABLE_ELEMENTS: usize = 100_000;

/// The data of a store.
pub(crate) struct State {
    services: Arc<Services>,
    limits: Limits,
    scope: Option<Scope>,
    /// When the hook at hand has to be done.
    deadline: Instant,
    /// Ticks that its own code has run.
    ticks: u128,
    log_lines: u32,
    /// Why the host ended the hook; what the trap then says is only a consequence.
    fault: Option<Failure>,
    /// Whether the hook reached for what is not granted.
    overreached: bool,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl State {
    pub(super) fn new(services: Arc<Services>, limits: Limits) -> Self {
        Self {
            services,
            limits,
            scope: None,
            deadline: Instant::now(),
            ticks: 0,
            log_lines: 0,
            fault: None,
            overreached: false,
            // Empty: no environment, no arguments, no files, no sockets, no standard streams.
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
        }
    }

    /// Sets what a hook may use up; setting up has other bounds.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Begins a hook, `describe` or `configure`.
    pub(super) fn begin(&mut self, scope: Option<Scope>, time: Duration) {
        self.scope = scope;
        self.deadline = Instant::now() + time;
        self.ticks = 0;
        self.log_lines = 0;
        self.fault = None;
        self.overreached = false;
    }

    /// Ends it: nothing of the request stays with the instance's host side.
    pub(super) fn end(&mut self) {
        self.scope = None;
    }

    pub(super) fn fault(&self) -> Option<Failure> {
        self.fault
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn host(&self) -> PolicyHost<'_> {
        PolicyHost { services: &self.services, scope: self.scope.as_ref() }
    }

    /// Notes that the hook reached for what is not granted. It is told so and may still refuse;
    /// it may not allow any more.
    pub(super) fn overreach(&mut self, what: &str) {
        tracing::warn!(policy = %self.services.policy, "the component reached for {what}, which is not granted");
        self.overreached = true;
    }

    pub(super) fn has_overreached(&self) -> bool {
        self.overreached
    }

    pub(super) fn may_log(&mut self) -> bool {
        self.log_lines += 1;
        self.log_lines <= LOG_LINES
    }

    pub(super) fn fail(&mut self, failure: Failure) -> wasmtime::Error {
        self.fault = Some(failure);
        wasmtime::Error::msg(failure.reason())
    }
}

/// Called whenever an epoch ends while the guest's own code runs. Between two checks the worker
/// thread is given back, so that a looping guest takes nobody else's turn.
pub(super) fn on_tick(mut context: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let state = context.data_mut();
    state.ticks += 1;
    if state.ticks > state.limits.timeout.as_millis() || Instant::now() >= state.deadline {
        return Err(state.fail(Failure::Timeout));
    }
    Ok(UpdateDeadline::Yield(1))
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.limits.memory {
            return Err(self.fail(Failure::Memory));
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            return Err(self.fail(Failure::Memory));
        }
        Ok(true)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
