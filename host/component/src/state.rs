//! The host's state for one instance: the context of the running hook, and the used resources.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};
use witgate_plugin::{Host as _, Level};

use super::fault::{Fault, of_machine};
use super::last_lines::{CapturedStream, LastLines, last_lines, redacted};
use super::slow_lane::{Lane, Pace};
use super::time::HookTime;
use crate::failure::Failure;
use witgate_config::Limits;
use witgate_services::{PolicyHost, Scope, Services};

/// Maximum number of core instances, memories and tables of one component. One of an interpreted language has a dozen.
const PARTS: usize = 100;

/// Ticks after which a hook is long: it has run for at least one whole tick, because the first may come at any time.
const LONG: u128 = 2;

/// Random bytes that `wasi:random` returns at once.
const RANDOM_BYTES: u64 = 64 << 10;

/// The instances of one policy: their number, memory and speed.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// The number of instances, at work or idle.
    pub instances: AtomicUsize,
    /// The size of all memories, in bytes.
    pub memory: AtomicUsize,
    /// The recent speed of the hooks.
    pub pace: Pace,
}

/// The limits of one call of a hook.
pub(super) struct HookLimits {
    /// The running time of its own code.
    timeout: Duration,
    host_calls: u32,
    log_lines: u32,
    http_requests: u32,
}

impl HookLimits {
    /// The limits of a hook about this number of entries: those of one hook for each.
    pub(super) fn of(limits: &Limits, entries: u32) -> Self {
        Self {
            timeout: limits.timeout * entries,
            host_calls: limits.host_calls.saturating_mul(entries),
            log_lines: limits.log_lines.saturating_mul(entries),
            http_requests: limits.http_requests.saturating_mul(entries),
        }
    }
}

/// The data of a store.
pub(crate) struct State {
    services: Arc<Services>,
    limits: Limits,
    /// The limits of the running hook.
    allowed: HookLimits,
    gauges: Arc<Gauges>,
    long_hooks: Arc<Semaphore>,
    /// The turn of a long-running hook.
    turn: Turn,
    lane: Lane,
    scope: Option<Scope>,
    /// The wall-clock time of the running hook.
    time: HookTime,
    spent: HookUse,
    held: InstanceUse,
    /// The reason why the host ended the hook; the trap is only a consequence.
    fault: Option<Failure>,
    /// True if the hook called an import that is not granted.
    overreached: bool,
    /// The credential of the running hook.
    credential: String,
    said: LastLines,
    stdout: CapturedStream,
    stderr: CapturedStream,
    wasi: WasiCtx,
    table: ResourceTable,
}

/// The resources that the running hook has used.
#[derive(Default)]
struct HookUse {
    /// Of the running time of its own code.
    ticks: u128,
    host_calls: u32,
    log_lines: u32,
    /// The number of lines on standard streams.
    written_lines: u32,
    http_requests: u32,
}

