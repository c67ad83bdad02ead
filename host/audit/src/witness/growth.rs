//! Reads the lines of a log that a witness has not seen, to prove that they continue those that it has.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;

use crate::note::Checkpoint;
use crate::segment::{self, Segment, SegmentHeader, SegmentLines};
use crate::tree::consistency::ConsistencyCollector;
use crate::tree::{Frontier, Hash, marked_leaf_hash};

/// The error if nothing can be proven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrowthError {
    /// The first of the lines to read are no longer there.
    #[error("the lines after the {0} that it has cosigned are missing")]
    Missing(u64),
    /// The lines on the disk are others.
    #[error("the lines on the disk are not those of the checkpoint; `witgate audit verify` tells more")]
    Altered,
    /// A file cannot be read.
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A reader of new lines. It remembers its place and what it has collected, so that no line is read twice, also if the
/// witness has not cosigned the last proof.
#[derive(Debug, Default)]
pub(crate) struct GrowthReader {
    last: Option<LogGrowth>,
}

/// The place after a line.
#[derive(Debug)]
struct ReadPlace {
    /// The number of the first line of its segment.
    segment: u64,
    /// The place in the file.
    offset: u64,
    /// The tree up to there.
    tree: Frontier,
}

impl GrowthReader {
    /// The proof that the first `old` lines are the beginning of those of `checkpoint` (RFC 6962, section 2.1.2).
    pub(crate) fn proof(
        &mut self,
        directory: &Path,
        old: u64,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<Hash>, GrowthError> {
        if old == 0 {
            return Ok(Vec::new());
        }
        let segments = segment::list(directory)?;
        let last = self.last.take().and_then(|last| last.until(old, checkpoint.size, &segments));
        let anew = LogGrowth { old, size: checkpoint.size, ..LogGrowth::default() };
        let mut growth = last.unwrap_or(anew);
        let first = growth.place.as_ref().map_or(old, |place| place.segment);
        let is_before = |segment: &Segment| segment.first <= first;
        let begin = segments.partition_point(is_before).checked_sub(1).ok_or(GrowthError::Missing(old))?;
        for segment in segments.iter().skip(begin) {
            if !growth.is_complete() {
                growth.read(segment)?;
            }
        }
        let LogGrowth { place: Some(place), collector: Some(collector), .. } = &growth else {
            return Err(GrowthError::Missing(old));
        };
        if place.tree.size() != checkpoint.size || place.tree.root() != checkpoint.root {
            return Err(GrowthError::Altered);
        }
        let proof = collector.proof();
        self.last = Some(growth);
        Ok(proof)
    }
}

/// The lines of one proof.
#[derive(Debug, Default)]
struct LogGrowth {
    old: u64,
    size: u64,
    place: Option<ReadPlace>,
    collector: Option<ConsistencyCollector>,
}

impl LogGrowth {
    /// The same for another proof. None: it has to begin anew.
    fn until(self, old: u64, size: u64, segments: &[Segment]) -> Option<Self> {
        let place = self.place?;
        let continues = |segment: &Segment| segment.first == place.segment && !segment.is_compressed;
        if place.tree.size() > size || !segments.iter().any(continues) {
            return None;
        }
        let collector = self.collector.filter(|_| self.old == old);
        let is_within = collector.is_some() || place.tree.size() <= old;
        is_within.then_some(Self { old, size, place: Some(place), collector })
    }

    fn is_complete(&self) -> bool {
        self.collector.is_some() && self.place.as_ref().is_some_and(|place| place.tree.size() >= self.size)
    }

    /// Reads a segment from its beginning, or from the place that was reached before.
    fn read(&mut self, segment: &Segment) -> Result<(), GrowthError> {
        let continued = |place: &ReadPlace| place.segment == segment.first && !segment.is_compressed;
        let (mut lines, begin) = match self.place.take_if(|place| continued(place)) {
            Some(place) => {
                let mut file = File::open(&segment.path)?;
                file.seek(SeekFrom::Start(place.offset))?;
                let begin = place.offset;
                self.reach(place);
                (SegmentLines::new(Box::new(file)), begin)
            }
            None => (segment.lines()?, 0),
        };
        while !self.is_complete()
            && let Some(line) = lines.next()?.filter(|line| line.is_whole)
        {
            let tree = match self.place.take().filter(|place| place.segment == segment.first) {
                Some(place) => place.tree,
                None => SegmentHeader::state_before(line.bytes()).ok_or(GrowthError::Altered)?.tree,
            };
            let length = u64::try_from(line.marked().len()).unwrap_or(u64::MAX);
            let (offset, leaf) = (begin + line.offset + length, marked_leaf_hash(line.marked()));
            self.take(ReadPlace { segment: segment.first, offset, tree }, leaf);
        }
        Ok(())
    }

    fn take(&mut self, mut place: ReadPlace, leaf: Hash) {
        self.begin_at_old(&place.tree);
        place.tree.push(leaf);
        if let Some(collector) = &mut self.collector {
            collector.push(leaf);
        }
        self.reach(place);
    }

    fn reach(&mut self, place: ReadPlace) {
        self.begin_at_old(&place.tree);
        self.place = Some(place);
    }

    fn begin_at_old(&mut self, tree: &Frontier) {
        if tree.size() == self.old && self.collector.is_none() {
            self.collector = Some(ConsistencyCollector::new(tree));
        }
    }
}
