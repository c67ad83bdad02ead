//! The start of a log: takes the lock of the directory, cuts an incomplete end, and compares the rest with the last
//! checkpoint.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::line::ChainState;
use crate::note::Checkpoint;
use crate::segment::{self, CheckpointTexts, Segment, SegmentHeader};
use crate::tree::marked_leaf_hash;

/// The name of the lock file.
pub(crate) const LOCK: &str = "lock";

/// The part of a file of checkpoints that surely contains the last one.
const TAIL: u64 = 16 << 10;

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
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
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

/// Opens the log in `directory`, which is made if it does not exist.
pub(crate) fn open(
    directory: &Path,
    checkpoint_to: Option<&Path>,
    owner: &str,
) -> Result<FoundLog, OpenError> {
    let failed = |error| OpenError::io(directory, error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let lock = lock(directory, owner)?;
    let mut segments = segment::list(directory).map_err(failed)?;
    let mut found = FoundLog { lock, chain: ChainState::default(), segment: None, cut: 0 };
    let mut signed = Vec::new();
    signed.extend(checkpoint_to.map(|path| last_checkpoint(path, false)).transpose()?.flatten());
    while let Some(last) = segments.pop() {
        signed.extend(last_checkpoint(&last.checkpoints(), true)?);
        match read(directory, &last, &signed)? {
            SegmentEnd::Usable { chain, length, cut } => {
                found.chain = chain;
                found.cut += cut;
                // A compressed segment is complete: the next line begins a new one.
                found.segment = (!last.is_compressed).then_some((last, length));
                break;
            }
            // A kill in the middle of a rotation.
            SegmentEnd::WithoutHeader { length } => {
                std::fs::remove_file(&last.path).map_err(|error| OpenError::io(&last.path, error))?;
                found.cut += length;
            }
        }
    }
    compare(directory, &found.chain, &signed)?;
    if let Some((segment, length)) = &found.segment
        && found.cut > 0
    {
        cut(&segment.path, *length)?;
    }
    Ok(found)
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
fn read(
    directory: &Path,
    segment: &Segment,
    signed: &[(PathBuf, Checkpoint)],
) -> Result<SegmentEnd, OpenError> {
    let failed = |error| OpenError::io(&segment.path, error);
    let length = segment.path.metadata().map_err(failed)?.len();
    let altered = |what: String| OpenError::Altered {
        directory: directory.to_owned(),
        what: format!("{}: {what}", segment.name()),
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
        next.advance(marked_leaf_hash(line.marked()));
        whole = line.offset + u64::try_from(line.marked().len()).unwrap_or(u64::MAX);
        if let Some((path, _)) =
            signed.iter().find(|(_, signed)| signed.size == next.next() && signed.root != next.tree.root())
        {
            return Err(altered(format!("its lines are not those of the checkpoint in {}", path.display())));
        }
        chain = Some(next);
    }
    let Some(chain) = chain else {
        // A kill leaves no complete line that is damaged.
        return match has_line || signed.iter().any(|(_, signed)| signed.size > segment.first) {
            true => Err(altered("its first line is damaged".to_owned())),
            false => Ok(SegmentEnd::WithoutHeader { length }),
        };
    };
    let is_damaged = !segment.is_compressed && whole < length;
    if is_damaged && signed.iter().any(|(_, signed)| signed.size > chain.next()) {
        return Err(altered(format!("line {} is damaged", chain.next())));
    }
    Ok(SegmentEnd::Usable {
        chain,
        length: whole,
        cut: if segment.is_compressed { 0 } else { length - whole },
    })
}

/// Compares the end of a log with checkpoints that say more.
fn compare(directory: &Path, chain: &ChainState, signed: &[(PathBuf, Checkpoint)]) -> Result<(), OpenError> {
    let longest = signed.iter().max_by_key(|(_, signed)| signed.size);
    match longest.filter(|(_, signed)| signed.size > chain.next()) {
        Some((checkpoint, signed)) => Err(OpenError::Truncated {
            directory: directory.to_owned(),
            checkpoint: checkpoint.clone(),
            signed: signed.size,
            found: chain.next(),
        }),
        None => Ok(()),
    }
}

/// The last complete checkpoint in a file. An incomplete one after it is cut in the log's own file.
fn last_checkpoint(path: &Path, is_own: bool) -> Result<Option<(PathBuf, Checkpoint)>, OpenError> {
    let failed = |error| OpenError::io(path, error);
    // Something else than a file, such as a pipe, has no earlier checkpoints.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(None);
    }
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let length = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).map_err(failed)?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).map_err(failed)?;
    // A character may be incomplete at the beginning, where the tail begins, and at the end, after a kill.
    let begin = tail.iter().position(|byte| *byte & 0b1100_0000 != 0b1000_0000).unwrap_or_default();
    let bytes = tail.get(begin..).unwrap_or_default();
    let tail = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let incomplete = bytes.len() - tail.len();
    // The beginning of the tail may be the middle of a checkpoint.
    let aligned = tail.find("\n\n\u{2014} ").filter(|_| length > TAIL).and_then(|signature| {
        let after = signature + 2;
        tail.get(after..)?.find("\n\n").map(|end| after + end + 2)
    });
    let tail = tail.get(aligned.unwrap_or_default()..).unwrap_or_default();
    let CheckpointTexts { notes, end: whole, .. } = CheckpointTexts::of(tail);
    let torn = u64::try_from(tail.len() - whole + incomplete).unwrap_or_default();
    if torn > 0 && is_own {
        cut(path, length - torn)?;
    }
    Ok(notes.last().and_then(|note| Checkpoint::peek(note)).map(|checkpoint| (path.to_owned(), checkpoint)))
}

fn cut(path: &Path, length: u64) -> Result<(), OpenError> {
    let file = OpenOptions::new().write(true).open(path);
    let cut = file.and_then(|file| file.set_len(length).and_then(|()| file.sync_all()));
    cut.map_err(|error| OpenError::io(path, error))
}
