//! The start of a log: takes the lock of the directory, compares the lines with the last signed checkpoints, and then cuts
//! an incomplete end. Nothing is changed in a directory that is evidence.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::line::ChainState;
use crate::note::CheckpointKey;
use crate::segment::{self, Segment, SegmentHeader};
use crate::signed_file::{SignedCheckpoint, SignedFile};
use crate::tree::marked_leaf_hash;

/// The name of the lock file.
pub(crate) const LOCK: &str = "lock";

/// The error if a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to the directory.
    #[error("another process writes the audit in {}; give each process a directory of its own", .0.display())]
    Locked(PathBuf),
    /// A file cannot be used.
    #[error("{} cannot be used for the audit: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// Signed lines are missing.
    #[error(
        "the audit in {} has {found} lines, but {} says that it had {signed}: lines are missing at its end; keep the directory as evidence, and configure another one",
        directory.display(), checkpoint.display()
    )]
    Truncated {
        /// The directory.
        directory: PathBuf,
        /// The file with the checkpoint.
        checkpoint: PathBuf,
        /// The number of lines in the checkpoint.
        signed: u64,
        /// The number of lines.
        found: u64,
    },
    /// Signed lines have been changed.
    #[error(
        "the audit in {} has been changed: {what}; keep the directory as evidence (`witgate audit verify` tells more), and configure another one",
        directory.display()
    )]
    Altered {
        /// The directory.
        directory: PathBuf,
        /// The fault and its place.
        what: String,
    },
    /// The key gives no secret for the digests of arguments.
    #[error("the key of the audit cannot be used")]
    Key,
    /// The system gives no thread.
    #[error("the audit cannot be written, because the system gives no thread: {0}")]
    Thread(io::Error),
}

impl OpenError {
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }

    fn altered(directory: &Path, file: &Path, what: impl std::fmt::Display) -> Self {
        Self::Altered { directory: directory.to_owned(), what: format!("{}: {what}", file.display()) }
    }
}

/// A log as a process finds it.
#[derive(Debug)]
pub(crate) struct FoundLog {
    /// The lock of the directory, until it is dropped.
    pub(crate) lock: File,
    pub(crate) chain: ChainState,
    /// The segment to continue, and its length.
    pub(crate) segment: Option<(Segment, u64)>,
    /// The number of bytes that were cut, because their line or entry was incomplete.
    pub(crate) cut: u64,
}

/// The checkpoints that a process finds, and what a kill has left.
#[derive(Debug, Default)]
struct LeftBehind {
    signed: Vec<SignedCheckpoint>,
    /// Files with an incomplete end, and their lengths without it.
    torn: Vec<(PathBuf, u64)>,
    /// Segments without a complete line.
    empty: Vec<PathBuf>,
}

