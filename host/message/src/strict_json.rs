//! Strictness beyond what `serde_json` asks for: no key twice in an object, in whatever case, no number
//! that readers round, and a bound on depth. The grammar is `serde_json`'s alone.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::names::fold;
use super::numbers;

/// Maximum nesting of arrays and objects, the message itself included.
pub const MAX_DEPTH: usize = 128;

/// From this many keys on, an object's keys are looked up in a set. Below, comparing with each is
/// quicker, because keys of different length differ at once.
const MANY_KEYS: usize = 24;

/// The fault of a value that is valid JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrictFault {
    /// An object has a key twice.
    DuplicateKey,
    /// An object has two keys that a reader takes for one who ignores case or normalises.
    AlikeKeys,
    /// A number that some reader rounds.
    Inexact,
    /// Deeper than [`MAX_DEPTH`].
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

/// An object, each value as the text it came as, in its order. No key twice.
#[derive(Debug)]
pub struct StrictMembers<'de>(pub(super) Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> StrictMembers<'de> {
    /// Reads an object.
    ///
    /// # Errors
    /// Where it is not one, is not JSON, or has a key twice.
    pub fn read(text: &'de str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'de RawValue> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Its members, in their order.
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

/// A message: its envelope, and `params` taken apart in the same pass. No key twice in either.
#[derive(Debug)]
pub struct StrictMessage<'de> {
    /// The members, without `params`.
    pub envelope: StrictMembers<'de>,
    /// `params`, if it is there.
    pub params: Option<StrictParams<'de>>,
}

/// The value of `params`.
#[derive(Debug)]
pub enum StrictParams<'de> {
    /// An object.
    Object(StrictMembers<'de>),
    /// `null`.
    Null,
    /// Anything else.
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

/// The keys of one object, once they are many.
#[derive(Default)]
struct SeenKeys<'de>(HashSet<Cow<'de, str>>);

impl<'de> SeenKeys<'de> {
    /// Takes note of `key`, the next one after `before`.
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

/// The keys of one object in the form that readers who ignore case compare, once they are many or
/// are not all ASCII.
#[derive(Default)]
struct FoldedKeys<'de>(HashSet<Cow<'de, str>>);

impl<'de> FoldedKeys<'de> {
    /// Takes note of `key`, the next one after `before`.
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

/// Checks values all the way down. One is used for a whole message, so that it allocates once.
#[derive(Default)]
pub struct StrictCheck<'de> {
    /// The keys of the objects that are open, the innermost last.
    keys: Vec<Cow<'de, str>>,
    fault: Option<StrictFault>,
}

impl<'de> StrictCheck<'de> {
    /// Checks a value that is in `depth` arrays and objects.
    ///
    /// # Errors
    /// With what is wrong with it: a [`StrictFault`], or the grammar's (a lone surrogate, a number that
    /// no number type holds).
    pub fn check(&mut self, value: &'de RawValue, depth: usize) -> Result<(), Cow<'static, str>> {
        self.check_id(value, depth)?;
        match numbers::are_exact(value.get()) {
            true => Ok(()),
            false => Err(Cow::Owned(StrictFault::Inexact.to_string())),
        }
    }

    /// As [`StrictCheck::check`], of a value that nobody reckons with: an id goes back as it came.
    ///
    /// # Errors
    /// As [`StrictCheck::check`].
    pub fn check_id(&mut self, value: &'de RawValue, depth: usize) -> Result<(), Cow<'static, str>> {
        // Found to be JSON already; what is left to find needs an escape, a number or a nested key.
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

    /// Checks that no two of the keys are one to a reader who ignores case.
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

/// The grammar's error message without any of the text that it is about.
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

/// An object's key, unescaped; borrowed where it has no escapes.
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
