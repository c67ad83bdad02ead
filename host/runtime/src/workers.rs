//! Workers: the threads that serve connections, one per processor.
//!
//! Each worker has its own runtime. A connection stays on its worker from the first request to the last, together with
//! the connections to upstreams that its requests use. So no request waits for another thread to wake up. A busy
//! worker's tasks do not move to another worker. Therefore, work that takes long or serves several connections runs in
//! the [`background`].

use std::cell::OnceCell;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, RuntimeMetrics};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The interval of a timer that does nothing. Tokio wakes a thread by a system call if a new timer ends before all
/// others. The time limits of a request are longer than this interval, so they never end first.
const BEAT: Duration = Duration::from_millis(900);

/// The minimum time between two measurements of the workers' load.
const SPAN: Duration = Duration::from_millis(100);

thread_local! {
    static HERE: OnceCell<WorkerThread> = const { OnceCell::new() };
}

/// The worker that runs on a thread.
struct WorkerThread {
    number: usize,
    background: Handle,
}

/// The runtime for work that no connection should wait for. On a worker, it is the runtime in which the workers were
/// started; elsewhere, the caller's own.
///
/// # Panics
/// If it is called outside of a Tokio runtime.
pub fn background() -> Handle {
    HERE.with(|here| here.get().map(|here| here.background.clone())).unwrap_or_else(Handle::current)
}

/// True if this thread is a worker.
pub(crate) fn is_here() -> bool {
    HERE.with(|here| here.get().is_some())
}

/// The number of workers on this machine.
fn usual_count() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Keeps a timer running in a runtime, so that the timers of requests wake no thread.
pub async fn beat() {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        beat.tick().await;
    }
}

/// The workers of a listener.
#[derive(Debug, Default)]
pub struct Workers {
    workers: Vec<Worker>,
    loads: Mutex<Loads>,
    /// Stops the workers when it is dropped.
    _stop: Option<DropGuard>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    metrics: RuntimeMetrics,
    before_sleep: fn(),
}

#[derive(Debug, Default)]
struct Loads {
    measured: Option<Instant>,
    of: Vec<Load>,
    connections: usize,
}

/// The load of one worker.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    connections: usize,
    /// The time that the worker has been busy since its start, at the last measurement.
    busy: Duration,
    /// The busy part of the last span, in thousandths.
    share: usize,
}

/// The place of a connection on a worker. Dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    workers: Arc<Workers>,
    number: usize,
}

impl Workers {
    /// Starts one worker per processor. Background work of the workers runs in the current runtime. Each worker calls
    /// `before_sleep` when it has nothing else to do.
    ///
    /// # Errors
    /// If the system gives no thread.
    ///
    /// # Panics
    /// If it is called outside of a Tokio runtime.
    pub fn start(before_sleep: fn()) -> io::Result<Self> {
        Self::start_some(usual_count(), before_sleep)
    }

    fn start_some(count: usize, before_sleep: fn()) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let start = |number| Worker::start(number, Handle::current(), stop.clone(), before_sleep);
        let workers: Vec<_> = (0..count).map(start).collect::<io::Result<_>>()?;
        let of = vec![Load::default(); count];
        Ok(Self {
            workers,
            loads: Mutex::new(Loads { of, ..Loads::default() }),
            _stop: Some(stop.drop_guard()),
        })
    }

    /// Waits until each worker has called `before_sleep` once more, after everything that it has done so far.
    pub async fn settle(&self) {
        for Worker { runtime, before_sleep, .. } in &self.workers {
            let before_sleep = *before_sleep;
            // A worker that has ended has called it.
            _ = runtime.spawn(async move { before_sleep() }).await;
        }
    }

    /// Gives a connection a seat on the worker with the least load. The load is the busy part of the last span, plus
    /// the worker's part of all connections. None: there are no workers.
    pub fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut loads = self.loads.lock();
        if loads.measured.is_none_or(|measured| measured.elapsed() >= SPAN) {
            loads.measure(self.workers.iter().map(|worker| worker.metrics.worker_total_busy_duration(0)));
        }
        let number = loads.lightest()?;
        loads.add(number);
        Some(Seat { workers: Arc::clone(self), number })
    }
}

impl Worker {
    fn start(
        number: usize,
        background: Handle,
        stop: CancellationToken,
        before_sleep: fn(),
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().on_thread_park(before_sleep).build()?;
        let handle = runtime.handle().clone();
        let run = move || {
            HERE.with(|here| _ = here.set(WorkerThread { number, background }));
            runtime.spawn(beat());
            runtime.block_on(stop.cancelled());
            // Tasks that are still running are not waited for.
            runtime.shutdown_background();
            before_sleep();
        };
        thread::Builder::new().name(format!("worker-{number}")).spawn(run)?;
        Ok(Self { metrics: handle.metrics(), runtime: handle, before_sleep })
    }
}

impl Loads {
    fn measure(&mut self, busy: impl Iterator<Item = Duration>) {
        let span = self.measured.replace(Instant::now()).map(|measured| measured.elapsed());
        let span = span.unwrap_or(SPAN).max(SPAN).as_micros();
        for (load, busy) in self.of.iter_mut().zip(busy) {
            let grown = busy.saturating_sub(std::mem::replace(&mut load.busy, busy)).as_micros();
            load.share = usize::try_from(1000 * grown / span).unwrap_or(usize::MAX).min(1000);
        }
    }

