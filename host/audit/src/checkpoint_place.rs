//! The places elsewhere that get checkpoints, and what they get.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cosignature::WitnessKey;

/// A place elsewhere that gets checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointPlace {
    /// A file that gets every checkpoint.
    File(PathBuf),
    /// The log of Witgate: one each minute, and those that end something.
    Log,
    /// A witness, which cosigns one every ten seconds, and those that end something.
    Witness(WitnessPlace),
    /// A collector of OpenTelemetry at this URL, which gets as many.
    Collector(String),
}

impl fmt::Display for CheckpointPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Log => f.write_str("log"),
            Self::Witness(witness) => witness.fmt(f),
            Self::Collector(_) => f.write_str("otlp"),
        }
    }
}

/// The network for checkpoints. Its functions block, for a limited time.
pub trait CheckpointNetwork: fmt::Debug + Send + Sync {
    /// Sends a request to a witness.
    ///
    /// # Errors
    /// If there is no answer, or too long a one.
    fn ask_witness(&self, url: &str, request: String) -> io::Result<WitnessAnswer>;

    /// Sends a checkpoint to a collector.
    ///
    /// # Errors
    /// If it is not taken.
    fn tell_collector(&self, url: &str, checkpoint: &str) -> io::Result<()>;
}

/// A checkpoint for the places elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointText {
    /// The signed note, and an empty line.
    pub(crate) text: Arc<str>,
    /// The number of the first line of the segment to which it belongs.
    pub(crate) segment: u64,
    /// True at the end of a segment, at a reload and at a stop.
    pub(crate) is_end: bool,
}

/// A witness, and its public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessPlace {
    /// The URL that takes checkpoints: the submission prefix of the witness, with `/add-checkpoint`.
    pub url: String,
    /// The public key of its cosignatures.
    pub key: WitnessKey,
}

impl fmt::Display for WitnessPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the witness {}", self.key.name())
    }
}

/// The answer of a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}
