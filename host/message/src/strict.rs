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
pub enum Fault {
    /// An object has a key twice.
    DuplicateKey,
    /// An object has two keys that a reader takes for one who ignores case or normalises.
    AlikeKeys,
    /// A number that some reader rounds.
    Inexact,
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateKey => "an object has a key twice",
            Self::AlikeKeys => "an object has two keys that differ in case or Unicode normal form only",
            Self::Inexact => {
                "a number is beyond 64 bits, a double's range or its precision: send it as a string"
            }
            Self::TooDeep => "arrays and objects stand deeper than 128 levels",
        })
    }
}

/// An object, each value as the text it came as, in its order. No key twice.
#[derive(Debug)]
pub struct Members<'de>(pub(super) Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> Members<'de> {
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

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members(Vec::with_capacity(8));
        let mut seen = Seen::default();
        while let Some(Key(key)) = map.next_key()? {
            seen.once(members.0.iter().map(|(key, _)| key), &key).map_err(de::Error::custom)?;
            members.0.push((key, map.next_value()?));
        }
        Ok(members)
    }
}

/// A message: its envelope, and `params` taken apart in the same pass. No key twice in either.
#[derive(Debug)]
pub struct Message<'de> {
    /// The members, without `params`.
    pub envelope: Members<'de>,
    /// `params`, if it is there.
    pub params: Option<Params<'de>>,
}

/// The value of `params`.
#[derive(Debug)]
pub enum Params<'de> {
    /// An object.
    Object(Members<'de>),
    /// `null`.
    Null,
    /// Anything else.
    Other,
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut message = Message { envelope: Members(Vec::with_capacity(4)), params: None };
        let mut seen = Seen::default();
        while let Some(Key(key)) = map.next_key()? {
            if key != "params" {
                seen.once(message.envelope.0.iter().map(|(key, _)| key), &key).map_err(de::Error::custom)?;
                message.envelope.0.push((key, map.next_value()?));
            } else if message.params.replace(map.next_value()?).is_some() {
                return Err(de::Error::custom(Fault::DuplicateKey));
            }
        }
        Ok(message)
    }
}

impl<'de> Deserialize<'de> for Params<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParamsVisitor)
    }
}

struct ParamsVisitor;

impl<'de> Visitor<'de> for ParamsVisitor {
    type Value = Params<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        MembersVisitor.visit_map(map).map(Params::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<&RawValue>()?.is_some() {}
        Ok(Params::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Params::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Params::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Params::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Params::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Params::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Params::Other)
    }
}

/// The keys of one object, once they are many.
#[derive(Default)]
struct Seen<'de>(HashSet<Cow<'de, str>>);

impl<'de> Seen<'de> {
    /// Takes note of `key`, the next one after `before`.
    #[expect(clippy::ptr_arg, reason = "it is kept, and stays borrowed where it is")]
    fn once<'a>(
        &mut self,
        mut before: impl ExactSizeIterator<Item = &'a Cow<'de, str>>,
        key: &Cow<'de, str>,
    ) -> Result<(), Fault>
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
        if twice { Err(Fault::DuplicateKey) } else { Ok(()) }
    }
}

/// The keys of one object in the form that readers who ignore case compare, once they are many or
/// are not all ASCII.
#[derive(Default)]
struct Folded<'de>(HashSet<Cow<'de, str>>);

impl<'de> Folded<'de> {
    /// Takes note of `key`, the next one after `before`.
    #[expect(clippy::ptr_arg, reason = "it is kept, and stays borrowed where it is")]
    fn once(&mut self, before: &[Cow<'de, str>], key: &Cow<'de, str>) -> Result<(), Fault> {
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
            true if before.contains(key) => Err(Fault::DuplicateKey),
            true => Err(Fault::AlikeKeys),
        }
    }
}

fn folded<'de>(key: &Cow<'de, str>) -> Cow<'de, str> {
    let is_folded = key.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_folded { key.clone() } else { Cow::Owned(fold(key)) }
}

/// Checks values all the way down. One is used for a whole message, so that it allocates once.
#[derive(Default)]
pub struct Strict<'de> {
    /// The keys of the objects that are open, the innermost last.
    keys: Vec<Cow<'de, str>>,
    fault: Option<Fault>,
}

impl<'de> Strict<'de> {
    /// Checks a value that is in `depth` arrays and objects.
    ///
    /// # Errors
    /// With what is wrong with it: a [`Fault`], or the grammar's (a lone surrogate, a number that
    /// no number type holds).
    pub fn check(&mut self, value: &'de RawValue, depth: usize) -> Result<(), Cow<'static, str>> {
        self.check_id(value, depth)?;
        match numbers::are_exact(value.get()) {
            true => Ok(()),
            false => Err(Cow::Owned(Fault::Inexact.to_string())),
        }
    }

    /// As [`Strict::check`], of a value that nobody reckons with: an id goes back as it came.
    ///
    /// # Errors
    /// As [`Strict::check`].
    pub fn check_id(&mut self, value: &'de RawValue, depth: usize) -> Result<(), Cow<'static, str>> {
        // Found to be JSON already; what is left to find needs an escape, a number or a nested key.
        match value.get().as_bytes() {
            [b'"', text @ ..] if !text.contains(&b'\\') => return Ok(()),
            [b't' | b'f' | b'n', ..] => return Ok(()),
            _ => {}
        }
        let mut deserializer = serde_json::Deserializer::from_str(value.get());
        Value { depth, strict: self }.deserialize(&mut deserializer).map_err(|error| match self.fault {
            Some(fault) => Cow::Owned(fault.to_string()),
            None => Cow::Owned(category(&error).to_owned()),
        })
    }

    /// Checks that no two of the keys are one to a reader who ignores case.
    ///
    /// # Errors
    /// [`Fault::AlikeKeys`].
    pub fn check_keys(&mut self, members: &Members<'de>) -> Result<(), Cow<'static, str>> {
        let mut folded = Folded::default();
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

struct Value<'a, 'de> {
    depth: usize,
    strict: &'a mut Strict<'de>,
}

impl<'de> Value<'_, 'de> {
    fn deeper<E: de::Error>(&mut self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            self.strict.fault = Some(Fault::TooDeep);
            return Err(E::custom(Fault::TooDeep));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
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
        while let Some(()) = seq.next_element_seed(Value { depth, strict: &mut *self.strict })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let base = self.strict.keys.len();
        let mut seen = Folded::default();
        while let Some(Key(key)) = map.next_key()? {
            let own = self.strict.keys.get(base..).unwrap_or_default();
            if let Err(fault) = seen.once(own, &key) {
                self.strict.fault = Some(fault);
                return Err(de::Error::custom(fault));
            }
            self.strict.keys.push(key);
            map.next_value_seed(Value { depth, strict: &mut *self.strict })?;
        }
        self.strict.keys.truncate(base);
        Ok(())
    }
}

/// An object's key, unescaped; borrowed where it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
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
