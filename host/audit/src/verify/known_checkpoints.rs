//! The checkpoints that a check compares with the lines: those of all files, in the order of their sizes, with only the
//! next one of each place in memory.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read as _, Take};
use std::path::{Path, PathBuf};

use super::verdict::{LogVerdict, WitnessVerification};
use crate::checkpoint_file::{CheckpointPart, CheckpointReader};
use crate::note::{self, Checkpoint, CheckpointError, CheckpointKey};

/// A checkpoint, and its file.
pub(super) struct KnownCheckpoint {
    pub(super) checkpoint: Checkpoint,
    pub(super) file: String,
}

/// The checkpoints of all places.
pub(super) struct KnownCheckpoints<'k> {
    streams: Vec<CheckpointStream<'k>>,
    /// The smallest size of the next ones.
    due: u64,
    witnesses: Vec<WitnessVerification>,
}

/// The files of one place, one after the other.
struct CheckpointStream<'k> {
    keys: &'k [CheckpointKey],
    /// True for the files beside the log. A file elsewhere, to which Witgate may only be able to append, may have
    /// incomplete checkpoints, which a kill has left.
    is_own: bool,
    /// The files that are not open yet, and their lengths: what is added later is about later lines.
    files: VecDeque<(PathBuf, u64)>,
    open: Option<OpenFile>,
    next: Option<KnownCheckpoint>,
    last: u64,
    count: u64,
}

struct OpenFile {
    reader: CheckpointReader<Take<File>>,
    name: String,
    number: u64,
}

impl<'k> KnownCheckpoints<'k> {
    /// The checkpoints in the files beside a log, those there that witnesses have cosigned, and those elsewhere.
    pub(super) fn new(
        own: &[PathBuf],
        cosigned: &[PathBuf],
        known: &[PathBuf],
        (keys, witnesses): (&'k [CheckpointKey], Vec<WitnessVerification>),
    ) -> Result<Self, LogVerdict> {
        let mut streams = vec![CheckpointStream::new(own, true, keys)?];
        let mut by_witness = BTreeMap::<_, Vec<PathBuf>>::new();
        for path in cosigned {
            let id = path.file_stem().map(|name| Path::new(name).extension().map(ToOwned::to_owned));
            by_witness.entry(id).or_default().push(path.clone());
        }
        for paths in by_witness.values() {
            streams.push(CheckpointStream::new(paths, false, keys)?);
        }
        for path in known {
            streams.push(CheckpointStream::new(std::slice::from_ref(path), false, keys)?);
        }
        let mut all = Self { streams, due: 0, witnesses };
        all.streams.iter_mut().try_for_each(|place| place.advance(&mut all.witnesses))?;
        all.look();
        Ok(all)
    }

    /// The cosignatures that were found.
    pub(super) fn into_witnesses(self) -> Vec<WitnessVerification> {
        self.witnesses
    }

    fn look(&mut self) {
        let sizes = self.streams.iter().filter_map(|place| place.next.as_ref());
        self.due = sizes.map(|known| known.checkpoint.size).min().unwrap_or(u64::MAX);
    }

    /// True if there are no more.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.iter().all(|place| place.next.is_none())
    }

    /// The number of checkpoints that were read.
    pub(super) fn count(&self) -> u64 {
        self.streams.iter().map(|place| place.count).sum()
    }

    /// The next checkpoint, if its size is at most `size`.
    pub(super) fn next_up_to(&mut self, size: u64) -> Result<Option<KnownCheckpoint>, LogVerdict> {
        if self.due > size {
            return Ok(None);
        }
        let due = self.due;
        let is_due = |place: &&mut CheckpointStream<'_>| {
            place.next.as_ref().is_some_and(|known| known.checkpoint.size == due)
        };
        let Some(place) = self.streams.iter_mut().find(is_due) else { return Ok(None) };
        let known = place.next.take();
        place.advance(&mut self.witnesses)?;
        self.look();
        Ok(known)
    }
}

