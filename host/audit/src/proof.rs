//! The proof that one line is in a log: a text in the format C2SP tlog-proof, with the line in its `extra`. It needs
//! neither the log nor Witgate.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;

use crate::checkpoint_file::{CheckpointPart, CheckpointReader};
use crate::line::ChainFields;
use crate::note::{self, Checkpoint, CheckpointError, CheckpointKey};
use crate::segment::{self, Segment, SegmentHeader};
use crate::tree::{InclusionPath, PathCollector, leaf_hash, marked_leaf_hash};

const TITLE: &str = "c2sp.org/tlog-proof@v1";

/// The choice of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineChoice {
    /// The line with this number.
    Number(u64),
    /// The first line with this decision id.
    Decision(String),
}

impl LineChoice {
    /// Reads a choice: digits are a number, unless they have the length of an id.
    pub fn of(text: &str) -> Self {
        match text.parse() {
            Ok(number) if text.len() < 32 => Self::Number(number),
            _ => Self::Decision(text.to_owned()),
        }
    }
}

impl fmt::Display for LineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "line {number}"),
            Self::Decision(id) => write!(f, "decision `{id}`"),
        }
    }
}

/// The error if a line cannot be proven.
#[derive(Debug, thiserror::Error)]
pub enum LineProofError {
    /// There is no such line.
    #[error("there is no {0} in the audit")]
    Unknown(LineChoice),
    /// No checkpoint covers the line yet.
    #[error("no checkpoint covers line {0} yet; try again in a second")]
    Uncovered(u64),
    /// The log has been changed.
    #[error("the audit has been changed near line {0}; `witgate audit verify` tells more")]
    Altered(u64),
    /// A file cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
}

/// The error in a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProofFault {
    /// The text is not a proof.
    #[error("it is not a proof of the form {TITLE}, with the line in `extra`")]
    Form,
    /// The checkpoint is invalid.
    #[error("its checkpoint is invalid: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The line is not the one in the tree.
    #[error("its line is not part of the signed log")]
    Line,
}

/// The proof of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProof {
    /// The line.
    pub line: String,
    /// Its number.
    pub number: u64,
    /// The path to the root.
    pub path: InclusionPath,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl fmt::Display for LineProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}\nextra {}\nindex {}", STANDARD.encode(&self.line), self.number)?;
        self.path.0.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl std::str::FromStr for LineProof {
    type Err = LineProofFault;

    fn from_str(text: &str) -> Result<Self, LineProofFault> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(LineProofFault::Form)?;
        let mut lines = head.lines();
        let mut member = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
        let title = member(TITLE).filter(|rest| rest.is_empty());
        let (line, number) = (member("extra "), member("index "));
        let line = line.and_then(|line| STANDARD.decode(line).ok());
        let line = line.and_then(|line| String::from_utf8(line).ok());
        let number = number.and_then(|number| number.parse().ok());
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let path: Option<Vec<_>> = lines.map(hash).collect();
        match (title, line, number, path) {
            (Some(_), Some(line), Some(number), Some(path)) => {
                Ok(Self { line, number, path: InclusionPath(path), checkpoint: checkpoint.to_owned() })
            }
            _ => Err(LineProofFault::Form),
        }
    }
}

impl LineProof {
    /// Checks the proof with the public keys of the log.
    ///
    /// # Errors
    /// If the checkpoint is not signed by one of them, or the line is not in the tree.
    pub fn check(&self, keys: &[CheckpointKey]) -> Result<Checkpoint, LineProofFault> {
        let checkpoint = note::open(&self.checkpoint, keys)?;
        let has_number =
            ChainFields::of(self.line.as_bytes()).is_some_and(|fields| fields.number == self.number);
        let root = self.path.root(self.number, checkpoint.size, leaf_hash(self.line.as_bytes()));
        if root == Some(checkpoint.root) && has_number { Ok(checkpoint) } else { Err(LineProofFault::Line) }
    }
}

