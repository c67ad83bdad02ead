//! The check of a whole log: its chain, its tree and its checkpoints.

mod known_checkpoints;
mod verdict;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cosignature::WitnessKey;
use crate::line::{ChainFault, ChainFields, ChainState};
use crate::note::{Checkpoint, CheckpointKey};
use crate::segment::{self, Segment, SegmentHeader};
use crate::tree::marked_leaf_hash;
use known_checkpoints::KnownCheckpoints;

pub use verdict::{LogVerdict, WitnessVerification};

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerification {
    /// The state of the log.
    pub verdict: LogVerdict,
    /// The number of the first line. Retention has removed those before it.
    pub first: u64,
    /// The number of lines that were checked.
    pub lines: u64,
    /// The number of segments.
    pub segments: u64,
    /// The number of checkpoints that were checked.
    pub checkpoints: u64,
    /// The number of lines after the last checkpoint: nothing proves that they are complete.
    pub unsigned: u64,
    /// The length of an incomplete line at the end, in bytes: it is being written, or a kill has left it.
    pub incomplete: u64,
    /// The cosignatures of each witness.
    pub witnesses: Vec<WitnessVerification>,
}

/// Checks the log in `directory` with the public keys of its signers. `known` are files with checkpoints that are kept
/// elsewhere, so that a log whose end is missing is noticed.
pub fn verify(directory: &Path, keys: &[CheckpointKey], known: &[PathBuf]) -> LogVerification {
    verify_cosigned(directory, keys, known, &[])
}

/// As [`verify`], also with the cosignatures of `witnesses`.
pub fn verify_cosigned(
    directory: &Path,
    keys: &[CheckpointKey],
    known: &[PathBuf],
    witnesses: &[WitnessKey],
) -> LogVerification {
    let unseen = |key: &WitnessKey| WitnessVerification { key: key.clone(), checkpoints: 0, lines: 0, at: 0 };
    let witnesses = witnesses.iter().map(unseen).collect();
    LogCheck { witnesses, ..LogCheck::default() }.verification(directory, keys, known)
}

/// Checks the last segment of the log in `directory` alone, as [`verify`] checks all of them. The time for it does not
/// depend on the age of the log.
pub fn verify_last_segment(directory: &Path, keys: &[CheckpointKey], known: &[PathBuf]) -> LogVerification {
    LogCheck { is_of_last_segment: true, ..LogCheck::default() }.verification(directory, keys, known)
}

/// The state of a check.
#[derive(Default)]
struct LogCheck {
    /// True if only the last segment is read.
    is_of_last_segment: bool,
    chain: ChainState,
    first: u64,
    segments: u64,
    checkpoints: u64,
    /// The size of the log at the last checkpoint that fits.
    signed: u64,
    incomplete: u64,
    /// The largest number below which entries say that lines are removed.
    claimed_below: u64,
    /// The same, of entries that a checkpoint signs.
    removed_below: u64,
    witnesses: Vec<WitnessVerification>,
}

/// The member of a retention's entry.
#[derive(Deserialize)]
struct RetentionEntry {
    below: u64,
}

impl LogCheck {
    fn verification(
        mut self,
        directory: &Path,
        keys: &[CheckpointKey],
        known: &[PathBuf],
    ) -> LogVerification {
        let verdict = self.run(directory, keys, known).err().unwrap_or(LogVerdict::Intact);
        let signed = self.signed.max(self.first).min(self.chain.next());
        LogVerification {
            verdict,
            first: self.first,
            lines: self.chain.next().saturating_sub(self.first),
            segments: self.segments,
            checkpoints: self.checkpoints,
            unsigned: self.chain.next() - signed,
            incomplete: self.incomplete,
            witnesses: self.witnesses,
        }
    }

    fn run(&mut self, directory: &Path, keys: &[CheckpointKey], known: &[PathBuf]) -> Result<(), LogVerdict> {
        // The checkpoints first: in a log that is being written, each is about lines that are there already.
        let own = segment::checkpoint_files(directory);
        let mut own = own.map_err(|error| LogVerdict::unreadable(directory, &error))?;
        let cosigned = segment::cosigned_files(directory);
        let mut cosigned = cosigned.map_err(|error| LogVerdict::unreadable(directory, &error))?;
        if self.is_of_last_segment {
            // The last checkpoint of the segment before it is about the beginning of the last one.
            own.drain(..own.len().saturating_sub(2));
            cosigned.clear();
        }
        let witnesses = std::mem::take(&mut self.witnesses);
        let mut signed = KnownCheckpoints::new(&own, &cosigned, known, (keys, witnesses))?;
        let compared = self.compare_with(directory, &mut signed);
        self.checkpoints = signed.count();
        self.witnesses = signed.into_witnesses();
        compared
    }

