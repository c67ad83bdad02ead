//! The files of a log while it is written: the open segment, its checkpoints, and the places that get them elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, linkat};
use witgate_base::whole_file::sync_folder;

use crate::checkpoint_file::append_to;
use crate::checkpoint_place::CheckpointText;
use crate::copies::CheckpointCopies;
use crate::line::{ChainState, MarkedLines};
use crate::note::CheckpointSigner;
use crate::queue::EntryBatch;
use crate::recovery::{FoundLog, LOCK};
use crate::segment::{Segment, SegmentHeader};
use crate::time_text;

/// The room that the file system gives to a segment in advance, in bytes.
const ROOM: u64 = 1 << 20;

/// The files of a log, and the state of its chain. Everything up to that state is durable.
#[derive(Debug)]
pub(crate) struct LogFiles {
    directory: PathBuf,
    /// The lock of the directory. As long as the directory has it, the directory is the same.
    lock: File,
    signer: Arc<CheckpointSigner>,
    copies: Vec<CheckpointCopies>,
    chain: ChainState,
    current: Option<CurrentSegment>,
    lines: MarkedLines,
    /// The size of the log at the last checkpoint.
    signed: Option<u64>,
    /// True if segments get room in advance.
    has_room: bool,
}

/// The segment that is written.
#[derive(Debug)]
struct CurrentSegment {
    segment: Segment,
    file: File,
    /// The length of the durable lines.
    length: u64,
    began: Instant,
    /// True if a failed write may have left something after the durable lines.
    is_dirty: bool,
    /// The end of the room that the file system was asked for.
    room: u64,
}

impl LogFiles {
    /// Continues a log in its last segment. Without a segment, the next line begins one.
    pub(crate) fn new(
        directory: PathBuf,
        found: FoundLog,
        signer: Arc<CheckpointSigner>,
        copies: Vec<CheckpointCopies>,
    ) -> io::Result<Self> {
        let FoundLog { lock, chain, segment, .. } = found;
        let reopened = |(segment, length): (Segment, u64)| {
            let file = OpenOptions::new().append(true).open(&segment.path)?;
            // A killed process may have left lines that are not on the disk. The next checkpoint signs them.
            file.sync_data()?;
            sync_folder(&segment.path)?;
            let age = SegmentHeader::age(&segment).unwrap_or_default();
            let began = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
            io::Result::Ok(CurrentSegment { segment, file, length, began, is_dirty: false, room: length })
        };
        let current = segment.map(reopened).transpose()?;
        let lines = MarkedLines::default();
        Ok(Self { directory, lock, signer, copies, chain, current, lines, signed: None, has_room: false })
    }

    /// Makes segments get room in advance. Lines become durable in three quarters of the time, because the file system
    /// has nothing to find then. The size of the files stays that of their lines.
    pub(crate) fn reserve_room(&mut self) {
        self.has_room = true;
    }

    /// The number of lines.
    pub(crate) fn size(&self) -> u64 {
        self.chain.next()
    }

    /// True if there are lines after the last checkpoint.
    pub(crate) fn is_unsigned(&self) -> bool {
        self.signed != Some(self.size())
    }

    /// The current segment.
    pub(crate) fn segment(&self) -> Option<&Segment> {
        self.current.as_ref().map(|current| &current.segment)
    }

    /// True if the current segment has reached this size or age.
    pub(crate) fn is_full(&self, size: u64, age: Duration) -> bool {
        self.current.as_ref().is_some_and(|current| current.length >= size || current.began.elapsed() >= age)
    }

    /// Writes entries, and makes them durable. After an error, the same can be tried again.
    ///
    /// # Errors
    /// If the disk does not take them. Then none of them is part of the log.
    pub(crate) fn append(&mut self, entries: &EntryBatch) -> io::Result<()> {
        self.restore_name()?;
        if self.current.as_ref().is_none_or(CurrentSegment::is_lost) {
            self.begin_segment()?;
        }
        let mut chain = self.chain.clone();
        self.lines.clear();
        entries.entries().for_each(|entry| chain.write(entry, &mut self.lines));
        if let Some(current) = &mut self.current {
            if self.has_room {
                current.make_room(self.lines.bytes().len());
            }
            current.append(self.lines.bytes())?;
        }
        self.chain = chain;
        Ok(())
    }

