//! The files of a log: segments, each with its checkpoints.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use witgate_base::clock;

use crate::hex;
use crate::line::{ChainFields, ChainState};
use crate::tree::{Frontier, LEAF_MARK};

/// The size of the largest line that is read. Witgate's own lines are much shorter.
const LONGEST_LINE: usize = 16 << 20;

/// The number of bytes that are read at once.
const BLOCK: usize = 256 << 10;

/// A segment of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number of its first line.
    pub(crate) first: u64,
    /// The file.
    pub(crate) path: PathBuf,
    /// True if the file is compressed.
    pub(crate) is_compressed: bool,
}

impl Segment {
    /// A new segment in `directory`.
    pub(crate) fn new(directory: &Path, first: u64) -> Self {
        Self { first, path: directory.join(format!("{first:020}.jsonl")), is_compressed: false }
    }

    /// The file of its checkpoints.
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path.with_file_name(format!("{:020}.checkpoints", self.first))
    }

    /// The name of the file, for messages.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A reader of its lines.
    pub(crate) fn lines(&self) -> io::Result<SegmentLines> {
        let packed = |file| SegmentLines::new(Box::new(MultiGzDecoder::new(file)));
        match File::open(&self.path) {
            Ok(file) if self.is_compressed => Ok(packed(file)),
            Ok(file) => Ok(SegmentLines::new(Box::new(file))),
            // It has been compressed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_compressed => {
                File::open(self.path.with_extension("jsonl.gz")).map(packed)
            }
            Err(error) => Err(error),
        }
    }
}

/// The segments in a directory, in the order of their lines.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut segments: Vec<Segment> = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let plain = name.strip_suffix(".jsonl");
        let packed = name.strip_suffix(".jsonl.gz");
        let Some(first) = plain.or(packed).and_then(number) else { continue };
        segments.push(Segment { first, path: path.clone(), is_compressed: plain.is_none() });
    }
    // A process that is killed may leave both files of a segment. The plain one is then the complete one.
    segments.sort_by_key(|segment| (segment.first, segment.is_compressed));
    segments.dedup_by_key(|segment| segment.first);
    Ok(segments)
}

/// The files with checkpoints in a directory, also those without their segment.
pub(crate) fn checkpoint_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_suffix(".checkpoints").and_then(number).is_some() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The name of the file with the checkpoints of a segment that a witness has cosigned. `id` is that of its key.
pub(crate) fn cosigned_name(first: u64, id: &str) -> String {
    format!("{first:020}.{id}.cosigned")
}

/// The files with cosigned checkpoints in a directory, in the order of their segments.
pub(crate) fn cosigned_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let parts = name.strip_suffix(".cosigned").and_then(|name| name.split_once('.'));
        if parts.is_some_and(|(first, _)| number(first).is_some()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The number in the name of a file.
fn number(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

/// The first entry of each segment. It makes the segment independent of those before it, which retention may remove.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SegmentHeader {
    pub(crate) kind: String,
    pub(crate) time: String,
    /// The version of the format.
    pub(crate) format: u32,
    /// The public key of the log at that time.
    pub(crate) key: String,
    /// The hashes of the complete subtrees over all lines before this one, the largest first.
    pub(crate) tree: Vec<String>,
}

/// The kind of [`SegmentHeader`].
pub(crate) const SEGMENT_KIND: &str = "segment";

/// The version of the format.
pub(crate) const FORMAT: u32 = 1;

impl SegmentHeader {
    pub(crate) fn new(chain: &ChainState, key: String, time: String) -> Self {
        let tree = chain.tree.nodes().iter().map(|node| hex::text(node)).collect();
        Self { kind: SEGMENT_KIND.to_owned(), time, format: FORMAT, key, tree }
    }

    /// The age of a segment, by its first line.
    pub(crate) fn age(segment: &Segment) -> Option<Duration> {
        let mut lines = segment.lines().ok()?;
        let header: Self = serde_json::from_slice(lines.next().ok()??.bytes()).ok()?;
        let began = humantime::parse_rfc3339(&header.time).ok()?;
        clock::system_time().duration_since(began).ok()
    }

    /// The state of the chain before the first line of a segment, as that line has it.
    pub(crate) fn state_before(line: &[u8]) -> Option<ChainState> {
        let fields = ChainFields::of(line)?;
        let header: Self = serde_json::from_slice(line).ok()?;
        let nodes: Option<Vec<_>> = header.tree.iter().map(|node| hex::hash(node.as_bytes())).collect();
        let tree = Frontier::new(fields.number, nodes?)?;
        let is_header = header.kind == SEGMENT_KIND && header.format == FORMAT;
        is_header.then_some(ChainState { prev: fields.prev_hash()?, tree })
    }
}

/// A line of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLine<'a> {
    marked: &'a [u8],
    /// False if the line end is missing.
    pub(crate) is_whole: bool,
    /// The place of the line in the file, in bytes.
    pub(crate) offset: u64,
}