/// The resources that the instance holds.
#[derive(Default)]
struct InstanceUse {
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
        let (stdout, stderr) = (CapturedStream::default(), CapturedStream::default());
        table.set_max_capacity(limits.handles);
        Self {
            services,
            allowed: HookLimits::of(&limits, 1),
            limits,
            gauges,
            long_hooks,
            turn: Turn::default(),
            lane: Lane::default(),
            scope: None,
            time: HookTime::of(Duration::ZERO),
            spent: HookUse::default(),
            held: InstanceUse::default(),
            fault: None,
            overreached: false,
            credential: String::new(),
            said: LastLines::default(),
            // Empty: no environment, no arguments, no files, no sockets, no standard input.
            wasi: WasiCtx::builder()
                .stdout(stdout.clone())
                .stderr(stderr.clone())
                .max_random_size(RANDOM_BYTES)
                // Even a socket without a destination would be an open file of this process.
                .allow_tcp(false)
                .allow_udp(false)
                .build(),
            stdout,
            stderr,
            table,
        }
    }

    /// Starts a hook, `describe` or `configure`, which has to end within `time`.
    pub(super) fn begin(&mut self, scope: Option<Scope>, limits: HookLimits, time: HookTime, lane: Lane) {
        self.scope = scope;
        self.lane = lane;
        self.allowed = limits;
        self.time = time;
        self.spent = HookUse::default();
        self.fault = None;
        self.overreached = false;
        self.said.clear();
    }

    /// Remembers the credential of the hook, so that it can be redacted from the guest's output. The component's own
    /// memory has it for the same time.
    pub(super) fn shows(&mut self, credential: &str) {
        self.credential.push_str(credential);
    }

    /// Ends the hook. The host keeps no data of the request for the instance.
    pub(super) fn end(&mut self) {
        self.log_output();
        self.credential.clear();
        self.scope = None;
        self.turn.release();
        if self.spent.ticks < LONG {
            self.gauges.pace.note(false);
        }
    }

    /// The fault for an engine's error.
    pub(super) fn fault(&mut self, error: &wasmtime::Error) -> Fault {
        self.log_output();
        Fault::of(self.fault, error, &self.said)
    }

    /// The wall-clock time of the running hook. A clone is the same time.
    pub(super) fn time(&self) -> HookTime {
        self.time.clone()
    }

    /// The host, for one call of an import, which is counted.
    pub(super) fn host(&mut self) -> wasmtime::Result<PolicyHost<'_>> {
        self.spent.host_calls += 1;
        if self.spent.host_calls > self.allowed.host_calls {
            return Err(self.fail(Failure::HostCalls));
        }
        Ok(PolicyHost { services: &self.services, scope: self.scope.as_ref() })
    }

    /// Writes a log line, which is counted.
    pub(super) fn log(&mut self, level: Level, line: &str) -> wasmtime::Result<()> {
        self.spent.log_lines += 1;
        if self.spent.log_lines > self.allowed.log_lines {
            return Err(self.fail(Failure::Log));
        }
        self.host()?;
        // Earlier output comes first.
        self.log_output();
        self.say(level, line);
        Ok(())
    }

    /// Logs the output on standard streams, up to the limit of log lines.
    fn log_output(&mut self) {
        for (written, level) in [(self.stdout.take(), Level::Debug), (self.stderr.take(), Level::Error)] {
            let Some(written) = written else { continue };
            let room = self.allowed.log_lines.saturating_sub(self.spent.written_lines);
            let (lines, more) = last_lines(&written, usize::try_from(room).unwrap_or(usize::MAX));
            if more && room > 0 {
                self.say(level, "… earlier output is left out");
            }
            for line in &lines {
                self.spent.written_lines += 1;
                self.say(level, line);
            }
        }
    }

    fn say(&mut self, level: Level, line: &str) {
        let secrets = self.services.secrets.values().map(|secret| secret.expose_secret());
        let line = redacted(line, secrets.chain([self.credential.as_str()]));
        PolicyHost { services: &self.services, scope: self.scope.as_ref() }.log(level, &line);
        self.said.keep(level, &line);
    }

    /// The host, for one HTTP request.
    pub(super) fn host_for_http(&mut self) -> wasmtime::Result<PolicyHost<'_>> {
        self.spent.http_requests += 1;
        if self.spent.http_requests > self.allowed.http_requests {
            return Err(self.fail(Failure::HttpRequests));
        }
        self.host()
    }

    /// Records that the hook used an import that is not granted. The hook gets an error, and may still refuse the
    /// call, but not allow it.
    pub(super) fn overreach(&mut self, what: &str) {
        // One log line is enough; the plugin may try in a loop.
        if !self.overreached {
            tracing::warn!(policy = %self.services.policy, "the component used {what}, which is not granted");
        }
        self.overreached = true;
    }

    pub(super) fn has_overreached(&self) -> bool {
        self.overreached
    }

    pub(super) fn fail(&mut self, failure: Failure) -> wasmtime::Error {
        self.fault = Some(failure);
        wasmtime::Error::msg(self.overrun(failure))
    }

    /// Ends a hook whose wall-clock time is over.
    pub(super) fn overrun_by_the_clock(&mut self, Fault { failure, detail }: Fault) -> wasmtime::Error {
        self.fault = Some(failure);
        wasmtime::Error::msg(detail)
    }

    /// The exceeded limit, and the setting that raises it.
    fn overrun(&self, failure: Failure) -> String {
        let limits = &self.limits;
        match failure {
            Failure::Timeout if self.scope.is_none() => {
                format!("its own code ran for longer than its {} ms", self.allowed.timeout.as_millis())
            }
            Failure::Timeout => {
                format!("its own code ran for longer than `timeout_ms = {}`", limits.timeout.as_millis())
            }
            Failure::Memory => format!(
                "it needed more than `memory_mib = {}` or `table_elements = {}` allows",
                limits.memory() >> 20,
                limits.table_elements
            ),
            Failure::Log => format!("it logged more than `log_lines = {}`", limits.log_lines),
            Failure::HostCalls => {
                format!("it called its host more often than `host_calls = {}`", limits.host_calls)
            }
            Failure::HttpRequests => {
                format!("it sent more requests than `http_requests = {}`", limits.http_requests)
            }
            Failure::Unavailable => "the machine has no more memory".to_owned(),
            other => other.reason().to_owned(),
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // The output of a hook that was ended.
        self.log_output();
        self.gauges.instances.fetch_sub(1, Ordering::Relaxed);
        self.gauges.memory.fetch_sub(self.held.memory, Ordering::Relaxed);
    }
}

