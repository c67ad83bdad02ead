//! Files of signed checkpoints. Their reader keeps one checkpoint in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::note::MARK;

/// The size of the largest part of a checkpoint. Those of Witgate, with the signatures of witnesses, are much shorter.
const LONGEST_PART: usize = 16 << 10;

/// A part of a file of checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointPart {
    /// A complete checkpoint: a body, an empty line, and its signatures.
    Note(String),
    /// Something else between checkpoints, such as one that a kill has left incomplete.
    Gap(String),
}

/// A reader of the parts of a file. Each checkpoint is followed by an empty line.
pub(crate) struct CheckpointReader<R> {
    from: BufReader<R>,
    /// The lines since the last empty one.
    block: Vec<u8>,
    /// A complete block that is not a signature.
    body: Option<Vec<u8>>,
    /// The place of the next line.
    at: u64,
    /// The place after the last complete checkpoint and its empty line.
    end: u64,
}

impl<R: Read> CheckpointReader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from: BufReader::new(from), block: Vec::new(), body: None, at: 0, end: 0 }
    }

    /// The place after the last complete checkpoint. After it, only the end may be incomplete.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The next part. None: only an incomplete checkpoint follows, or nothing.
    pub(crate) fn next(&mut self) -> io::Result<Option<CheckpointPart>> {
        loop {
            let begin = self.block.len();
            let room = u64::try_from(LONGEST_PART.saturating_sub(begin)).unwrap_or_default();
            let read = (&mut self.from).take(room).read_until(b'\n', &mut self.block)?;
            self.at += u64::try_from(read).unwrap_or_default();
            if read == 0 && room == 0 {
                return Ok(Some(CheckpointPart::Gap(text(std::mem::take(&mut self.block)))));
            }
            let line = self.block.get(begin..).unwrap_or_default();
            if read == 0 || (!line.ends_with(b"\n") && self.block.len() < LONGEST_PART) {
                return Ok(None);
            }
            if line != b"\n" {
                continue;
            }
            self.block.truncate(begin);
            if let Some(part) = self.end_block() {
                return Ok(Some(part));
            }
        }
    }

    /// The part that ends with an empty line after the current block.
    fn end_block(&mut self) -> Option<CheckpointPart> {
        let block = std::mem::take(&mut self.block);
        if block.is_empty() {
            // Further empty lines end what a kill has left.
            return Some(CheckpointPart::Gap(String::new()));
        }
        let is_signature = block.starts_with(MARK.as_bytes());
        match self.body.take() {
            Some(mut body) if is_signature => {
                self.end = self.at;
                body.push(b'\n');
                body.extend(block);
                Some(CheckpointPart::Note(text(body)))
            }
            // Two bodies in a row, or signatures without a body: something in between is incomplete.
            Some(body) => {
                self.body = Some(block);
                Some(CheckpointPart::Gap(text(body)))
            }
            None if is_signature => Some(CheckpointPart::Gap(text(block))),
            None => {
                self.body = Some(block);
                None
            }
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Appends a checkpoint to a file, and makes it durable. After an error, nothing of it is left, if the file permits
/// that. What a kill has left before it is ended by an empty line.
pub(crate) fn append_to(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    let end = if is_complete(&file, length)? { "" } else { "\n\n" };
    let written = file.write_all(format!("{end}{text}").as_bytes()).and_then(|()| file.sync_data());
    if written.is_err() {
        drop(file.set_len(length));
    }
    written
}

/// True if a file is empty, or ends with an empty line. A pipe has no end.
fn is_complete(file: &File, length: u64) -> io::Result<bool> {
    let Some(at) = length.checked_sub(2) else { return Ok(length == 0) };
    let mut end = [0; 2];
    file.read_exact_at(&mut end, at)?;
    Ok(end == *b"\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complete checkpoints, the place after them, and true if there is something between them.
    fn parts(text: &[u8]) -> (Vec<String>, usize, bool) {
        let (mut reader, mut notes, mut has_gaps) = (CheckpointReader::new(text), Vec::new(), false);
        while let Some(part) = reader.next().unwrap() {
            match part {
                CheckpointPart::Note(note) => notes.push(note),
                CheckpointPart::Gap(_) => has_gaps = true,
            }
        }
        (notes, usize::try_from(reader.end()).unwrap(), has_gaps)
    }

    #[test]
    fn an_incomplete_checkpoint_is_left_out() {
        let note = "log\n1\nroot\n\n\u{2014} log sig\n".to_owned();
        let whole = format!("{note}\n{note}\n");
        assert_eq!(parts(whole.as_bytes()), (vec![note.clone(), note.clone()], whole.len(), false));
        for end in note.len() + 1..whole.len() {
            let torn = whole.as_bytes().get(..end).unwrap();
            assert_eq!(parts(torn), (vec![note.clone()], note.len() + 1, false), "{end}");
            // The next process may only be able to append.
            let continued = [torn, b"\n\n", note.as_bytes(), b"\n"].concat();
            let (notes, end, _) = parts(&continued);
            assert_eq!((notes.last(), end), (Some(&note), continued.len()), "{notes:?}");
        }
    }

    #[test]
    fn a_part_without_an_end_is_not_kept() {
        let long = vec![b'x'; 3 * LONGEST_PART];
        let (notes, end, has_gaps) = parts(&long);
        assert_eq!((notes.len(), end, has_gaps), (0, 0, true));
        let note = "log\n1\nroot\n\n\u{2014} log sig\n";
        let text = [long.as_slice(), b"\n\n", note.as_bytes(), b"\n"].concat();
        assert_eq!(parts(&text).0, [note]);
    }
}
