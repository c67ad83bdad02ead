//! Checks that are stricter than `serde_json`: no duplicate key even in another case, no number that readers round,
//! and a limit of depth. The grammar is that of `serde_json`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::names::fold;
use super::numbers;
pub use answer::{ListReading, ResultValue, StrictAnswer, StrictResult};

mod answer;

/// Maximum nesting of arrays and objects, including the message itself.
pub const MAX_DEPTH: usize = 128;

/// Number of keys from which an object's keys are in a set. For fewer keys, comparing each is faster, because keys of
/// different lengths differ at once.
const MANY_KEYS: usize = 24;

/// The fault of a value that is valid JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrictFault {
    /// An object has a duplicate key.
    DuplicateKey,
    /// An object has two keys that are the same to a reader who ignores case or normalises.
    AlikeKeys,
    /// A number that some readers round.
    Inexact,
    /// The value is deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl fmt::Display for StrictFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateKey => "an object has a key twice",
            Self::AlikeKeys => "an object has two keys that differ in case or Unicode normal form only",
            Self::Inexact => {
                "a number is beyond 64 bits, a double's range or its precision: send it as a string"
            }
            Self::TooDeep => "arrays and objects are nested deeper than 128 levels",
        })
    }
}

/// An object in its order, with the received text of each value. It has no duplicate keys.
#[derive(Debug)]
pub struct StrictMembers<'de>(pub(super) Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> StrictMembers<'de> {
    /// Reads an object.
    ///
    /// # Errors
    /// If it is not an object, is not JSON, or has a duplicate key.
    pub fn read(text: &'de str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'de RawValue> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The members, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'de RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }
}

impl<'de> Deserialize<'de> for StrictMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = StrictMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = StrictMembers(Vec::with_capacity(8));
        let mut seen = SeenKeys::default();
        while let Some(ObjectKey(key)) = map.next_key()? {
            seen.once(members.0.iter().map(|(key, _)| key), &key).map_err(de::Error::custom)?;
            members.0.push((key, map.next_value()?));
        }
        Ok(members)
    }
}

/// A message: its envelope and the members of `params`, read in one pass. Neither has a duplicate key.
#[derive(Debug)]
pub struct StrictMessage<'de> {
    /// The members, without `params`.
    pub envelope: StrictMembers<'de>,
    /// `params`, if the message has it.
    pub params: Option<StrictParams<'de>>,
}

/// The value of `params`.
#[derive(Debug)]
pub enum StrictParams<'de> {
    /// An object.
    Object(StrictMembers<'de>),
    /// `null`.
    Null,
    /// Any other value.
    Other,
}

impl<'de> Deserialize<'de> for StrictMessage<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = StrictMessage<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut message = StrictMessage { envelope: StrictMembers(Vec::with_capacity(4)), params: None };
        let mut seen = SeenKeys::default();
        while let Some(ObjectKey(key)) = map.next_key()? {
            if key != "params" {
                seen.once(message.envelope.0.iter().map(|(key, _)| key), &key).map_err(de::Error::custom)?;
                message.envelope.0.push((key, map.next_value()?));
            } else if message.params.replace(map.next_value()?).is_some() {
                return Err(de::Error::custom(StrictFault::DuplicateKey));
            }
        }
        Ok(message)
    }
}

impl<'de> Deserialize<'de> for StrictParams<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParamsVisitor)
    }
}

struct ParamsVisitor;

