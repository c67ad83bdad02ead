//! JSON objects that can be taken apart and composed without a change to the values: values keep their bytes, and
//! members keep their order.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use crate::strict_json;

/// The members of a JSON object, in order, with the received text of each value.
#[derive(Clone, Debug, Default)]
pub struct Members<'a> {
    list: Vec<(Cow<'a, str>, ValueText<'a>)>,
}

#[derive(Clone, Debug)]
enum ValueText<'a> {
    Came(&'a RawValue),
    Made(String),
}

impl ValueText<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Came(raw) => raw.get(),
            Self::Made(text) => text,
        }
    }
}

impl<'a> From<&strict_json::StrictMembers<'a>> for Members<'a> {
    fn from(members: &strict_json::StrictMembers<'a>) -> Self {
        let list = members.0.iter().map(|(key, value)| (key.clone(), ValueText::Came(value))).collect();
        Self { list }
    }
}

impl<'a> Members<'a> {
    /// Reads an object. None: it is not an object, or a key is a duplicate.
    pub fn read(text: &'a str) -> Option<Self> {
        strict_json::StrictMembers::read(text).ok().map(|members| Self::from(&members))
    }

    /// The value of `name` as JSON text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name`, borrowed from the text of the object. None if it has been set since.
    pub fn came(&self, name: &str) -> Option<&'a str> {
        self.list.iter().find(|(key, _)| key == name).and_then(|(_, value)| match value {
            ValueText::Came(raw) => Some(raw.get()),
            ValueText::Made(_) => None,
        })
    }

    /// Sets `name` to the JSON text `value`, in its place or at the end.
    pub fn set(&mut self, name: &str, value: String) {
        match self.list.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = ValueText::Made(value),
            None => self.list.push((name.to_owned().into(), ValueText::Made(value))),
        }
    }

    /// Sets `name` unless it exists.
    pub fn set_if_absent(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value.to_owned());
        }
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) {
        self.list.retain(|(key, _)| key != name);
    }

    /// True if the object is empty.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The object as JSON text.
    pub fn render(&self) -> String {
        let mut text = String::from("{");
        for (key, value) in &self.list {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&quote(key));
            text.push(':');
            text.push_str(value.as_str());
        }
        text.push('}');
        text
    }
}

/// The form of a JSON-RPC message, determined by its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageForm {
    /// It has a method and an id.
    Request,
    /// It has a method and no id.
    Notification,
    /// It has a result or an error.
    Response,
}

/// The form of a message. None: it is not a JSON-RPC message.
pub fn form(message: &[u8]) -> Option<MessageForm> {
    let members = Members::read(std::str::from_utf8(message).ok()?)?;
    let has = |name| members.get(name).is_some();
    match (has("method"), has("id"), has("result") || has("error")) {
        (true, true, false) => Some(MessageForm::Request),
        (true, false, false) => Some(MessageForm::Notification),
        (false, _, true) => Some(MessageForm::Response),
        _ => None,
    }
}

/// The keys of an object. None if it is not an object.
pub fn names(object: &str) -> BTreeSet<String> {
    let members = Members::read(object).unwrap_or_default();
    members.list.into_iter().map(|(key, _)| key.into_owned()).collect()
}

/// A string as JSON text.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Reads JSON text as a string.
pub fn unquote(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// The position of `part` in `whole`, of which it must be a slice.
pub fn span_in(whole: &[u8], part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// The spans to cut so that the elements that are `cut` leave an object or array, each with one comma. `opening` is the
/// place after the opening bracket, and `ends` are the ends of the elements in `body`, in order.
pub fn cuts(body: &[u8], opening: usize, ends: &[usize], cut: &[bool]) -> Vec<Range<usize>> {
    let after_comma = |end: usize| {
        let comma = body.get(end..).and_then(|rest| rest.iter().position(|byte| *byte == b','));
        comma.map(|comma| end + comma + 1)
    };
    let (mut spans, mut start, mut keeps_one) = (Vec::new(), opening, false);
    for (end, is_cut) in ends.iter().zip(cut) {
        let next = after_comma(*end);
        match (is_cut, keeps_one, next) {
            (false, _, _) => keeps_one = true,
            // The comma before it.
            (true, true, _) => spans.push(start.saturating_sub(1)..*end),
            (true, false, Some(next)) if ends.last() != Some(end) => spans.push(start..next),
            (true, false, _) => spans.push(start..*end),
        }
        start = next.unwrap_or(*end);
    }
    spans
}

/// `body` with the text at each span replaced. All other bytes stay unchanged.
pub fn splice(body: &[u8], edits: &mut [(Range<usize>, &str)]) -> Bytes {
    edits.sort_by_key(|(span, _)| span.start);
    let removed: usize = edits.iter().map(|(span, _)| span.len()).sum();
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut spliced = BytesMut::with_capacity(body.len().saturating_sub(removed) + added);
    let mut done = 0;
    for (span, text) in edits.iter() {
        spliced.extend_from_slice(body.get(done..span.start).unwrap_or_default());
        spliced.extend_from_slice(text.as_bytes());
        done = span.end;
    }
    spliced.extend_from_slice(body.get(done..).unwrap_or_default());
    spliced.freeze()
}