/// Makes the proof of a line of the log in `directory`.
///
/// # Errors
/// If there is no such line, or no checkpoint of it.
pub fn prove(directory: &Path, choice: &LineChoice) -> Result<LineProof, LineProofError> {
    let segments = segment::list(directory).map_err(|error| failed(directory, error))?;
    let (number, line) = find(&segments, choice)?.ok_or_else(|| LineProofError::Unknown(choice.clone()))?;
    let after = segments.partition_point(|segment| segment.first <= number);
    let rest = segments.get(after.saturating_sub(1)..).unwrap_or_default();
    let (checkpoint, note) = covering(rest, number)?.ok_or(LineProofError::Uncovered(number))?;
    let path = path(rest, number, &checkpoint)?.ok_or(LineProofError::Altered(number))?;
    let proof = LineProof { line, number, path, checkpoint: note };
    let root = proof.path.root(number, checkpoint.size, leaf_hash(proof.line.as_bytes()));
    if root == Some(checkpoint.root) { Ok(proof) } else { Err(LineProofError::Altered(number)) }
}

fn failed(path: &Path, error: io::Error) -> LineProofError {
    LineProofError::Io { path: path.to_owned(), error }
}

/// The number and the text of a line.
fn find(segments: &[Segment], choice: &LineChoice) -> Result<Option<(u64, String)>, LineProofError> {
    let (segments, needle) = match choice {
        LineChoice::Number(number) => {
            let after = segments.partition_point(|segment| segment.first <= *number);
            (segments.get(after.saturating_sub(1)..after).unwrap_or_default(), String::new())
        }
        LineChoice::Decision(id) => (segments, format!(r#""id":{}"#, serde_json::Value::from(id.as_str()))),
    };
    let needle = Finder::new(needle.as_bytes());
    for segment in segments {
        let mut lines = segment.lines().map_err(|error| failed(&segment.path, error))?;
        while let Some(line) = lines.next().map_err(|error| failed(&segment.path, error))? {
            let fields = ChainFields::of(line.bytes()).filter(|_| line.is_whole);
            let is_chosen = |number: u64| match choice {
                LineChoice::Number(wanted) => number == *wanted,
                LineChoice::Decision(_) => needle.find(line.bytes()).is_some(),
            };
            if let Some(fields) = fields.filter(|fields| is_chosen(fields.number)) {
                return Ok(Some((fields.number, String::from_utf8_lossy(line.bytes()).into_owned())));
            }
        }
    }
    Ok(None)
}

/// The first checkpoint after a line.
fn covering(segments: &[Segment], number: u64) -> Result<Option<(Checkpoint, String)>, LineProofError> {
    for path in segments.iter().map(Segment::checkpoints).filter(|path| path.exists()) {
        let file = File::open(&path).map_err(|error| failed(&path, error))?;
        let mut reader = CheckpointReader::new(file);
        while let Some(part) = reader.next().map_err(|error| failed(&path, error))? {
            let CheckpointPart::Note(note) = part else { continue };
            if let Some(checkpoint) = Checkpoint::peek(&note).filter(|checkpoint| checkpoint.size > number) {
                return Ok(Some((checkpoint, note)));
            }
        }
    }
    Ok(None)
}

/// The path of a line in the tree of a checkpoint, from the segments with the line and those after it.
fn path(
    segments: &[Segment],
    number: u64,
    checkpoint: &Checkpoint,
) -> Result<Option<InclusionPath>, LineProofError> {
    let mut collector = None;
    let mut next = segments.first().map(|segment| segment.first).unwrap_or_default();
    for segment in segments.iter().take_while(|segment| segment.first < checkpoint.size) {
        let mut lines = segment.lines().map_err(|error| failed(&segment.path, error))?;
        while next < checkpoint.size
            && let Some(line) = lines.next().map_err(|error| failed(&segment.path, error))?
        {
            if collector.is_none() {
                let Some(before) = SegmentHeader::state_before(line.bytes()) else { return Ok(None) };
                collector = Some(PathCollector::new(number, checkpoint.size, &before.tree));
            }
            if let Some(collector) = &mut collector {
                collector.push(next, marked_leaf_hash(line.marked()));
            }
            next += 1;
        }
    }
    Ok(collector.and_then(PathCollector::path))
}
