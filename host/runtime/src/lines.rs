//! Lines for somebody who may not read them, written without anybody waiting for it.
//!
//! A line is written at once, by the caller's own thread, where the descriptor takes it without waiting. Otherwise it
//! is in a bounded queue, which a thread of its own writes. Where the queue is full a line is lost and counted, and
//! the number is written in a line when lines go out again. Who cannot afford that takes a [`LinePlace`] first.
//!
//! A writer in [batches](LineWriter::set_batched) gathers the lines of a [worker](crate::workers), and writes them once the
//! worker has nothing else to do, or they are many.

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

/// The first pause after a write that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A file takes that many bytes at once.
const AT_ONCE: usize = 16 << 10;

thread_local! {
    static BATCHES: RefCell<Vec<Batch>> = const { RefCell::new(Vec::new()) };
}

/// Makes the line, line end included, that says how many were lost.
type Notice = Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// Writes lines to a [`SharedOutput`], in the order in which they come. Dropped, it still writes what waits.
#[derive(Debug)]
pub struct LineWriter(Arc<WriterState>);

struct WriterState {
    output: Arc<SharedOutput>,
    /// As many lines wait at once, those counted in that only have a place.
    most: usize,
    places: AtomicUsize,
    /// Lines wait, or one of them is being written.
    has_backlog: AtomicBool,
    /// Lines of a worker are gathered.
    is_batched: AtomicBool,
    /// The last write has failed.
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
    /// Since the last notice.
    lost: u64,
    is_ended: bool,
}

/// A place for one line. Dropped, it is free again.
#[derive(Debug)]
pub struct LinePlace(Arc<WriterState>);

impl fmt::Debug for WriterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter").field("output", &self.output).finish_non_exhaustive()
    }
}

impl LineWriter {
    /// A writer to `output`, where up to `most` lines wait. `name` is its thread's.
    ///
    /// # Errors
    /// When the system gives no thread.
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

    /// Gathers the lines of workers from now on, or writes each at once.
    pub fn set_batched(&self, is_batched: bool) {
        self.0.is_batched.store(is_batched, Ordering::Relaxed);
    }

    /// Writes one line, which ends with its line end. Never waits; a line without a place is lost and counted.
    pub fn write(&self, line: &[u8]) {
        match self.place() {
            Some(place) => place.write(line),
            None => self.0.lose(1),
        }
    }

    /// A place for a line that is written later. None: too many lines wait.
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

    /// Waits until nothing waits to be written, but not longer than `longest`. False: something still does.
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
    /// Writes the line that the place is for.
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
    /// Writes lines at once. Where they would have to wait, `waiting` waits in the queue.
    fn write_or_queue(&self, lines: &[u8], waiting: impl FnOnce() -> Batch) {
        if self.has_backlog.load(Ordering::Acquire) || !self.output.write_at_once(lines) {
            let batch = waiting();
            let mut queue = self.queue.lock();
            if queue.is_ended {
                // The thread that writes them may be gone.
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

    /// The thread: until the writer is dropped and everything is written.
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

    /// Writes so many lines, and tries again after a failure: a full disk gets room again, and a reader comes back.
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

/// Lines, each with its line end, and their places.
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

/// Adds a line to the batch of this worker. The line comes back where this thread is none.
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
        // What is written at once is no longer than a pipe takes in one piece.
        if batch.text.len() + line.len() > most {
            write_batch(batch);
        }
        batch.push(line, place);
        None
    })
}

/// Writes what this thread has gathered. A worker does so before it sleeps.
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
