//! JSON that is taken apart and put together without re-writing the parts: values stay the bytes
//! that came, members stay in their order.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object, in order, each value as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members<'a> {
    list: Vec<(String, Text<'a>)>,
}

#[derive(Clone, Debug)]
enum Text<'a> {
    Came(&'a RawValue),
    Made(String),
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Came(raw) => raw.get(),
            Self::Made(text) => text,
        }
    }
}

impl<'a> Members<'a> {
    /// Reads an object. None: it is no object, or a key comes twice.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of `name` as JSON text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name` where it came with the object, borrowed from the text that was read.
    pub(crate) fn came(&self, name: &str) -> Option<&'a str> {
        self.list.iter().find(|(key, _)| key == name).and_then(|(_, value)| match value {
            Text::Came(raw) => Some(raw.get()),
            Text::Made(_) => None,
        })
    }

    /// Sets `name` to the JSON text `value`, in its place or at the end.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        match self.list.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = Text::Made(value),
            None => self.list.push((name.to_owned(), Text::Made(value))),
        }
    }

    /// Sets `name` unless it is there.
    pub(crate) fn set_if_absent(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value.to_owned());
        }
    }

    /// Takes `name` out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.list.retain(|(key, _)| key != name);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The object as JSON text.
    pub(crate) fn render(&self) -> String {
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

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if members.get(&key).is_some() {
                        return Err(serde::de::Error::custom("a key comes twice"));
                    }
                    members.list.push((key, Text::Came(value)));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A string as JSON text.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Reads JSON text as a string.
pub(crate) fn unquote(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// Where `part` lies in `whole`, of which it must be a slice.
pub(crate) fn span_in(whole: &[u8], part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// `body` with the text at each span replaced; everything else byte for byte.
pub(crate) fn splice(body: &[u8], edits: &mut [(Range<usize>, &str)]) -> Bytes {
    edits.sort_by_key(|(span, _)| span.start);
    let mut spliced = BytesMut::with_capacity(body.len() + 32);
    let mut done = 0;
    for (span, text) in edits.iter() {
        spliced.extend_from_slice(body.get(done..span.start).unwrap_or_default());
        spliced.extend_from_slice(text.as_bytes());
        done = span.end;
    }
    spliced.extend_from_slice(body.get(done..).unwrap_or_default());
    spliced.freeze()
}