    /// Ends the current segment with a checkpoint, and begins the next one.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        self.checkpoint(true)?;
        self.begin_segment()
    }

    /// Checks that the directory is still the one with the lock. Another one in its place, such as the mount point of a
    /// disk that is gone, gets nothing.
    fn check_directory(&self) -> io::Result<()> {
        match is_at(&self.directory.join(LOCK), &self.lock)? {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::NotFound, "another directory is in its place")),
        }
    }

    /// Gives the current segment its name back after another program, such as `logrotate`, has renamed it.
    fn restore_name(&mut self) -> io::Result<()> {
        if !self.current.as_ref().is_some_and(CurrentSegment::is_renamed) {
            return Ok(());
        }
        self.check_directory()?;
        let Some(current) = &mut self.current else { return Ok(()) };
        // Some file systems, such as FAT, have no hard links.
        current.link_again().or_else(|_| current.copy_again())?;
        let path = current.segment.path.display();
        tracing::warn!("another program has renamed {path}; the segment has its name again");
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.check_directory()?;
        let segment = Segment::new(&self.directory, self.size());
        // A file of this name can only be left over from a failed attempt: this process has the lock.
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&segment.path)?;
        file.set_len(0)?;
        let (length, began, is_dirty, room) = (0, Instant::now(), false, 0);
        let mut current = CurrentSegment { segment, file, length, began, is_dirty, room };
        let mut chain = self.chain.clone();
        let header = SegmentHeader::new(&chain, self.signer.public().to_string(), time_text());
        self.lines.clear();
        chain.write(&serde_json::to_vec(&header)?, &mut self.lines);
        if let Err(error) =
            current.append(self.lines.bytes()).and_then(|()| sync_folder(&current.segment.path))
        {
            // An empty file would do no harm.
            drop(std::fs::remove_file(&current.segment.path));
            return Err(error);
        }
        self.chain = chain;
        self.current = Some(current);
        Ok(())
    }

    /// Signs a checkpoint, and appends it to its files. `is_end` says that something ends: a segment, a generation, or the
    /// log.
    ///
    /// # Errors
    /// If it cannot be written. The log itself is not affected.
    pub(crate) fn checkpoint(&mut self, is_end: bool) -> io::Result<()> {
        self.check_directory()?;
        self.restore_name()?;
        let Some(current) = &self.current else { return Ok(()) };
        let note = self.signer.sign(self.size(), self.chain.tree.root());
        let text = format!("{note}\n");
        append_to(&current.segment.checkpoints(), &text)?;
        self.signed = Some(self.size());
        let checkpoint = CheckpointText { text: text.into(), segment: current.segment.first, is_end };
        self.copies.iter_mut().for_each(|copies| copies.send(&checkpoint));
        Ok(())
    }
}

impl Drop for LogFiles {
    fn drop(&mut self) {
        self.copies.iter_mut().for_each(CheckpointCopies::end);
    }
}

impl CurrentSegment {
    /// True if the file is no longer the one that was written: it was removed, renamed or changed.
    fn is_lost(&self) -> bool {
        let Ok(length) = self.file.metadata().map(|metadata| metadata.len()) else { return true };
        let is_changed = length < self.length || (length != self.length && !self.is_dirty);
        is_changed || !is_at(&self.segment.path, &self.file).unwrap_or_default()
    }

    /// True if the file is whole, but has another name, and nothing that counts has its own.
    fn is_renamed(&self) -> bool {
        let Ok(own) = self.file.metadata() else { return false };
        let is_whole = own.nlink() > 0 && (own.len() == self.length || self.is_dirty);
        is_whole
            && match std::fs::metadata(&self.segment.path) {
                Ok(there) => {
                    there.len() == 0
                        && there.is_file()
                        && (there.dev(), there.ino()) != (own.dev(), own.ino())
                }
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
    }

    /// Makes the segment's name another name of the open file. An empty file that has the name is replaced.
    fn link_again(&self) -> io::Result<()> {
        let new = self.unused_name()?;
        linkat(CWD, self.open_path(), CWD, &new, AtFlags::SYMLINK_FOLLOW)?;
        std::fs::rename(&new, &self.segment.path)?;
        sync_folder(&self.segment.path)
    }

    /// Copies the durable lines to a file of the segment's name, which is written from now on. An empty file that has
    /// the name is replaced.
    fn copy_again(&mut self) -> io::Result<()> {
        let new = self.unused_name()?;
        let mut options = OpenOptions::new();
        let mut file = options.create_new(true).append(true).mode(0o600).open(&new)?;
        let copied = io::copy(&mut File::open(self.open_path())?.take(self.length), &mut file)?;
        if copied != self.length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the renamed segment became shorter"));
        }
        file.sync_all()?;
        std::fs::rename(&new, &self.segment.path)?;
        sync_folder(&self.segment.path)?;
        (self.file, self.is_dirty, self.room) = (file, false, self.length);
        Ok(())
    }

    /// The path of the open file, whatever its name is.
    fn open_path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    /// A name beside the segment. A file of this name is left over from a failed attempt.
    fn unused_name(&self) -> io::Result<PathBuf> {
        let new = self.segment.path.with_extension("renamed");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(new),
        }
    }

    /// Asks the file system for room for so many more bytes, and for later ones. If there is none, the write tells.
    fn make_room(&mut self, more: usize) {
        let end = self.length.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        if end <= self.room {
            return;
        }
        self.room = end.saturating_add(ROOM);
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let _ = fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.length, self.room - self.length);
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_dirty {
            // This also gives the room back.
            self.file.set_len(self.length)?;
            self.room = self.length;
        }
        self.is_dirty = true;
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.is_dirty = false;
        self.length += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// True if the file at `path` is the open one.
fn is_at(path: &Path, open: &File) -> io::Result<bool> {
    let (there, own) = (std::fs::metadata(path)?, open.metadata()?);
    Ok((there.dev(), there.ino()) == (own.dev(), own.ino()))
}
