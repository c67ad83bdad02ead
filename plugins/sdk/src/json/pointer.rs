//! Parts of a JSON text, read without values for the rest. A caller's text may be large, and its values would take many
//! times the memory of the text.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{index, unescape};

/// The part of a JSON text at a JSON Pointer (RFC 6901), unchanged. The whole text is read and checked, and only this
/// part is kept.
///
/// ```
/// use witgate_plugin::json::pointed;
///
/// assert_eq!(pointed(r#"{ "to": { "path": "/srv/a" } }"#, "/to/path")?, Some(r#""/srv/a""#));
/// assert_eq!(pointed(r#"{ "to": { "path": "/srv/a" } }"#, "/to/file")?, None);
/// assert!(pointed(r#"{ "to": 1, "to": 2 }"#, "/to").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// If it is not JSON, or a member that the pointer names is a duplicate. Other members may be duplicates.
pub fn pointed<'t>(text: &'t str, pointer: &str) -> Result<Option<&'t str>, serde_json::Error> {
    let Some(rest) = pointer.strip_prefix('/') else {
        let whole: &RawValue = serde_json::from_str(text)?;
        return Ok(pointer.is_empty().then(|| whole.get()));
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = PointerStep(rest).deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// True if the text is a JSON array, and `is_it` is true for the text of one of its items.
///
/// # Errors
/// If it is not JSON.
pub fn any_item(text: &str, is_it: impl FnMut(&str) -> bool) -> Result<bool, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = reader.deserialize_any(Items(is_it))?;
    reader.end()?;
    Ok(found)
}

/// The rest of a pointer, without its first slash.
struct PointerStep<'p>(&'p str);

impl<'p> PointerStep<'p> {
    fn split(&self) -> (&'p str, Option<&'p str>) {
        self.0.split_once('/').map_or((self.0, None), |(token, rest)| (token, Some(rest)))
    }
}

/// The value after a step of the pointer: the target, or an object or array on the way to it.
struct PointedValue<'p>(Option<&'p str>);

impl<'de> DeserializeSeed<'de> for PointedValue<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            Some(rest) => PointerStep(rest).deserialize(deserializer),
            None => <&RawValue as serde::Deserialize>::deserialize(deserializer).map(|raw| Some(raw.get())),
        }
    }
}

impl<'de> DeserializeSeed<'de> for PointerStep<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PointerStep<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (token, rest) = self.split();
        let mut found = None;
        if let Some(index) = index(token) {
            for _ in 0..index {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = items.next_element_seed(PointedValue(rest))?.flatten();
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (token, rest) = self.split();
        let name = if token.contains('~') { unescape(token) } else { token.to_owned() };
        let mut found = None;
        while let Some(is_it) = members.next_key_seed(NameMatch(&name))? {
            match (is_it, &found) {
                (false, _) => {
                    let IgnoredAny = members.next_value()?;
                }
                (true, None) => found = Some(members.next_value_seed(PointedValue(rest))?),
                (true, Some(_)) => return Err(A::Error::custom("duplicate member")),
            }
        }
        Ok(found.flatten())
    }
}

/// Compares a member's name.
struct NameMatch<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for NameMatch<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameMatch<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// Asks about the items of an array.
struct Items<F>(F);

impl<'de, F: FnMut(&str) -> bool> Visitor<'de> for Items<F> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(item) = items.next_element::<&RawValue>()? {
            found = found || (self.0)(item.get());
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::{any_item, pointed};
    use crate::json::{Json, parse};

    const TEXT: &str =
        r#" {"a/b": {"c~d": [10, {"e": true, "\u0066": " x "}], "": 0}, "n": null, "last": [] } "#;

    #[test]
    fn a_pointer_finds_the_same_part_in_the_text_and_in_the_value() {
        let value = parse(TEXT).unwrap_or(Json::Null);
        for pointer in [
            "",
            "/",
            "/n",
            "/a~1b",
            "/a~1b/",
            "/a~1b/c~0d",
            "/a~1b/c~0d/0",
            "/a~1b/c~0d/1",
            "/a~1b/c~0d/1/e",
            "/a~1b/c~0d/1/f",
            "/a~1b/c~0d/2",
            "/a~1b/c~0d/01",
            "/a~1b/c~0d/-",
            "/n/x",
            "/last/0",
            "a",
            "/a",
            "/a~1b/c~0d/0/0",
            "/last",
        ] {
            let text = pointed(TEXT, pointer).unwrap_or_else(|error| panic!("{pointer}: {error}"));
            assert_eq!(text.and_then(|text| parse(text).ok()).as_ref(), value.pointer(pointer), "{pointer}");
        }
    }

    #[test]
    fn invalid_json_and_duplicate_names_are_refused() {
        for text in
            ["", "{", r#"{"a":1"#, r#"{"a":1}x"#, r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"a":1}"#]
        {
            assert!(pointed(text, "/a").is_err(), "{text}");
        }
        assert_eq!(pointed(r#"{"b":1,"b":2,"a":3}"#, "/a").ok(), Some(Some("3")));
    }

    #[test]
    fn items_are_found_only_in_arrays() {
        assert_eq!(any_item("[1, [2], 3 ]", |item| item == "[2]").ok(), Some(true));
        assert_eq!(any_item("[1]", |item| item == "2").ok(), Some(false));
        assert_eq!(any_item(r#"{"a":2}"#, |_| true).ok(), Some(false));
        assert!(any_item("[2, 3", |_| true).is_err());
    }
}
