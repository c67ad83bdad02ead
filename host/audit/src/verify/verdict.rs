//! The result of a check in one word, with its place, and the cosignatures that it has found.

use std::fmt;
use std::io;
use std::path::Path;

use crate::cosignature::WitnessKey;
use crate::segment::Segment;

/// The state of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogVerdict {
    /// Every line is the one that was written.
    Intact,
    /// Lines or checkpoints have been changed, removed or added.
    Altered {
        /// The name of the file.
        file: String,
        /// The number of the line. None: the fault is not in one line.
        line: Option<u64>,
        /// The fault.
        what: String,
    },
    /// The end of the log is missing.
    Truncated {
        /// The file with a checkpoint that covers more lines.
        file: String,
        /// The number of lines at that checkpoint.
        signed: u64,
        /// The number of lines.
        found: u64,
    },
    /// A file cannot be read.
    Unreadable {
        /// The file or directory.
        file: String,
        /// The error.
        what: String,
    },
}

impl LogVerdict {
    /// The name for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Altered { .. } => "altered",
            Self::Truncated { .. } => "truncated",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

impl fmt::Display for LogVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intact => f.write_str("intact"),
            Self::Altered { file, line: Some(line), what } => {
                write!(f, "altered at line {line}, in {file}: {what}")
            }
            Self::Altered { file, line: None, what } => write!(f, "altered, in {file}: {what}"),
            Self::Truncated { file, signed, found } => {
                write!(f, "truncated: {file} has a checkpoint of {signed} lines, and there are {found}")
            }
            Self::Unreadable { file, what } => write!(f, "unreadable: {file}: {what}"),
        }
    }
}

impl LogVerdict {
    pub(super) fn unreadable(file: &Path, error: &io::Error) -> Self {
        Self::Unreadable { file: file.display().to_string(), what: error.to_string() }
    }

    pub(super) fn altered(segment: &Segment, line: u64, what: impl fmt::Display) -> Self {
        Self::Altered { file: segment.name(), line: Some(line), what: what.to_string() }
    }
}

/// The cosignatures of a witness, all of which are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessVerification {
    /// The public key of the witness.
    pub key: WitnessKey,
    /// The number of checkpoints that it has cosigned.
    pub checkpoints: u64,
    /// The number of lines in the last of them.
    pub lines: u64,
    /// The time of that cosignature, in seconds since 1970.
    pub at: u64,
}
