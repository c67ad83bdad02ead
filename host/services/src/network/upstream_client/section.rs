//! A section of lines that an empty line ends: a head, or trailers.

use memchr::memchr_iter;

use super::fault::HttpAnswerFault;

/// The search for the end of a section that arrives in parts. Each byte is looked at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SectionSearch {
    /// The number of bytes that were searched.
    searched: usize,
}

impl SectionSearch {
    /// The length of the section at the beginning of `bytes`, with its empty line. None: its end has not arrived.
    ///
    /// # Errors
    /// If the section has more than `most` bytes, or a line that does not end with CR LF (RFC 9112, section 2.2).
    pub(super) fn end(&mut self, bytes: &[u8], most: usize) -> Result<Option<usize>, HttpAnswerFault> {
        let new = bytes.get(self.searched..).unwrap_or_default();
        for at in memchr_iter(b'\n', new) {
            let lines = bytes.get(..=self.searched + at).unwrap_or_default();
            if !lines.ends_with(b"\r\n") {
                return Err(HttpAnswerFault::LineEnd);
            }
            if lines.len() > most {
                return Err(HttpAnswerFault::Flood);
            }
            if lines.len() == 2 || lines.ends_with(b"\r\n\r\n") {
                return Ok(Some(lines.len()));
            }
        }
        self.searched = bytes.len();
        if self.searched >= most { Err(HttpAnswerFault::Flood) } else { Ok(None) }
    }
}
