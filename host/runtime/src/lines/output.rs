//! A descriptor that lines go to, each whole.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The number of bytes that a pipe takes at once and in one piece, if it takes any (POSIX: at least 512;
/// 4,096 on Linux).
pub(crate) const PIPE_BUF: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Another line is written in microseconds. Where that takes longer, this one goes to the queue.
const TURN: Duration = Duration::from_millis(5);

/// Time to wait for a reader before that counts as a failure, where the descriptor itself does not wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// A descriptor that several writers share: no line ends up within another.
#[derive(Debug)]
pub struct SharedOutput {
    /// A file takes whatever there is room for; everything else has a reader, who may not read.
    is_file: bool,
    open: Mutex<OutputState>,
}

#[derive(Debug)]
struct OutputState {
    file: File,
    /// The rest of a line of which a part is written: it comes before anything else.
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
    /// When no more descriptors are to be had.
    pub fn stderr() -> io::Result<Self> {
        io::stderr().as_fd().try_clone_to_owned().map(Self::new)
    }

    /// True if it has no reader, who may not read.
    pub(super) fn is_file(&self) -> bool {
        self.is_file
    }

    /// Writes lines if that does not wait for a reader. False: nothing of it is written.
    pub(super) fn write_at_once(&self, line: &[u8]) -> bool {
        if !self.is_file && line.len() > PIPE_BUF {
            return false;
        }
        let Some(mut open) = self.open.try_lock_for(TURN) else { return false };
        open.rest.is_empty()
            && (self.is_file || open.is_ready(Duration::ZERO))
            && open.write(line, TURN).is_ok()
    }

    /// Writes a line, and waits for that.
    ///
    /// # Errors
    /// When nothing of it could be written.
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
    /// True if a write of no more than [`PIPE_BUF`] will not block, after waiting `longest` at most.
    fn is_ready(&self, longest: Duration) -> bool {
        let longest = Timespec::try_from(longest).ok();
        let mut polled = [PollFd::new(&self.file, PollFlags::OUT)];
        poll(&mut polled, longest.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Writes all of `text`, or keeps the rest. A descriptor that does not wait by itself is waited for, `longest` at a
    /// time.
    ///
    /// # Errors
    /// When nothing of it could be written; then it is kept by whoever has it.
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
