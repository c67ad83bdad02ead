//! The signed checkpoints in a file, as a start needs them: the last ones, and the one with the most lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint_file::{CheckpointPart, CheckpointReader};
use crate::line::ChainState;
use crate::note::{self, Checkpoint, CheckpointError, CheckpointKey};

/// The number of checkpoints at the end of a file whose signatures are checked at a start. `verify` checks all.
const LAST: usize = 16;

/// A checkpoint whose signature is checked.
#[derive(Clone, Debug)]
pub(crate) struct SignedCheckpoint {
    pub(crate) path: Arc<Path>,
    pub(crate) checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// True if the log had the same number of lines at the checkpoint, and they were others.
    pub(crate) fn is_of_other_lines(&self, chain: &ChainState) -> bool {
        self.checkpoint.size == chain.next() && self.checkpoint.root != chain.tree.root()
    }
}

/// The number of lines in the last checkpoint of a file. Signatures are not checked.
pub(crate) fn last_size(path: &Path) -> Option<u64> {
    let mut reader = CheckpointReader::new(File::open(path).ok()?);
    let mut last = None;
    while let Some(part) = reader.next().ok()? {
        if let CheckpointPart::Note(text) = part {
            last = Checkpoint::peek(&text).map(|checkpoint| checkpoint.size).or(last);
        }
    }
    last
}

/// The content of a file of checkpoints.
#[derive(Debug, Default)]
pub(crate) struct SignedFile {
    /// The last checkpoints, and the one with the most lines.
    pub(crate) checkpoints: Vec<SignedCheckpoint>,
    /// The length without an incomplete checkpoint at the end.
    pub(crate) whole: u64,
    /// The length.
    pub(crate) length: u64,
    /// The fault, if there is something that neither Witgate has written nor a kill has left.
    pub(crate) fault: Option<String>,
}

impl SignedFile {
    /// Reads the file at `path`. None: there is none, or it is something without a past, such as a pipe.
    pub(crate) fn read(path: &Path, keys: &[CheckpointKey]) -> io::Result<Option<Self>> {
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(None);
        }
        match File::open(path) {
            Ok(file) => Self::of(&file, path, keys).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(file: &File, path: &Path, keys: &[CheckpointKey]) -> io::Result<Self> {
        let mut found = Self { length: file.metadata()?.len(), ..Self::default() };
        let mut reader = CheckpointReader::new(file);
        let (mut last, mut longest) = (VecDeque::with_capacity(LAST), None);
        while let Some(part) = reader.next()? {
            match part {
                CheckpointPart::Note(text) => {
                    let size = Checkpoint::peek(&text).map(|checkpoint| checkpoint.size);
                    if longest.as_ref().is_none_or(|(most, _)| size >= *most) && note::is_whole(&text) {
                        longest = Some((size, text.clone()));
                    }
                    if last.len() == LAST {
                        last.pop_front();
                    }
                    last.push_back(text);
                }
                CheckpointPart::Gap(text) if Checkpoint::is_torn(&text, keys) => {}
                CheckpointPart::Gap(_) => {
                    found.fault = Some("there is something between its checkpoints".to_owned());
                    return Ok(found);
                }
            }
        }
        found.whole = reader.end();
        found.take(last.into_iter().chain(longest.map(|(_, text)| text)), path, keys);
        Ok(found)
    }

    /// Takes checkpoints if they are signed, or torn by a kill.
    fn take(&mut self, notes: impl Iterator<Item = String>, path: &Path, keys: &[CheckpointKey]) {
        let path: Arc<Path> = path.into();
        for note in notes {
            match note::open(&note, keys) {
                Ok(checkpoint) => {
                    self.checkpoints.push(SignedCheckpoint { path: Arc::clone(&path), checkpoint });
                }
                Err(CheckpointError::Form) if Checkpoint::is_torn(&note, keys) => {}
                Err(error) => self.fault = Some(format!("a checkpoint at its end: {error}")),
            }
        }
    }
}