impl<'k> CheckpointStream<'k> {
    fn new(paths: &[PathBuf], is_own: bool, keys: &'k [CheckpointKey]) -> Result<Self, LogVerdict> {
        let length = |path: &PathBuf| match path.metadata() {
            Ok(metadata) => Ok((path.clone(), metadata.len())),
            Err(error) => Err(LogVerdict::unreadable(path, &error)),
        };
        let files = paths.iter().map(length).collect::<Result<_, _>>()?;
        Ok(Self { keys, is_own, files, open: None, next: None, last: 0, count: 0 })
    }

    /// Reads the next checkpoint.
    fn advance(&mut self, witnesses: &mut [WitnessVerification]) -> Result<(), LogVerdict> {
        while let Some((path, length)) = self.files.front() {
            let path = path.clone();
            let open = match &mut self.open {
                Some(open) => open,
                closed => closed.insert(OpenFile::new(&path, *length)?),
            };
            let part = open.reader.next().map_err(|error| LogVerdict::unreadable(&path, &error))?;
            let Some(part) = part else {
                self.files.pop_front();
                self.open = None;
                continue;
            };
            let file = open.name.clone();
            open.number += 1;
            let number = open.number;
            if let Some(checkpoint) = self.checkpoint(&part, &file, number)? {
                note_cosignatures(&part, &checkpoint, witnesses).map_err(|what| LogVerdict::Altered {
                    file: file.clone(),
                    line: None,
                    what: format!("checkpoint {number}: {what}"),
                })?;
                self.next = Some(KnownCheckpoint { checkpoint, file });
                return Ok(());
            }
        }
        Ok(())
    }

    /// The checkpoint in a part of a file. None: the part is incomplete, and may be.
    fn checkpoint(
        &mut self,
        part: &CheckpointPart,
        file: &str,
        number: u64,
    ) -> Result<Option<Checkpoint>, LogVerdict> {
        let altered = |what: String| LogVerdict::Altered { file: file.to_owned(), line: None, what };
        let opened = match part {
            CheckpointPart::Gap(_) if self.is_own => {
                return Err(altered("there is something between its checkpoints".to_owned()));
            }
            CheckpointPart::Gap(_) => return Ok(None),
            CheckpointPart::Note(text) => note::open(text, self.keys),
        };
        match opened {
            Ok(checkpoint) if checkpoint.size < self.last => {
                Err(altered(format!("checkpoint {number}: it has fewer lines than the one before")))
            }
            Ok(checkpoint) => {
                self.count += 1;
                self.last = checkpoint.size;
                Ok(Some(checkpoint))
            }
            Err(CheckpointError::Form) if !self.is_own => Ok(None),
            Err(error) => Err(altered(format!("checkpoint {number}: {error}"))),
        }
    }
}

/// Notes the witnesses that have cosigned a checkpoint.
fn note_cosignatures(
    part: &CheckpointPart,
    checkpoint: &Checkpoint,
    witnesses: &mut [WitnessVerification],
) -> Result<(), String> {
    let CheckpointPart::Note(text) = part else { return Ok(()) };
    for witness in witnesses {
        let wrong = |error| format!("the cosignature of {}: {error}", witness.key.name());
        if let Some(at) = witness.key.cosigned_at(text).map_err(wrong)? {
            witness.checkpoints += 1;
            if checkpoint.size >= witness.lines {
                (witness.lines, witness.at) = (checkpoint.size, at);
            }
        }
    }
    Ok(())
}

impl OpenFile {
    fn new(path: &Path, length: u64) -> Result<Self, LogVerdict> {
        let file = File::open(path).map_err(|error| LogVerdict::unreadable(path, &error))?;
        let reader = CheckpointReader::new(file.take(length));
        Ok(Self { reader, name: path.display().to_string(), number: 0 })
    }
}