/// Opens the log in `directory`, which is made if it does not exist. Checkpoints have to be signed by one of `keys`.
pub(crate) fn open(
    directory: &Path,
    checkpoint_to: &[PathBuf],
    owner: &str,
    keys: &[CheckpointKey],
) -> Result<FoundLog, OpenError> {
    let failed = |error| OpenError::io(directory, error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let lock = lock(directory, owner)?;
    let mut segments = segment::list(directory).map_err(failed)?;
    let mut found = FoundLog { lock, chain: ChainState::default(), segment: None, cut: 0 };
    let mut left = LeftBehind::default();
    for path in checkpoint_to {
        left.add(directory, path, false, keys)?;
    }
    left.add_own(directory, segments.last(), keys)?;
    let mut first = segments.last().map(|last| last.first).unwrap_or_default();
    while let Some(last) = segments.pop() {
        first = last.first;
        match read(directory, &last, &left.signed)? {
            SegmentEnd::Usable { chain, length, cut } => {
                if cut > 0 {
                    left.torn.push((last.path.clone(), length));
                }
                found.chain = chain;
                found.cut += cut;
                // A compressed segment is complete: the next line begins a new one.
                found.segment = (!last.is_compressed).then_some((last, length));
                break;
            }
            // A kill in the middle of a rotation.
            SegmentEnd::WithoutHeader { length } => {
                found.cut += length;
                left.empty.push(last.path);
            }
        }
    }
    left.compare(directory, &found.chain)?;
    left.check_cover(directory, first, &found.chain)?;
    left.clear()?;
    Ok(found)
}

impl LeftBehind {
    /// Adds the checkpoints in a file.
    fn add(
        &mut self,
        directory: &Path,
        path: &Path,
        is_own: bool,
        keys: &[CheckpointKey],
    ) -> Result<(), OpenError> {
        let Some(file) = SignedFile::read(path, keys).map_err(|error| OpenError::io(path, error))? else {
            return Ok(());
        };
        let SignedFile { checkpoints, whole, length, fault } = file;
        if let Some(fault) = fault {
            return Err(OpenError::altered(directory, path, fault));
        }
        self.signed.extend(checkpoints);
        if whole < length && is_own {
            self.torn.push((path.to_owned(), whole));
        }
        Ok(())
    }

    /// Adds the checkpoints beside the last segment, and those before it: a kill may have come before the first one of
    /// the last segment.
    fn add_own(
        &mut self,
        directory: &Path,
        last: Option<&Segment>,
        keys: &[CheckpointKey],
    ) -> Result<(), OpenError> {
        let mut files =
            segment::checkpoint_files(directory).map_err(|error| OpenError::io(directory, error))?;
        let begin = last.map(Segment::checkpoints);
        while let Some(path) = files.pop() {
            self.add(directory, &path, true, keys)?;
            let is_before = begin.as_ref().is_none_or(|begin| path < *begin);
            if is_before && !self.signed.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Compares the end of a log with checkpoints that say more.
    fn compare(&self, directory: &Path, chain: &ChainState) -> Result<(), OpenError> {
        let longest = self.signed.iter().max_by_key(|signed| signed.checkpoint.size);
        match longest.filter(|signed| signed.checkpoint.size > chain.next()) {
            Some(SignedCheckpoint { path, checkpoint }) => Err(OpenError::Truncated {
                directory: directory.to_owned(),
                checkpoint: path.to_path_buf(),
                signed: checkpoint.size,
                found: chain.next(),
            }),
            None => Ok(()),
        }
    }

    /// Checks that a checkpoint signs the lines before `first`, of which the last segment has only the tree.
    fn check_cover(&self, directory: &Path, first: u64, chain: &ChainState) -> Result<(), OpenError> {
        let is_covered = self.signed.iter().any(|signed| signed.checkpoint.size >= first);
        if first == 0 || (is_covered && chain.next() >= first) {
            return Ok(());
        }
        let what = format!("no signed checkpoint covers the lines before {first}");
        Err(OpenError::Altered { directory: directory.to_owned(), what })
    }

    /// Removes what a kill has left.
    fn clear(self) -> Result<(), OpenError> {
        for path in self.empty {
            std::fs::remove_file(&path).map_err(|error| OpenError::io(&path, error))?;
        }
        self.torn.iter().try_for_each(|(path, length)| cut(path, *length))
    }
}

fn lock(directory: &Path, owner: &str) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.create(true).write(true).truncate(false).mode(0o600).open(&path);
    let mut file = file.map_err(|error| OpenError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => {
            let named = file.set_len(0).and_then(|()| file.write_all(owner.as_bytes()));
            named.map(|()| file).map_err(|error| OpenError::io(&path, error))
        }
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::io(&path, error)),
    }
}

/// The owner of the log that is open in `directory`, as its [`LogSettings`](crate::LogSettings) name it. None: no
/// process has the log open.
pub fn owner(directory: &Path) -> Option<String> {
    let mut file = File::open(directory.join(LOCK)).ok()?;
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let mut owner = String::new();
    file.read_to_string(&mut owner).ok().map(|_| owner)
}

/// The end of a segment.
enum SegmentEnd {
    /// The segment is whole up to `length`; `cut` bytes follow.
    Usable { chain: ChainState, length: u64, cut: u64 },
    /// There is not even a complete first line.
    WithoutHeader { length: u64 },
}

/// Reads a segment up to its end, or to the first line that is incomplete. Signed lines have to be complete.
fn read(directory: &Path, segment: &Segment, signed: &[SignedCheckpoint]) -> Result<SegmentEnd, OpenError> {
    let failed = |error| OpenError::io(&segment.path, error);
    let length = segment.path.metadata().map_err(failed)?.len();
    let altered = |what: String| OpenError::altered(directory, Path::new(&segment.name()), what);
    let compare = |chain: &ChainState| {
        let is_other = |signed: &&SignedCheckpoint| signed.is_of_other_lines(chain);
        match signed.iter().find(is_other) {
            Some(SignedCheckpoint { path, .. }) => {
                Err(altered(format!("its lines are not those of the checkpoint in {}", path.display())))
            }
            None => Ok(()),
        }
    };
    let mut lines = segment.lines().map_err(failed)?;
    let mut chain: Option<ChainState> = None;
    let (mut whole, mut has_line) = (0, false);
    while let Some(line) = lines.next().map_err(failed)? {
        has_line |= line.is_whole;
        let so_far = chain.take().or_else(|| SegmentHeader::state_before(line.bytes()));
        let fault = so_far.as_ref().map(|chain| chain.fault_of(line.bytes()));
        let (Some(mut next), Some(None), true) = (so_far.clone(), fault, line.is_whole) else {
            chain = so_far.filter(|_| whole > 0);
            break;
        };
        if whole == 0 {
            compare(&next)?;
        }
        next.advance(marked_leaf_hash(line.marked()));
        whole = line.offset + u64::try_from(line.marked().len()).unwrap_or(u64::MAX);
        compare(&next)?;
        chain = Some(next);
    }
    let Some(chain) = chain else {
        // A kill leaves no complete line that is damaged.
        return match has_line || signed.iter().any(|signed| signed.checkpoint.size > segment.first) {
            true => Err(altered("its first line is damaged".to_owned())),
            false => Ok(SegmentEnd::WithoutHeader { length }),
        };
    };
    let is_damaged = !segment.is_compressed && whole < length;
    if is_damaged && signed.iter().any(|signed| signed.checkpoint.size > chain.next()) {
        return Err(altered(format!("line {} is damaged", chain.next())));
    }
    Ok(SegmentEnd::Usable {
        chain,
        length: whole,
        cut: if segment.is_compressed { 0 } else { length - whole },
    })
}

fn cut(path: &Path, length: u64) -> Result<(), OpenError> {
    let file = OpenOptions::new().write(true).open(path);
    let cut = file.and_then(|file| file.set_len(length).and_then(|()| file.sync_all()));
    cut.map_err(|error| OpenError::io(path, error))
}
