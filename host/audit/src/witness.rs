//! A witness elsewhere: it gets checkpoints with a proof that each continues those before it, and cosigns them (C2SP
//! tlog-witness). Nobody who has the private key of the log can make it forget a line.

pub(crate) mod growth;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint_file::append_to;
use crate::checkpoint_place::{CheckpointNetwork, CheckpointText, WitnessAnswer, WitnessPlace};
use crate::cosignature::WitnessKey;
use crate::hex;
use crate::note::Checkpoint;
use crate::segment;
use crate::signed_file::last_size;
use growth::{GrowthError, GrowthReader};

/// The error if a witness does not cosign a checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessError {
    /// There is no answer, or the cosignature cannot be kept.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nothing can be proven.
    #[error(transparent)]
    Growth(#[from] GrowthError),
    /// It has cosigned more lines than there are.
    #[error(
        "it has cosigned {known} lines, and the log has {size}: the log was set back, or another one has its key"
    )]
    SetBack { known: u64, size: u64 },
    /// It has cosigned other lines.
    #[error(
        "it has cosigned {0} lines that are not those of the log: the log was changed, or another one has its key"
    )]
    Fork(u64),
    /// It knows another public key of the log.
    #[error("it does not accept the signature (403): give its operator the public key of the log")]
    Key,
    /// It does not know the log.
    #[error("it does not know the log (404): give its operator the public key of the log")]
    Origin,
    /// It has answered with another status.
    #[error("it has answered with the status {0}")]
    Status(u16),
    /// It has not cosigned.
    #[error("its answer has no cosignature by its key")]
    Unsigned,
}

/// The conversation with a witness.
pub(crate) struct WitnessConversation {
    place: WitnessPlace,
    network: Arc<dyn CheckpointNetwork>,
    directory: PathBuf,
    /// The number of lines that the witness has cosigned, as far as it is known.
    cosigned: u64,
    reader: GrowthReader,
}

impl WitnessConversation {
    pub(crate) fn begin(
        place: WitnessPlace,
        network: Arc<dyn CheckpointNetwork>,
        directory: PathBuf,
    ) -> Self {
        let cosigned = last_cosigned(&directory, &place.key);
        Self { place, network, directory, cosigned, reader: GrowthReader::default() }
    }

    /// Lets the witness cosign a checkpoint, and keeps the cosigned one.
    pub(crate) fn submit(&mut self, text: &CheckpointText) -> Result<(), WitnessError> {
        let note = text.text.strip_suffix('\n').unwrap_or_default();
        let checkpoint = Checkpoint::peek(note).ok_or(GrowthError::Altered)?;
        // A witness that has more tells it if it is asked for the first lines.
        let old = if self.cosigned > checkpoint.size { 0 } else { self.cosigned };
        let mut answer = self.ask(old, note, &checkpoint)?;
        if answer.status == 409 {
            let known = answer.body.trim().parse().map_err(|_| WitnessError::Status(409))?;
            if known > checkpoint.size {
                return Err(WitnessError::SetBack { known, size: checkpoint.size });
            }
            if known == old {
                return Err(WitnessError::Fork(known));
            }
            self.cosigned = known;
            answer = self.ask(known, note, &checkpoint)?;
        }
        match answer.status {
            200 => self.keep(note, &answer.body, text.segment, checkpoint.size),
            403 => Err(WitnessError::Key),
            404 => Err(WitnessError::Origin),
            // After the proof from the lines that it knows, it refuses these lines.
            409 | 422 => Err(WitnessError::Fork(self.cosigned)),
            status => Err(WitnessError::Status(status)),
        }
    }

    fn ask(&mut self, old: u64, note: &str, checkpoint: &Checkpoint) -> Result<WitnessAnswer, WitnessError> {
        let proof = self.reader.proof(&self.directory, old, checkpoint)?;
        let hashes: String = proof.iter().map(|hash| format!("{}\n", STANDARD.encode(hash))).collect();
        Ok(self.network.ask_witness(&self.place.url, format!("old {old}\n{hashes}\n{note}"))?)
    }

    /// Keeps the checkpoint with the cosignature in `lines`, if that is good.
    fn keep(&mut self, note: &str, lines: &str, segment: u64, size: u64) -> Result<(), WitnessError> {
        let cosigned = |line: &str| format!("{note}{line}\n");
        let is_good = |note: &String| matches!(self.place.key.cosigned_at(note), Ok(Some(_)));
        let cosigned = lines.lines().map(cosigned).find(is_good).ok_or(WitnessError::Unsigned)?;
        let path = self.directory.join(segment::cosigned_name(segment, &hex::text(&self.place.key.id())));
        append_to(&path, &format!("{cosigned}\n"))?;
        self.cosigned = size;
        Ok(())
    }
}

/// The number of lines in the last checkpoint that is kept with a cosignature of this witness. It is only a guess where
/// to begin: the witness knows.
fn last_cosigned(directory: &Path, key: &WitnessKey) -> u64 {
    let end = segment::cosigned_name(0, &hex::text(&key.id())).split_off(20);
    let files = segment::cosigned_files(directory).unwrap_or_default();
    let own = files.iter().rev().find(|path| path.to_string_lossy().ends_with(&end));
    own.and_then(|path| last_size(path)).unwrap_or_default()
}
