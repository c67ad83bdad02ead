//! Output of lines to a reader that may be slow. No writer waits for the reader.
//!
//! The calling thread writes a line at once if the descriptor accepts it without blocking. Otherwise, the line goes to
//! a bounded queue, which a separate thread writes. If the queue is full, the line is lost and counted; when lines can
//! be written again, a notice with the number of lost lines follows. A caller that must not lose a line takes a
//! [`LinePlace`] first.
//!
//! A [batched](LineWriter::set_batched) writer collects the lines of a [worker](crate::workers). It writes them when
//! the worker has nothing else to do, or when there are many.

pub mod input;
mod output;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;

use crate::workers;
use output::PIPE_BUF;
pub use output::SharedOutput;

/// The first pause after a failed write. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The maximum size of a batch for a file, in bytes.
const AT_ONCE: usize = 16 << 10;

thread_local! {
    static BATCHES: RefCell<Vec<Batch>> = const { RefCell::new(Vec::new()) };
}

/// A function that makes the notice of so many lost lines, including its line end.
type Notice = Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// A writer of lines to a [`SharedOutput`], in the order in which they arrive. After it is dropped, the waiting lines
/// are still written.
#[derive(Debug)]
pub struct LineWriter(Arc<WriterState>);

struct WriterState {
    output: Arc<SharedOutput>,
    /// The maximum number of lines that wait, including places for lines that are written later.
    most: usize,
    places: AtomicUsize,
    /// True if lines wait or are being written.
    has_backlog: AtomicBool,
    /// True if the lines of workers are collected in batches.
    is_batched: AtomicBool,
    /// True if the last write has failed.
    is_failing: AtomicBool,
    queue: Mutex<Queue>,
    changed: Condvar,
    lost: Counter,
    notice: Notice,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Batch>,
    is_writing: bool,
    /// The number of lines lost since the last notice.
    lost: u64,
    is_ended: bool,
}

/// A place for one line. Dropping it frees the place.
#[derive(Debug)]
pub struct LinePlace(Arc<WriterState>);

impl fmt::Debug for WriterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter").field("output", &self.output).finish_non_exhaustive()
    }
}

impl LineWriter {
    /// Starts a writer to `output` with a queue of up to `most` lines. `name` is the name of its thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        name: &str,
        output: Arc<SharedOutput>,
        most: usize,
        notice: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(WriterState {
            output,
            most,
            places: AtomicUsize::new(0),
            has_backlog: AtomicBool::new(false),
            is_batched: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            queue: Mutex::default(),
            changed: Condvar::new(),
            lost: Counter::default(),
            notice: Box::new(notice),
        });
        let writing = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || writing.write_what_waits())?;
        Ok(Self(shared))
    }

    /// Sets the mode: lines of workers are collected in batches, or each is written at once.
    pub fn set_batched(&self, is_batched: bool) {
        self.0.is_batched.store(is_batched, Ordering::Relaxed);
    }

    /// Writes one line, which includes its line end. It never blocks. A line without a place is lost and counted.
    pub fn write(&self, line: &[u8]) {
        match self.place() {
            Some(place) => place.write(line),
            None => self.0.lose(1),
        }
    }

    /// Takes a place for a line that is written later. None: too many lines wait.
    pub fn place(&self) -> Option<LinePlace> {
        let more = |places: usize| (places < self.0.most).then_some(places + 1);
        let taken = self.0.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        taken.then(|| LinePlace(Arc::clone(&self.0)))
    }

    /// True if the last write has failed, and none has succeeded since.
    pub fn is_failing(&self) -> bool {
        self.0.is_failing.load(Ordering::Relaxed)
    }

    /// The number of lines lost so far.
    pub fn lost(&self) -> Counter {
        self.0.lost.clone()
    }

    /// Waits until all lines are written, at most for `longest`. False: lines are still waiting.
    pub fn flush(&self, longest: Duration) -> bool {
        let end = Instant::now() + longest;
        let mut queue = self.0.queue.lock();
        while !queue.waiting.is_empty() || queue.is_writing {
            if self.0.changed.wait_until(&mut queue, end).timed_out() {
                return false;
            }
        }
        true
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.0.queue.lock().is_ended = true;
        self.0.changed.notify_all();
    }
}

impl LinePlace {
    /// Writes the line of this place.
    pub fn write(self, line: &[u8]) {
        let shared = Arc::clone(&self.0);
        let left = if shared.is_batched.load(Ordering::Relaxed) { gather(line, self) } else { Some(self) };
        if let Some(place) = left {
            shared.write_or_queue(line, || Batch::of(line, place));
        }
    }
}

