//! Values in the wire format of D-Bus (dbus.freedesktop.org/doc/dbus-specification.html), as far as a keyring needs
//! them.

/// A message that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not understood")]
pub(super) struct MalformedMessage;

/// Writes values, in little endian.
#[derive(Debug, Default)]
pub(super) struct BodyWriter(Vec<u8>);

impl BodyWriter {
    /// The values so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Fills up to the next multiple of `size`.
    pub(super) fn align(&mut self, size: usize) {
        self.0.resize(self.0.len().next_multiple_of(size), 0);
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A string or the path of an object.
    pub(super) fn text(&mut self, text: &str) {
        self.number(length(text.len()));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    pub(super) fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(signature.as_bytes());
        self.0.push(0);
    }

    /// An array of pairs, each of which begins at a multiple of eight.
    pub(super) fn dictionary(&mut self, pairs: &[(&str, &str)]) {
        self.array(|array| {
            for (name, value) in pairs {
                array.align(8);
                array.text(name);
                array.text(value);
            }
        });
    }

    /// An array of structures.
    pub(super) fn array(&mut self, write: impl FnOnce(&mut Self)) {
        self.number(0);
        let place = self.0.len() - 4;
        self.align(8);
        let begin = self.0.len();
        write(self);
        let size = length(self.0.len() - begin);
        if let Some(place) = self.0.get_mut(place..place + 4) {
            place.copy_from_slice(&size.to_le_bytes());
        }
    }
}

/// A length, which the limits of a configuration keep far below the largest number.
fn length(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Reads values, in either order of bytes.
#[derive(Debug)]
pub(super) struct BodyReader<'m> {
    message: &'m [u8],
    place: usize,
    is_big_endian: bool,
}

impl<'m> BodyReader<'m> {
    /// Reads an answer, or the header of a message.
    pub(super) fn new(answer: &'m MessageBody) -> Self {
        Self::of(&answer.bytes, answer.is_big_endian)
    }

    pub(super) fn of(message: &'m [u8], is_big_endian: bool) -> Self {
        Self { message, place: 0, is_big_endian }
    }

    /// True if everything is read.
    pub(super) fn is_at_end(&self) -> bool {
        self.place >= self.message.len()
    }

    fn take(&mut self, size: usize) -> Result<&'m [u8], MalformedMessage> {
        let end = self.place.checked_add(size).ok_or(MalformedMessage)?;
        let taken = self.message.get(self.place..end).ok_or(MalformedMessage)?;
        self.place = end;
        Ok(taken)
    }

    fn align(&mut self, size: usize) {
        self.place = self.place.next_multiple_of(size);
    }

    /// The beginning of a structure.
    pub(super) fn structure(&mut self) -> Result<(), MalformedMessage> {
        self.align(8);
        (self.place <= self.message.len()).then_some(()).ok_or(MalformedMessage)
    }

    pub(super) fn byte(&mut self) -> Result<u8, MalformedMessage> {
        self.take(1)?.first().copied().ok_or(MalformedMessage)
    }

    pub(super) fn number(&mut self) -> Result<u32, MalformedMessage> {
        self.align(4);
        let bytes = *self.take(4)?.first_chunk().ok_or(MalformedMessage)?;
        Ok(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn size(&mut self) -> Result<usize, MalformedMessage> {
        self.number()?.try_into().map_err(|_| MalformedMessage)
    }

    /// A string or the path of an object.
    pub(super) fn text(&mut self) -> Result<&'m str, MalformedMessage> {
        let size = self.size()?;
        self.ended(size)
    }

    pub(super) fn signature(&mut self) -> Result<&'m str, MalformedMessage> {
        let size = usize::from(self.byte()?);
        self.ended(size)
    }

    /// A text of this size, with the zero after it.
    fn ended(&mut self, size: usize) -> Result<&'m str, MalformedMessage> {
        let text = self.take(size)?;
        match self.byte()? {
            0 => std::str::from_utf8(text).map_err(|_| MalformedMessage),
            _ => Err(MalformedMessage),
        }
    }

    /// An array of bytes.
    pub(super) fn bytes(&mut self) -> Result<&'m [u8], MalformedMessage> {
        let size = self.size()?;
        self.take(size)
    }

    /// An array of strings or paths.
    pub(super) fn texts(&mut self) -> Result<Vec<&'m str>, MalformedMessage> {
        let size = self.size()?;
        let end = self.place.checked_add(size).filter(|end| *end <= self.message.len());
        let (end, mut texts) = (end.ok_or(MalformedMessage)?, Vec::new());
        while self.place < end {
            texts.push(self.text()?);
        }
        (self.place == end).then_some(texts).ok_or(MalformedMessage)
    }
}

/// The body of a message.
pub(super) struct MessageBody {
    pub(super) bytes: zeroize::Zeroizing<Vec<u8>>,
    pub(super) is_big_endian: bool,
}