impl<'de> Visitor<'de> for ParamsVisitor {
    type Value = StrictParams<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        MembersVisitor.visit_map(map).map(StrictParams::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<&RawValue>()?.is_some() {}
        Ok(StrictParams::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(StrictParams::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(StrictParams::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(StrictParams::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(StrictParams::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(StrictParams::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(StrictParams::Other)
    }
}

/// The keys of an object with many keys.
#[derive(Default)]
struct SeenKeys<'de>(HashSet<Cow<'de, str>>);

impl<'de> SeenKeys<'de> {
    /// Adds `key`, the next one after `before`.
    #[expect(clippy::ptr_arg, reason = "it is kept, and stays borrowed where it is")]
    fn once<'a>(
        &mut self,
        mut before: impl ExactSizeIterator<Item = &'a Cow<'de, str>>,
        key: &Cow<'de, str>,
    ) -> Result<(), StrictFault>
    where
        'de: 'a,
    {
        let twice = if before.len() < MANY_KEYS {
            before.any(|other| other == key)
        } else {
            if self.0.is_empty() {
                self.0.extend(before.cloned());
            }
            !self.0.insert(key.clone())
        };
        if twice { Err(StrictFault::DuplicateKey) } else { Ok(()) }
    }
}

/// The keys of one object in the folded form of readers who ignore case, if they are many or not all ASCII.
#[derive(Default)]
struct FoldedKeys<'de>(HashSet<Cow<'de, str>>);

impl<'de> FoldedKeys<'de> {
    /// Adds `key`, the next one after `before`.
    #[expect(clippy::ptr_arg, reason = "it is kept, and stays borrowed where it is")]
    fn once(&mut self, before: &[Cow<'de, str>], key: &Cow<'de, str>) -> Result<(), StrictFault> {
        let is_alike = if before.len() < MANY_KEYS && self.0.is_empty() && key.is_ascii() {
            before.iter().any(|other| other.eq_ignore_ascii_case(key))
        } else {
            if self.0.is_empty() {
                self.0.extend(before.iter().map(folded));
            }
            !self.0.insert(folded(key))
        };
        match is_alike {
            false => Ok(()),
            true if before.contains(key) => Err(StrictFault::DuplicateKey),
            true => Err(StrictFault::AlikeKeys),
        }
    }
}

fn folded<'de>(key: &Cow<'de, str>) -> Cow<'de, str> {
    let is_folded = key.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_folded { key.clone() } else { Cow::Owned(fold(key)) }
}

/// Checks values at all depths. One checker is used for a whole message, so that it allocates once.
#[derive(Default)]
pub struct StrictCheck<'de> {
    /// The keys of the open objects, the innermost last.
    keys: Vec<Cow<'de, str>>,
    fault: Option<StrictFault>,
}

impl<'de> StrictCheck<'de> {
    /// Checks a value that is in `depth` arrays and objects.
    ///
    /// # Errors
    /// With the fault: a [`StrictFault`], or one of the grammar (a lone surrogate, a number that fits into no type).
    pub fn check(&mut self, value: &'de RawValue, depth: usize) -> Result<(), Cow<'static, str>> {
        self.check_id(value, depth)?;
        match numbers::are_exact(value.get()) {
            true => Ok(()),
            false => Err(Cow::Owned(StrictFault::Inexact.to_string())),
        }
    }

    /// As [`StrictCheck::check`], for a value with which nobody calculates: an id is returned as it was received.
    ///
    /// # Errors
    /// As [`StrictCheck::check`].
    pub fn check_id(&mut self, value: &'de RawValue, depth: usize) -> Result<(), Cow<'static, str>> {
        // The text is already known to be JSON. Other faults need an escape, a number or a nested key.
        match value.get().as_bytes() {
            [b'"', text @ ..] if !text.contains(&b'\\') => return Ok(()),
            [b't' | b'f' | b'n', ..] => return Ok(()),
            _ => {}
        }
        let mut deserializer = serde_json::Deserializer::from_str(value.get());
        ValueCheck { depth, strict: self }.deserialize(&mut deserializer).map_err(|error| match self.fault {
            Some(fault) => Cow::Owned(fault.to_string()),
            None => Cow::Owned(category(&error).to_owned()),
        })
    }

    /// Checks that no two keys are the same to a reader who ignores case.
    ///
    /// # Errors
    /// [`StrictFault::AlikeKeys`].
    pub fn check_keys(&mut self, members: &StrictMembers<'de>) -> Result<(), Cow<'static, str>> {
        let mut folded = FoldedKeys::default();
        self.keys.clear();
        for (key, _) in &members.0 {
            folded.once(&self.keys, key).map_err(|fault| Cow::Owned(fault.to_string()))?;
            self.keys.push(key.clone());
        }
        self.keys.clear();
        Ok(())
    }
}

/// The error message of the grammar, without any part of the text.
pub fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
        serde_json::error::Category::Data => "it is not one JSON object with every key once",
    }
}

struct ValueCheck<'a, 'de> {
    depth: usize,
    strict: &'a mut StrictCheck<'de>,
}

impl<'de> ValueCheck<'_, 'de> {
    fn deeper<E: de::Error>(&mut self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            self.strict.fault = Some(StrictFault::TooDeep);
            return Err(E::custom(StrictFault::TooDeep));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for ValueCheck<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueCheck<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        while let Some(()) = seq.next_element_seed(ValueCheck { depth, strict: &mut *self.strict })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let base = self.strict.keys.len();
        let mut seen = FoldedKeys::default();
        while let Some(ObjectKey(key)) = map.next_key()? {
            let own = self.strict.keys.get(base..).unwrap_or_default();
            if let Err(fault) = seen.once(own, &key) {
                self.strict.fault = Some(fault);
                return Err(de::Error::custom(fault));
            }
            self.strict.keys.push(key);
            map.next_value_seed(ValueCheck { depth, strict: &mut *self.strict })?;
        }
        self.strict.keys.truncate(base);
        Ok(())
    }
}

/// An object's key without escapes, borrowed if it had none.
struct ObjectKey<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for ObjectKey<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = ObjectKey<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(ObjectKey(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(ObjectKey(Cow::Owned(key.to_owned())))
    }
}
/// The value of a JSON string.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let plain = text.strip_prefix('"')?.strip_suffix('"')?;
    if plain.contains('\\') {
        return serde_json::from_str(text).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(plain))
}
