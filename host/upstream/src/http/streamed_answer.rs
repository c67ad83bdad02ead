//! Checks a large JSON answer while its bytes are passed on: that it is a response, and to which request. Its id may
//! come last, so a fault is found before the last bytes are sent, but maybe not before the first. The body then ends
//! early; without its end it is not valid JSON.

use super::response::is_same;
use witgate_message::call::LONGEST_ID;

/// The longest key that is read, including escapes; those of JSON-RPC have at most seven letters.
const LONGEST_KEY: usize = 64;

/// The longest id that is read. Each of its bytes may be an escape of six bytes.
const LONGEST: usize = 6 * LONGEST_ID;

/// An answer that is being passed on.
#[derive(Debug)]
pub(super) struct StreamedAnswer {
    /// The id of the request.
    id: Box<str>,
    place: AnswerPosition,
    /// The number of open arrays and objects, including the message itself.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The text of the current key or value.
    text: Vec<u8>,
    key: Option<MemberName>,
    seen: SeenMembers,
}

/// A violation of JSON-RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerFault {
    /// It is not a response.
    #[error("the answer is not JSON-RPC")]
    Form,
    /// It has another id.
    #[error("the answer is to another request")]
    Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerPosition {
    /// Before the message.
    Before,
    /// Before a key of the message, or its end.
    Key,
    /// Between a key and its value.
    Colon,
    /// In a value, or before it.
    Value,
    /// After the message.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemberName {
    Id,
    Result,
    Error,
    Method,
}

/// The keys so far.
#[derive(Debug, Default)]
struct SeenMembers {
    id: Option<Id>,
    result: bool,
    error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    /// The id of the request.
    Same,
    /// `null`, which no caller's request has.
    Nobodys,
}

impl StreamedAnswer {
    /// The check of the answer to a request with `id`, as JSON text.
    pub(super) fn to(id: &str) -> Self {
        Self {
            id: id.into(),
            place: AnswerPosition::Before,
            depth: 0,
            in_string: false,
            is_escaped: false,
            text: Vec::new(),
            key: None,
            seen: SeenMembers::default(),
        }
    }

