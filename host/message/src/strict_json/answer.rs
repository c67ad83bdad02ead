//! An answer, its result, and the items of lists in it, read in one pass.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{ObjectKey, SeenKeys, StrictFault, StrictMembers};

/// A message with its result taken apart. Neither has a duplicate key.
#[derive(Debug)]
pub struct StrictAnswer<'de> {
    /// The members, without `result`.
    pub envelope: StrictMembers<'de>,
    /// True if the message has `result`, of any type.
    pub has_result: bool,
    /// `result`, if the message has one that is an object.
    pub result: Option<StrictResult<'de>>,
}

impl<'de> StrictAnswer<'de> {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is not JSON, it or its result has a duplicate key, or a member that is a list is not an array.
    pub fn read(text: &'de str, lists: ListReading) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let answer = AnswerSeed(lists).deserialize(&mut reader)?;
        reader.end()?;
        Ok(answer)
    }
}

/// The treatment of lists in a result.
#[derive(Clone, Copy, Debug)]
pub struct ListReading {
    /// True for the name of a member that is a list.
    pub is_list: fn(&str) -> bool,
    /// Called after each item, because lists may be long.
    pub after_item: fn(),
}

/// The members of a result, in their order.
#[derive(Debug)]
pub struct StrictResult<'de>(Vec<(Cow<'de, str>, ResultValue<'de>)>);

impl<'de> StrictResult<'de> {
    /// The value of a key, if it is not a list.
    pub fn get(&self, key: &str) -> Option<&'de RawValue> {
        self.0.iter().find(|(name, _)| name == key).and_then(|(_, value)| match value {
            ResultValue::Value(value) => Some(*value),
            ResultValue::Items(_) => None,
        })
    }

    /// The members.
    pub fn members(&self) -> &[(Cow<'de, str>, ResultValue<'de>)] {
        &self.0
    }
}

/// The value of a member of a result.
#[derive(Debug)]
pub enum ResultValue<'de> {
    /// The items of a list.
    Items(Vec<&'de RawValue>),
    /// Any other value.
    Value(&'de RawValue),
}

struct AnswerSeed(ListReading);

impl<'de> DeserializeSeed<'de> for AnswerSeed {
    type Value = StrictAnswer<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AnswerSeed {
    type Value = StrictAnswer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let envelope = StrictMembers(Vec::with_capacity(4));
        let mut answer = StrictAnswer { envelope, has_result: false, result: None };
        let mut seen = SeenKeys::default();
        while let Some(ObjectKey(key)) = map.next_key()? {
            if key != "result" {
                seen.once(answer.envelope.0.iter().map(|(key, _)| key), &key).map_err(de::Error::custom)?;
                answer.envelope.0.push((key, map.next_value()?));
            } else if std::mem::replace(&mut answer.has_result, true) {
                return Err(de::Error::custom(StrictFault::DuplicateKey));
            } else {
                answer.result = map.next_value_seed(ResultSeed(self.0))?;
            }
        }
        Ok(answer)
    }
}

struct ResultSeed(ListReading);

impl<'de> DeserializeSeed<'de> for ResultSeed {
    type Value = Option<StrictResult<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ResultSeed {
    type Value = Option<StrictResult<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut result = StrictResult(Vec::with_capacity(4));
        let mut seen = SeenKeys::default();
        while let Some(ObjectKey(key)) = map.next_key()? {
            seen.once(result.0.iter().map(|(key, _)| key), &key).map_err(de::Error::custom)?;
            let value = match (self.0.is_list)(&key) {
                true => ResultValue::Items(map.next_value_seed(ItemsSeed(self.0))?),
                false => ResultValue::Value(map.next_value()?),
            };
            result.0.push((key, value));
        }
        Ok(Some(result))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<&RawValue>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct ItemsSeed(ListReading);

impl<'de> DeserializeSeed<'de> for ItemsSeed {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ItemsSeed {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
            (self.0.after_item)();
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<StrictAnswer<'_>> {
        StrictAnswer::read(text, ListReading { is_list: |key| key == "tools", after_item: || {} }).ok()
    }

    #[test]
    fn lists_are_taken_apart_and_other_values_kept() {
        let text = r#"{"id":1,"result":{"a" : [1, 2],"tools":[{"name":"x"}, 7 ],"next":null}}"#;
        let answer = read(text).unwrap();
        let result = answer.result.unwrap();
        assert_eq!(result.get("a").unwrap().get(), "[1, 2]");
        assert_eq!(result.get("next").unwrap().get(), "null");
        assert!(result.get("tools").is_none());
        let items = result.members().iter().find_map(|(_, value)| match value {
            ResultValue::Items(items) => Some(items.iter().map(|item| item.get()).collect::<Vec<_>>()),
            ResultValue::Value(_) => None,
        });
        assert_eq!(items.unwrap(), [r#"{"name":"x"}"#, "7"]);
        assert_eq!(answer.envelope.get("id").unwrap().get(), "1");
    }

    #[test]
    fn results_of_any_type_are_read() {
        for result in ["null", "true", "1", "-1", "1.5", r#""x""#, "[1, {}]"] {
            let text = format!(r#"{{"result":{result},"id":1}}"#);
            let answer = read(&text).unwrap();
            assert!(answer.has_result && answer.result.is_none(), "{result}");
            assert!(answer.envelope.get("id").is_some(), "{result}");
        }
    }

    #[test]
    fn duplicates_and_lists_of_other_types_are_faults() {
        for text in [
            r#"{"id":1,"id":1}"#,
            r#"{"result":{},"result":{}}"#,
            r#"{"result":1,"result":{}}"#,
            r#"{"result":{"a":1,"\u0061":1}}"#,
            r#"{"result":{"tools":[],"tools":[]}}"#,
            r#"{"result":{"tools":{}}}"#,
            r#"{"result":{"tools":null}}"#,
            r#"{"result":{}} x"#,
            "[]",
            "",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