    fn compare_with(
        &mut self,
        directory: &Path,
        signed: &mut KnownCheckpoints<'_>,
    ) -> Result<(), LogVerdict> {
        let mut segments =
            segment::list(directory).map_err(|error| LogVerdict::unreadable(directory, &error))?;
        if self.is_of_last_segment {
            segments.drain(..segments.len().saturating_sub(1));
        }
        if segments.is_empty() && signed.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, "there is no audit");
            return Err(LogVerdict::unreadable(directory, &none));
        }
        self.first = segments.first().map(|segment| segment.first).unwrap_or_default();
        while let Some(before) = self.first.checked_sub(1)
            && signed.next_up_to(before)?.is_some()
        {}
        for (place, segment) in (1..).zip(&segments) {
            self.segments += 1;
            self.segment(segment, place == segments.len(), signed)?;
        }
        self.check_end(signed)?;
        // A complete segment ends with a checkpoint.
        if let Some(last) = segments.last().filter(|last| self.signed < last.first) {
            return Err(LogVerdict::altered(
                last,
                self.signed,
                "no checkpoint signs the lines before this segment",
            ));
        }
        match segments.first() {
            Some(first) if self.removed_below < self.first && !self.is_of_last_segment => {
                let what = "the lines before it are missing, and no signed entry says that they were too old";
                Err(LogVerdict::altered(first, self.first, what))
            }
            _ => Ok(()),
        }
    }

    /// Checks that no checkpoint has more lines than there are.
    fn check_end(&self, signed: &mut KnownCheckpoints<'_>) -> Result<(), LogVerdict> {
        let (mut longest, found) = (None, self.chain.next());
        while let Some(known) = signed.next_up_to(u64::MAX)? {
            longest = Some(known).filter(|known| known.checkpoint.size > found);
        }
        match longest {
            Some(missing) => {
                Err(LogVerdict::Truncated { file: missing.file, signed: missing.checkpoint.size, found })
            }
            None => Ok(()),
        }
    }

    fn segment(
        &mut self,
        segment: &Segment,
        is_last: bool,
        signed: &mut KnownCheckpoints<'_>,
    ) -> Result<(), LogVerdict> {
        let unreadable = |error: io::Error| LogVerdict::unreadable(&segment.path, &error);
        let mut lines = segment.lines().map_err(unreadable)?;
        let mut is_first = true;
        while let Some(line) = lines.next().map_err(unreadable)? {
            if !line.is_whole {
                if is_last && !segment.is_compressed {
                    self.incomplete = u64::try_from(line.bytes().len()).unwrap_or(u64::MAX);
                    return Ok(());
                }
                return Err(LogVerdict::altered(segment, self.chain.next(), "its end is missing"));
            }
            if std::mem::take(&mut is_first) {
                self.header(segment, line.bytes())?;
                self.compare_all(signed, segment)?;
            }
            if let Some(fault) = self.chain.fault_of(line.bytes()) {
                return Err(self.place_of(fault, segment));
            }
            self.note_retention(line.bytes());
            self.chain.advance(marked_leaf_hash(line.marked()));
            self.compare_all(signed, segment)?;
        }
        Ok(())
    }

    /// Compares the lines so far with the checkpoints of their number.
    fn compare_all(
        &mut self,
        signed: &mut KnownCheckpoints<'_>,
        segment: &Segment,
    ) -> Result<(), LogVerdict> {
        while let Some(known) = signed.next_up_to(self.chain.next())? {
            self.compare(&known.checkpoint, segment, &known.file)?;
        }
        Ok(())
    }

    /// Compares the first line of a segment with the lines before it.
    fn header(&mut self, segment: &Segment, line: &[u8]) -> Result<(), LogVerdict> {
        let Some(before) = SegmentHeader::state_before(line) else {
            return Err(LogVerdict::altered(segment, segment.first, "it is not the first line of a segment"));
        };
        let is_beginning = self.segments == 1;
        if is_beginning && segment.first > 0 && before.next() == segment.first {
            self.chain = before;
            return Ok(());
        }
        if segment.first > self.chain.next() {
            let what = format!("lines {} to {} are missing", self.chain.next(), segment.first - 1);
            return Err(LogVerdict::altered(segment, self.chain.next(), what));
        }
        if before != self.chain {
            let what =
                "it does not continue the lines before it: a segment is missing, or another one's copy";
            return Err(LogVerdict::altered(segment, segment.first, what));
        }
        Ok(())
    }

    fn place_of(&self, fault: ChainFault, segment: &Segment) -> LogVerdict {
        let next = self.chain.next();
        match fault {
            ChainFault::Hash => {
                let what = format!("its hash is not the one in line {next}");
                LogVerdict::altered(segment, next.saturating_sub(1), what)
            }
            fault => LogVerdict::altered(segment, next, fault),
        }
    }

    fn note_retention(&mut self, line: &[u8]) {
        let is_retention = ChainFields::of(line).is_some_and(|fields| fields.kind == b"retention");
        if is_retention && let Ok(entry) = serde_json::from_slice::<RetentionEntry>(line) {
            self.claimed_below = self.claimed_below.max(entry.below);
        }
    }

    fn compare(&mut self, checkpoint: &Checkpoint, segment: &Segment, file: &str) -> Result<(), LogVerdict> {
        // A checkpoint of no lines says nothing about lines.
        if checkpoint.size == self.chain.next() && checkpoint.root != self.chain.tree.root() {
            let what = format!(
                "lines {} to {} are not those of the checkpoint in {file}",
                self.signed.max(self.first),
                checkpoint.size.saturating_sub(1)
            );
            return Err(LogVerdict::Altered { file: segment.name(), line: None, what });
        }
        if checkpoint.size == self.chain.next() {
            self.removed_below = self.claimed_below;
        }
        self.signed = self.signed.max(checkpoint.size);
        Ok(())
    }
}