    fn lightest(&self) -> Option<usize> {
        let of_connections = |load: &Load| 1000 * load.connections * self.of.len() / self.connections.max(1);
        let weight = |load: &Load| (load.share + of_connections(load), load.connections);
        let loads = self.of.iter().enumerate();
        loads.min_by_key(|(_, load)| weight(load)).map(|(number, _)| number)
    }

    fn add(&mut self, number: usize) {
        self.connections += 1;
        if let Some(load) = self.of.get_mut(number) {
            load.connections += 1;
        }
    }

    fn remove(&mut self, number: usize) {
        self.connections -= 1;
        if let Some(load) = self.of.get_mut(number) {
            load.connections -= 1;
        }
    }
}

impl Seat {
    /// The runtime of the seat's worker.
    pub fn runtime(&self) -> Option<&Handle> {
        self.workers.workers.get(self.number).map(|worker| &worker.runtime)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.workers.loads.lock().remove(self.number);
    }
}

/// A value for each worker, and one for all other threads together. Each is created at its first use.
#[derive(Debug)]
pub struct PerWorker<T> {
    values: Box<[OnceLock<T>]>,
}

impl<T> PerWorker<T> {
    /// The value of this thread.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let place = HERE.with(|here| here.get().map_or(0, |here| here.number + 1));
        // There is always the value at 0, for all other threads.
        let place = if place < self.values.len() { place } else { 0 };
        #[expect(clippy::indexing_slicing, reason = "the place is within the values")]
        self.values[place].get_or_init(make)
    }
}

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self { values: (0..=usual_count()).map(|_| OnceLock::new()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn loads(of: &[(usize, usize)]) -> Loads {
        let load = |&(connections, share)| Load { connections, share, ..Load::default() };
        let connections = of.iter().map(|(connections, _)| connections).sum();
        Loads { of: of.iter().map(load).collect(), connections, ..Loads::default() }
    }

    fn deal(mut loads: Loads, count: usize) -> Vec<usize> {
        for _ in 0..count {
            let number = loads.lightest().unwrap();
            loads.add(number);
        }
        loads.of.iter().map(|load| load.connections).collect()
    }

    #[test]
    fn idle_workers_get_the_same_number_of_connections() {
        assert_eq!(deal(loads(&[(0, 0); 1]), 5), [5]);
        assert_eq!(deal(loads(&[(0, 0); 2]), 32), [16, 16]);
        assert_eq!(deal(loads(&[(0, 0); 64]), 640), [10; 64]);
        assert_eq!(deal(loads(&[(9, 0), (1, 0)]), 10), [10, 10]);
    }

    #[test]
    fn a_busy_worker_gets_fewer_connections_but_not_none() {
        assert_eq!(deal(loads(&[(1, 1000), (0, 0)]), 1), [1, 1]);
        let dealt = deal(loads(&[(1, 1000), (0, 200)]), 999);
        assert!((270..330).contains(&dealt[0]) && dealt[0] + dealt[1] == 1000, "{dealt:?}");
    }

    #[tokio::test]
    async fn each_worker_has_its_own_values_and_leaves_work_to_the_starter() {
        let workers = Arc::new(Workers::start_some(2, || {}).unwrap());
        let values = Arc::new(PerWorker::<thread::ThreadId>::default());
        let seats = [workers.seat().unwrap(), workers.seat().unwrap()];
        let starter = thread::current().id();
        let mut threads = BTreeSet::from([format!("{:?}", values.get_or_init(|| starter))]);
        for seat in &seats {
            let values = Arc::clone(&values);
            let on_worker = async move {
                let here = thread::current().id();
                let elsewhere = background().spawn(async { thread::current().id() }).await.unwrap();
                (here, *values.get_or_init(|| here), *values.get_or_init(|| elsewhere), elsewhere)
            };
            let (here, first, second, elsewhere) = seat.runtime().unwrap().spawn(on_worker).await.unwrap();
            assert_eq!((first, second, elsewhere), (here, here, starter));
            threads.insert(format!("{here:?}"));
        }
        let most = values.values.len();
        assert_eq!(threads.len(), if most > 2 { 3 } else { 2 });
    }

    #[tokio::test]
    async fn a_dropped_seat_is_free_and_dropped_workers_end() {
        let workers = Arc::new(Workers::start_some(1, || {}).unwrap());
        let seat = workers.seat().unwrap();
        let runtime = seat.runtime().unwrap().clone();
        assert_eq!(workers.loads.lock().connections, 1);
        drop(seat);
        assert_eq!(workers.loads.lock().connections, 0);
        drop(workers);
        // The worker ends, and so do the tasks on it.
        assert!(runtime.spawn(std::future::pending::<()>()).await.is_err());
    }

    #[tokio::test]
    async fn workers_settle_after_their_tasks() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let workers = Workers::start_some(2, || _ = CALLS.fetch_add(1, Ordering::SeqCst)).unwrap();
        for _ in 0..100 {
            let before = CALLS.load(Ordering::SeqCst);
            workers.settle().await;
            assert!(CALLS.load(Ordering::SeqCst) >= before + 2);
        }
    }

    #[test]
    fn without_workers_there_is_no_seat() {
        assert!(Arc::new(Workers::default()).seat().is_none());
    }
}