    /// Checks the next bytes.
    ///
    /// # Errors
    /// As soon as there is a fault, at the latest with the end of the message.
    pub(super) fn see(&mut self, bytes: &[u8]) -> Result<(), AnswerFault> {
        let mut bytes = bytes;
        while let Some((byte, rest)) = bytes.split_first() {
            // Most of a large answer is text at a deeper level.
            let in_text = self.in_string && self.depth > 1 && !self.is_escaped;
            let plain = if in_text { memchr::memchr2(b'"', b'\\', bytes) } else { Some(0) };
            match plain {
                None => return Ok(()),
                Some(0) => {
                    self.take(*byte)?;
                    bytes = rest;
                }
                Some(plain) => bytes = bytes.get(plain..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<(), AnswerFault> {
        if self.in_string {
            return self.within_string(byte);
        }
        match (self.depth, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => Ok(()),
            (0, b'{') if self.place == AnswerPosition::Before => {
                (self.depth, self.place) = (1, AnswerPosition::Key);
                Ok(())
            }
            (0, _) => Err(AnswerFault::Form),
            (1, _) => self.at_the_top(byte),
            (_, b'"') => {
                self.in_string = true;
                Ok(())
            }
            (_, b'{' | b'[') => {
                self.depth += 1;
                Ok(())
            }
            (_, b'}' | b']') => {
                self.depth -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Handles a byte between the tokens of the message itself, or one of a number or a word.
    fn at_the_top(&mut self, byte: u8) -> Result<(), AnswerFault> {
        match (self.place, byte) {
            (AnswerPosition::Key | AnswerPosition::Value, b'"') => {
                self.in_string = true;
                self.keep(byte);
                Ok(())
            }
            (AnswerPosition::Colon, b':') => {
                self.place = AnswerPosition::Value;
                Ok(())
            }
            (AnswerPosition::Value, b',') => {
                self.place = AnswerPosition::Key;
                self.value()
            }
            (AnswerPosition::Value, b'}') => {
                (self.depth, self.place) = (0, AnswerPosition::After);
                self.value()?;
                self.is_whole()
            }
            (AnswerPosition::Value, b'{' | b'[') => {
                self.depth += 1;
                self.keep(byte);
                Ok(())
            }
            (AnswerPosition::Value, _) => {
                self.keep(byte);
                Ok(())
            }
            _ => Err(AnswerFault::Form),
        }
    }

    fn within_string(&mut self, byte: u8) -> Result<(), AnswerFault> {
        if self.depth == 1 {
            self.keep(byte);
        }
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => {
                self.in_string = false;
                if self.depth == 1 && self.place == AnswerPosition::Key {
                    self.place = AnswerPosition::Colon;
                    return self.named();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Keeps a byte of a key or of the id. Longer texts are neither.
    fn keep(&mut self, byte: u8) {
        let most = match (self.place, self.key) {
            (AnswerPosition::Value, Some(MemberName::Id)) => LONGEST,
            (AnswerPosition::Value, _) => return,
            _ => LONGEST_KEY,
        };
        if self.text.len() <= most {
            self.text.push(byte);
        }
    }

    /// Handles the end of a key.
    fn named(&mut self) -> Result<(), AnswerFault> {
        let name: Option<String> = serde_json::from_slice(&self.text).ok();
        self.text.clear();
        self.key = match name.as_deref() {
            Some("id") => Some(MemberName::Id),
            Some("result") => Some(MemberName::Result),
            Some("error") => Some(MemberName::Error),
            Some("method") => Some(MemberName::Method),
            _ => None,
        };
        let seen = &mut self.seen;
        let is_twice = match self.key {
            Some(MemberName::Id) => seen.id.is_some(),
            Some(MemberName::Result) => std::mem::replace(&mut seen.result, true),
            Some(MemberName::Error) => std::mem::replace(&mut seen.error, true),
            Some(MemberName::Method) => true,
            None => false,
        };
        if is_twice || (seen.result && seen.error) { Err(AnswerFault::Form) } else { Ok(()) }
    }

    /// Handles the end of a value.
    fn value(&mut self) -> Result<(), AnswerFault> {
        let text = std::mem::take(&mut self.text);
        if self.key.take() != Some(MemberName::Id) {
            return Ok(());
        }
        let text = std::str::from_utf8(&text).map_err(|_| AnswerFault::Form)?;
        self.seen.id = match text {
            "null" => Some(Id::Nobodys),
            // The id is passed on unchanged, so it has to have the type that the client has sent.
            theirs if is_same(theirs, &self.id) && is_text(theirs) == is_text(&self.id) => Some(Id::Same),
            _ => return Err(AnswerFault::Id),
        };
        Ok(())
    }

    fn is_whole(&self) -> Result<(), AnswerFault> {
        match (self.seen.id, self.seen.result, self.seen.error) {
            (Some(Id::Same), true, false) | (Some(Id::Same), false, true) => Ok(()),
            (Some(Id::Nobodys) | None, true, false) | (Some(Id::Nobodys) | None, false, true) => {
                Err(AnswerFault::Id)
            }
            _ => Err(AnswerFault::Form),
        }
    }
}

fn is_text(id: &str) -> bool {
    id.starts_with('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict, which is the same for all ways to cut the message.
    fn verdict(message: &str) -> Result<(), AnswerFault> {
        let whole = StreamedAnswer::to("7").see(message.as_bytes());
        let mut passing = StreamedAnswer::to("7");
        let cut = message.as_bytes().iter().try_for_each(|byte| passing.see(&[*byte]));
        assert_eq!(whole, cut, "{message}");
        whole
    }

    #[test]
    fn only_a_response_to_the_request_passes() {
        for (message, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, Ok(())),
            (r#" {"result" : {"id":8,"method":"x","error":["}","\"",{"a":[]}]} , "\u0069d" : 7 } "#, Ok(())),
            (r#"{"id":7.0,"error":{"code":-1,"message":"no"}}"#, Ok(())),
            (r#"{"id":null,"error":{"code":-1,"message":"no"}}"#, Err(AnswerFault::Id)),
            (r#"{"error":{"code":-1,"message":"no"}}"#, Err(AnswerFault::Id)),
            (r#"{"id":"7","result":{}}"#, Err(AnswerFault::Id)),
            (r#"{"x":"\\","id":7,"result":"}"}"#, Ok(())),
            (r#"{"id":8,"result":{}}"#, Err(AnswerFault::Id)),
            (r#"{"result":{"id":7},"id":8}"#, Err(AnswerFault::Id)),
            (r#"{"result":{"id":7}}"#, Err(AnswerFault::Id)),
            (r#"{"result":{},"id":null}"#, Err(AnswerFault::Id)),
            (r#"{"result":{},"id":{"id":7}}"#, Err(AnswerFault::Id)),
            (r#"{"id":7,"result":{},"i\u0064":7}"#, Err(AnswerFault::Form)),
            (r#"{"id":7,"result":{},"error":{}}"#, Err(AnswerFault::Form)),
            (r#"{"id":7,"method":"ping"}"#, Err(AnswerFault::Form)),
            (r#"{"id":7}"#, Err(AnswerFault::Form)),
            (r#"{"detail":"Welcome"}"#, Err(AnswerFault::Form)),
            (r#"{"id":7,"result":{}}{"id":8}"#, Err(AnswerFault::Form)),
            (r#"[{"id":7,"result":{}}]"#, Err(AnswerFault::Form)),
            ("no JSON", Err(AnswerFault::Form)),
            ("{}", Err(AnswerFault::Form)),
        ] {
            assert_eq!(verdict(message), expected, "{message}");
        }
        let long = format!(r#"{{"{}":1,"id":"{}","result":1}}"#, "k".repeat(1 << 20), "7".repeat(1 << 20));
        assert_eq!(verdict(&long), Err(AnswerFault::Id));
    }

    #[test]
    fn a_streamed_answer_is_checked_in_linear_time() {
        use witgate_testing::growth::assert_linear;
        let result = |n| format!(r#"{{"result":[{}]}}"#, r#"{"a":"\""},"#.repeat(n));
        assert_linear("a result", 20_000, result, |text| _ = StreamedAnswer::to("7").see(text.as_bytes()));
        let members = |n| format!(r#"{{{}"id":7}}"#, r#""key":"value","#.repeat(n));
        assert_linear("members", 20_000, members, |text| _ = StreamedAnswer::to("7").see(text.as_bytes()));
    }
}