impl Drop for LinePlace {
    fn drop(&mut self) {
        self.0.places.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WriterState {
    /// Writes lines at once, or puts the batch of `waiting` into the queue if the lines would have to wait.
    fn write_or_queue(&self, lines: &[u8], waiting: impl FnOnce() -> Batch) {
        if self.has_backlog.load(Ordering::Acquire) || !self.output.write_at_once(lines) {
            let batch = waiting();
            let mut queue = self.queue.lock();
            if queue.is_ended {
                // The thread that writes the queue may have ended.
                drop(queue);
                return self.lose(batch.lines());
            }
            self.has_backlog.store(true, Ordering::Release);
            queue.waiting.push_back(batch);
            self.changed.notify_all();
        }
    }

    fn lose(&self, lines: u64) {
        self.lost.inc_by(lines);
        self.queue.lock().lost += lines;
    }

    /// The work of the thread: it ends after the writer is dropped and everything is written.
    fn write_what_waits(&self) {
        while let Some(batch) = self.next() {
            self.write_until_taken(&batch.text, batch.lines());
            drop(batch);
            let mut queue = self.queue.lock();
            let lost = if queue.waiting.is_empty() { std::mem::take(&mut queue.lost) } else { 0 };
            drop(queue);
            if lost > 0 {
                self.write_until_taken(&(self.notice)(lost), 1);
            }
            let mut queue = self.queue.lock();
            queue.is_writing = false;
            self.has_backlog.store(!queue.waiting.is_empty(), Ordering::Release);
            self.changed.notify_all();
        }
    }

    /// Waits for the next lines.
    fn next(&self) -> Option<Batch> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                queue.is_writing = true;
                return Some(next);
            }
            if queue.is_ended {
                return None;
            }
            self.changed.wait(&mut queue);
        }
    }

    /// Writes `text`, which has so many lines. Tries again after a failure: a full disk may get space, and a reader may
    /// return.
    fn write_until_taken(&self, text: &[u8], lines: u64) {
        let mut pause = FIRST_PAUSE;
        while self.output.write(text).is_err() {
            self.is_failing.store(true, Ordering::Relaxed);
            if self.queue.lock().is_ended {
                return self.lose(lines);
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        self.is_failing.store(false, Ordering::Relaxed);
    }
}

/// Lines with their line ends, and the places of the lines.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    places: Vec<LinePlace>,
}

impl Batch {
    fn of(line: &[u8], place: LinePlace) -> Self {
        Self { text: line.to_vec(), places: vec![place] }
    }

    /// The number of lines.
    fn lines(&self) -> u64 {
        u64::try_from(self.places.len()).unwrap_or(u64::MAX)
    }

    fn writer(&self) -> Option<&Arc<WriterState>> {
        self.places.first().map(|place| &place.0)
    }

    fn push(&mut self, line: &[u8], place: LinePlace) {
        self.text.extend_from_slice(line);
        self.places.push(place);
    }
}

/// Adds a line to the batch of this worker. Returns the place if this thread is not a worker.
fn gather(line: &[u8], place: LinePlace) -> Option<LinePlace> {
    if !workers::is_here() {
        return Some(place);
    }
    let writer = Arc::clone(&place.0);
    let most = if writer.output.is_file() { AT_ONCE } else { PIPE_BUF };
    BATCHES.with_borrow_mut(|batches| {
        let of_writer = |batch: &Batch| batch.writer().is_none_or(|other| Arc::ptr_eq(other, &writer));
        let number = batches.iter().position(of_writer).unwrap_or_else(|| {
            batches.push(Batch::default());
            batches.len() - 1
        });
        let Some(batch) = batches.get_mut(number) else { return Some(place) };
        // A batch is at most as large as a pipe accepts in one piece.
        if batch.text.len() + line.len() > most {
            write_batch(batch);
        }
        batch.push(line, place);
        None
    })
}

/// Writes the batches of this thread. A worker calls this before it sleeps.
pub fn flush_batches() {
    BATCHES.with_borrow_mut(|batches| batches.iter_mut().for_each(write_batch));
}

fn write_batch(batch: &mut Batch) {
    let Some(writer) = batch.writer().cloned() else { return };
    let Batch { text, places } = batch;
    writer.write_or_queue(text, || Batch { text: text.clone(), places: std::mem::take(places) });
    text.clear();
    places.clear();
}

#[cfg(test)]
mod tests;
