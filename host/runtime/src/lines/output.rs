//! A descriptor for whole lines.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The number of bytes that a ready pipe accepts in one piece (POSIX: at least 512; Linux: 4,096).
pub(crate) const PIPE_BUF: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// The time to wait for another writer, whose line takes microseconds. If it takes longer, this line goes to the queue.
const TURN: Duration = Duration::from_millis(5);

/// The time to wait for a reader if the descriptor does not block. After that, the write fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// A descriptor that several writers share. No line is written inside another.
#[derive(Debug)]
pub struct SharedOutput {
    /// True for a file, which accepts data as long as there is space. Everything else has a reader, who may not read.
    is_file: bool,
    open: Mutex<OutputState>,
}

#[derive(Debug)]
struct OutputState {
    file: File,
    /// The rest of a partly written line. It is written before anything else.
    rest: Vec<u8>,
}

impl SharedOutput {
    /// An output to `descriptor`.
    pub fn new(descriptor: OwnedFd) -> Self {
        let file = File::from(descriptor);
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        Self { is_file, open: Mutex::new(OutputState { file, rest: Vec::new() }) }
    }

    /// Standard error.
    ///
    /// # Errors
    /// If the system gives no descriptor.
    pub fn stderr() -> io::Result<Self> {
        io::stderr().as_fd().try_clone_to_owned().map(Self::new)
    }

    /// True for a file, which has no reader to wait for.
    pub(super) fn is_file(&self) -> bool {
        self.is_file
    }

    /// Writes lines if that does not wait for a reader. False: nothing was written.
    pub(super) fn write_at_once(&self, line: &[u8]) -> bool {
        if !self.is_file && line.len() > PIPE_BUF {
            return false;
        }
        let Some(mut open) = self.open.try_lock_for(TURN) else { return false };
        open.rest.is_empty()
            && (self.is_file || open.is_ready(Duration::ZERO))
            && open.write(line, TURN).is_ok()
    }

    /// Writes a line, and blocks until it is written.
    ///
    /// # Errors
    /// If nothing of the line could be written.
    pub(super) fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock();
        let rest = std::mem::take(&mut open.rest);
        if let Err(error) = open.write(&rest, PATIENCE) {
            open.rest = rest;
            return Err(error);
        }
        match open.rest.is_empty() {
            true => open.write(line, PATIENCE),
            false => Err(ErrorKind::StorageFull.into()),
        }
    }
}

impl OutputState {
    /// True if a write of up to [`PIPE_BUF`] bytes will not block. Waits for that at most `longest`.
    fn is_ready(&self, longest: Duration) -> bool {
        let longest = Timespec::try_from(longest).ok();
        let mut polled = [PollFd::new(&self.file, PollFlags::OUT)];
        poll(&mut polled, longest.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Writes all of `text`, or keeps the rest for later. If the descriptor does not block, it waits up to `longest`
    /// before each part.
    ///
    /// # Errors
    /// If nothing of the text could be written. The caller then keeps the text.
    fn write(&mut self, text: &[u8], longest: Duration) -> io::Result<()> {
        let mut left = text;
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(written) if written > 0 => left = left.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.is_ready(longest) => {}
                _ if left.len() < text.len() => {
                    self.rest = left.to_vec();
                    return Ok(());
                }
                Ok(_) => return Err(ErrorKind::WriteZero.into()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
