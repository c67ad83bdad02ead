//! Shapes that the settings of several policies share.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use crate::Scheme;

/// The use of DPoP proofs (RFC 9449), by which callers prove that they have the key that their token is bound to. The
/// host checks the proofs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Dpop {
    /// Proofs are ignored, and tokens that need one are refused.
    #[default]
    Off,
    /// A token that is bound to a key needs a proof; any other token is a bearer token.
    Optional,
    /// Every token has to be bound to a key, and needs a proof.
    Required,
}

impl Dpop {
    /// The schemes of tokens, for [`crate::Wants::schemes`]. They contain bearer tokens even if
    /// those are refused, so that the caller gets the reason.
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
    /// True if it contains `text`.
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