impl<'a> ReadLine<'a> {
    /// The line without its line end.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.marked.get(1..).unwrap_or_default()
    }

    /// The line, with the mark of a leaf before it.
    pub(crate) fn marked(&self) -> &'a [u8] {
        self.marked
    }
}

/// A reader of lines. It replaces the line end before each line by the mark of a leaf, so that the line can be hashed
/// in place.
pub(crate) struct SegmentLines {
    from: Box<dyn Read>,
    buffer: Vec<u8>,
    /// The place of the mark of the next line in the buffer.
    begin: usize,
    /// The end of what is read.
    end: usize,
    /// The place of the next line in the file.
    offset: u64,
    is_at_end: bool,
}

impl SegmentLines {
    pub(crate) fn new(from: Box<dyn Read>) -> Self {
        let mut buffer = vec![0; BLOCK];
        buffer.iter_mut().take(1).for_each(|byte| *byte = LEAF_MARK);
        Self { from, buffer, begin: 0, end: 1, offset: 0, is_at_end: false }
    }

    /// The next line, or the incomplete one at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<ReadLine<'_>>> {
        let mut looked_at = self.begin + 1;
        let end = loop {
            let unread = self.buffer.get(looked_at..self.end).unwrap_or_default();
            if let Some(place) = memchr::memchr(b'\n', unread) {
                break Some(looked_at + place);
            }
            if self.is_at_end {
                break None;
            }
            let looked = self.end - self.begin;
            self.fill()?;
            looked_at = self.begin + looked;
        };
        let line = self.begin..end.unwrap_or(self.end);
        let offset = self.offset;
        self.offset += u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.begin = line.end;
        if end.is_none() && line.len() <= 1 {
            return Ok(None);
        }
        // The line end becomes the mark of the line after it.
        if let (Some(mark), Some(_)) = (self.buffer.get_mut(line.end), end) {
            *mark = LEAF_MARK;
        }
        let marked = self.buffer.get(line).unwrap_or_default();
        Ok(Some(ReadLine { marked, is_whole: end.is_some(), offset }))
    }

    /// Reads more, after it has moved the incomplete line to the beginning.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        if self.end >= LONGEST_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than any entry"));
        }
        if self.buffer.len() < self.end + BLOCK / 2 {
            self.buffer.resize(self.buffer.len() + BLOCK, 0);
        }
        let read = self.from.read(self.buffer.get_mut(self.end..).unwrap_or_default());
        match read {
            Ok(0) => self.is_at_end = true,
            Ok(read) => self.end += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn lines_are_read_whole_with_their_places() {
        let long = "x".repeat(3 * BLOCK);
        let text = format!("one\n\n{long}\ntorn");
        let mut lines = SegmentLines::new(Box::new(Cursor::new(text.clone().into_bytes())));
        let mut read = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            assert_eq!(line.marked()[0], LEAF_MARK);
            let offset = usize::try_from(line.offset).unwrap();
            assert!(text.as_bytes()[offset..].starts_with(line.bytes()));
            read.push((line.bytes().to_vec(), line.is_whole));
        }
        let expected = [("one", true), ("", true), (&long, true), ("torn", false)];
        assert_eq!(read, expected.map(|(line, is_whole)| (line.as_bytes().to_vec(), is_whole)));
        assert!(SegmentLines::new(Box::new(io::empty())).next().unwrap().is_none());
    }
}
