//! A message of an upstream, which is read at most once: the parts that its check finds are those that the filter uses.

use bytes::Bytes;

use crate::listing::parts::MessageParts;
pub use crate::listing::parts::UnreadableMessage;

/// A message of an upstream, with its parts if it has been read.
#[derive(Debug)]
pub struct AnswerMessage {
    text: Bytes,
    parts: Option<Box<MessageParts>>,
}

impl AnswerMessage {
    /// Reads a message that needs a filter.
    ///
    /// # Errors
    /// If it is not a JSON-RPC message without duplicate keys, or other readers may find other lists in it.
    pub fn read(text: Bytes) -> Result<Self, UnreadableMessage> {
        let parts = Box::new(MessageParts::read(&text)?);
        Ok(Self { text, parts: Some(parts) })
    }

    /// The text of the member `id`, if the message has been read.
    pub fn id(&self) -> Option<&str> {
        let place = self.parts.as_ref()?.id.clone()?;
        std::str::from_utf8(self.text.get(place)?).ok()
    }

    /// The text of the member `error`, if the message has been read.
    pub fn error(&self) -> Option<&str> {
        let place = self.parts.as_ref()?.error.clone()?;
        std::str::from_utf8(self.text.get(place)?).ok()
    }

    /// True if the message has been read, and has a method.
    pub fn has_method(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.has_method)
    }

    /// True if the message has been read, and has a result.
    pub fn has_result(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.has_result)
    }

    /// The text.
    pub fn into_text(self) -> Bytes {
        self.text
    }

    pub(crate) fn into_parts(self) -> (Bytes, Option<Box<MessageParts>>) {
        (self.text, self.parts)
    }
}

impl AsRef<[u8]> for AnswerMessage {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl From<Bytes> for AnswerMessage {
    /// A message that has not been read.
    fn from(text: Bytes) -> Self {
        Self { text, parts: None }
    }
}
