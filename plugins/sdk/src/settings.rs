//! Shapes that the settings of several policies share.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use crate::Scheme;

/// The demand for a proof that the token's holder has the key that it is bound to (RFC 9449). The host checks
/// the proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Dpop {
    /// Proofs are not looked at, and tokens that need one are refused.
    #[default]
    Off,
    /// A token that is bound to a key is shown with a proof, another one as a bearer token.
    Optional,
    /// Every token is bound to a key and shown with a proof.
    Required,
}

impl Dpop {
    /// The ways in which a token may be shown, for [`crate::Wants::schemes`]. Bearer tokens are
    /// wanted also where they are refused, so that the caller hears why.
    pub fn schemes(self) -> Vec<Scheme> {
        match self {
            Self::Off => vec![Scheme::Bearer],
            Self::Optional | Self::Required => vec![Scheme::Dpop, Scheme::Bearer],
        }
    }

    /// True if a token with this scheme is judged.
    pub fn takes(self, scheme: Scheme) -> bool {
        scheme == Scheme::Bearer || (scheme == Scheme::Dpop && self != Self::Off)
    }
}

/// One text or a list of texts.
///
/// ```
/// use witgate_plugin::OneOrMany;
///
/// let [one, many] = [r#""a""#, r#"["a", "b"]"#].map(serde_json::from_str::<OneOrMany>);
/// assert!(one?.has("a") && many?.has("b"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl OneOrMany {
    /// True if it holds `text`.
    pub fn has(&self, text: &str) -> bool {
        self.0.iter().any(|own| own == text)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E>(self, value: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany(vec![value.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        Ok(OneOrMany(texts))
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({ "type": "string", "minLength": 1 });
        json_schema!({ "anyOf": [text, { "type": "array", "items": text, "minItems": 1 }] })
    }
}