/// The turn of a long-running hook, shared with the future that waits for it.
#[derive(Clone, Default)]
struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turn {
    /// Waits for the next turn, after all others have had one.
    async fn take(self, turns: Arc<Semaphore>) {
        tokio::task::yield_now().await;
        // The semaphore is never closed. If it were, the hook would continue within its time.
        let turn = turns.acquire_owned().await.ok();
        *self.0.lock() = turn;
    }

    fn release(&self) {
        *self.0.lock() = None;
    }
}

/// Called when an epoch ends while the guest's own code runs. Every hook yields its worker thread then. A hook that
/// has run for a whole tick waits for a turn among the long-running hooks. So a guest that loops takes nobody else's
/// turn, and all loops together leave processors to others.
pub(super) fn on_tick(mut context: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let state = context.data_mut();
    state.spent.ticks += 1;
    if let Some(witness) = &state.services.witness {
        witness.ticked();
    }
    if state.spent.ticks > state.allowed.timeout.as_millis() {
        return Err(state.fail(Failure::Timeout));
    }
    if Instant::now() >= state.time.deadline() {
        return Err(match state.time.excuse() {
            Some(fault) => state.overrun_by_the_clock(fault),
            None => state.fail(Failure::Timeout),
        });
    }
    if state.spent.ticks == LONG {
        state.gauges.pace.note(true);
    }
    // In the slow lane, no other hooks have to be protected.
    if state.spent.ticks < LONG || state.lane == Lane::Slow {
        return Ok(UpdateDeadline::Yield(1));
    }
    state.turn.release();
    let next = state.turn.clone().take(Arc::clone(&state.long_hooks));
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(next)))
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The total of all memories, because a component may have many.
        let total = self.held.memory.saturating_sub(current).saturating_add(desired);
        if total > self.limits.memory() {
            return Err(self.fail(Failure::Memory));
        }
        self.gauges.memory.fetch_add(desired.saturating_sub(current), Ordering::Relaxed);
        self.held.memory = total;
        if let Some(witness) = &self.services.witness {
            witness.holds(total);
        }
        Ok(true)
    }

    /// A component that exceeds its own limits may continue. If the machine has no memory for it, the hook fails.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        match of_machine(&error) {
            true => Err(self.fail(Failure::Unavailable)),
            false => Ok(()),
        }
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
