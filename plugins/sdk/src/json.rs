//! A strict reader of JSON: a duplicate member is an error at any depth, so that no two readers
//! can understand one text differently. Strings without escapes are borrowed from the text.
//!
//! ```
//! use witgate_plugin::json;
//!
//! let value = json::parse(r#"{ "to": { "path": "/srv/a" }, "amounts": [1, 2.5] }"#)?;
//! assert_eq!(value.pointer("/to/path").and_then(json::Json::as_str), Some("/srv/a"));
//! assert_eq!(value.pointer("/amounts/0"), Some(&json::Json::Number(json::Number::Unsigned(1))));
//! assert!(json::parse(r#"{ "path": "/srv/a", "path": "/etc" }"#).is_err());
//! # Ok::<(), serde_json::Error>(())
//! ```

mod pointer;

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

pub use pointer::{any_item, pointed};

/// A JSON value, borrowed from its text where possible.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// A JSON object, in the order of its text. No two members have the same name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// A JSON number. Whole numbers are exact if they fit into 64 bits.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// Whole and not negative.
    Unsigned(u64),
    /// Whole and negative.
    Signed(i64),
    /// Any other. Always finite.
    Float(f64),
}

/// Reads one JSON text.
///
/// # Errors
/// If it is not JSON, contains a duplicate member, has more than 128 levels, or a number exceeds `f64`.
pub fn parse(text: &str) -> Result<Json<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

/// Reads one JSON text that has to be an object.
///
/// # Errors
/// As [`parse`], and if it is not an object.
pub fn parse_object(text: &str) -> Result<Object<'_>, serde_json::Error> {
    match parse(text)? {
        Json::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

impl<'a> Json<'a> {
    /// The string, if the value is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if the value is one.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The value at a JSON Pointer (RFC 6901).
    pub fn pointer(&self, pointer: &str) -> Option<&Json<'a>> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, |value, token| match value {
            Self::Object(object) if token.contains('~') => object.get(&unescape(token)),
            Self::Object(object) => object.get(token),
            Self::Array(items) => items.get(index(token)?),
            _ => None,
        })
    }
}

impl<'a> Object<'a> {
    /// The member named `name`.
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The members, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    fn has_duplicates(&self) -> bool {
        /// Number of members up to which comparing each pair is faster than sorting.
        const FEW: usize = 16;
        if self.0.len() <= FEW {
            let before = |count, name: &str| self.iter().take(count).any(|(own, _)| own == name);
            return self.iter().enumerate().any(|(index, (name, _))| before(index, name));
        }
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
    }
}

impl Number {
    /// The nearest `f64`.
    #[allow(clippy::cast_precision_loss, reason = "the nearest is what is asked for")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(n) => n as f64,
            Self::Signed(n) => n as f64,
            Self::Float(n) => n,
        }
    }

    fn whole(self) -> Option<i128> {
        match self {
            Self::Unsigned(n) => Some(n.into()),
            Self::Signed(n) => Some(n.into()),
            Self::Float(_) => None,
        }
    }
}

/// Compares by value: `1` and `1.0` are equal, and whole numbers compare exactly.
impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.whole(), other.whole()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => self.as_f64().partial_cmp(&other.as_f64()),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

/// Compares by value: the order of members does not matter, and numbers compare as [`Number`]s do.
impl PartialEq<serde_json::Value> for Json<'_> {
    fn eq(&self, other: &serde_json::Value) -> bool {
        use serde_json::Value;
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::Number(a), Value::Number(b)) => Number::try_from(b).is_ok_and(|b| *a == b),
            (Self::String(a), Value::String(b)) => a == b,
            (Self::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b),
            (Self::Object(a), Value::Object(b)) => {
                a.0.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| a == b))
            }
            _ => false,
        }
    }
}

/// The error for a number that fits neither into 64 bits nor into `f64`.
#[derive(Clone, Copy, Debug)]
pub struct OutOfRange;

impl TryFrom<&serde_json::Number> for Number {
    type Error = OutOfRange;

    fn try_from(number: &serde_json::Number) -> Result<Self, OutOfRange> {
        number
            .as_u64()
            .map(Self::Unsigned)
            .or_else(|| number.as_i64().map(Self::Signed))
            .or_else(|| number.as_f64().filter(|n| n.is_finite()).map(Self::Float))
            .ok_or(OutOfRange)
    }
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// An array index as RFC 6901 writes it: without leading zeros.
fn index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| canonical)
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(u64::try_from(value).map_or(Number::Signed(value), Number::Unsigned)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json<'de>, E> {
        match value.is_finite() {
            true => Ok(Json::Number(Number::Float(value))),
            false => Err(E::custom("number out of range")),
        }
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(value.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(name) = members.next_key_seed(Name)? {
            object.0.push((name, members.next_value()?));
        }
        match object.has_duplicates() {
            true => Err(A::Error::custom("duplicate member")),
            false => Ok(Json::Object(object)),
        }
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(value.to_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Json, parse};

    #[test]
    fn duplicates_are_refused_at_any_depth_and_width() {
        assert!(parse(r#"{"a":1,"b":{"a":1}}"#).is_ok());
        assert!(parse(r#"{"a":1,"\u0061":1}"#).is_err());
        assert!(parse(r#"[{"a":{"b":1,"b":1}}]"#).is_err());
        let wide: String = (0..40).map(|n| format!("\"k{n}\":0,")).collect();
        assert!(parse(&format!("{{{wide}\"last\":0}}")).is_ok());
        assert!(parse(&format!("{{{wide}\"k7\":0}}")).is_err());
    }

    #[test]
    fn json_above_the_limits_is_refused() {
        assert!(parse(&"[".repeat(200)).is_err());
        assert!(parse("1e999").is_err());
        assert!(parse("{} {}").is_err());
    }

    #[test]
    fn pointers_follow_the_rfc() {
        let text = r#"{"a/b":{"c~d":[10,{"e":true}]}}"#;
        let value = parse(text).unwrap_or(Json::Null);
        assert_eq!(value.pointer("/a~1b/c~0d/1/e"), Some(&Json::Bool(true)));
        assert_eq!(value.pointer(""), Some(&value));
        assert_eq!(value.pointer("/a~1b/c~0d/01"), None);
        assert_eq!(value.pointer("/a~1b/c~0d/-"), None);
        assert_eq!(value.pointer("a"), None);
    }

    #[test]
    fn numbers_are_compared_by_exact_value() {
        let is = |text: &str, value: serde_json::Value| parse(text).is_ok_and(|json| json == value);
        assert!(is("1.0", json!(1)));
        assert!(is("-1", json!(-1)));
        assert!(is(r#"{"b":[1e0],"a":null}"#, json!({"a": null, "b": [1]})));
        assert!(!is("9007199254740993", json!(9_007_199_254_740_992_u64)));
        assert!(!is("\"1\"", json!(1)));
    }
}
