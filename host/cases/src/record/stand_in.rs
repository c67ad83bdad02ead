//! Replacements for credentials and claims. A replacement has the form of the original and is not valid anywhere.
//! Claims on which decisions usually depend are kept; of the others, only the names are.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use url::Url;
use witgate_plugin::{Digest, Scheme};

use super::certificate;
use crate::scheme_name;
use witgate_base::digest::sha256;

/// Claims about issuer, audience, subject, validity, purpose and binding (RFC 7519, 7662, 7800, 8693).
const KEPT: [&str; 15] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "azp",
    "scope",
    "scp",
    "active",
    "token_type",
    "cnf",
    "typ",
];

/// Members of a token's header with a meaning (RFC 7515, 7516, 7797).
const HEADER: [&str; 8] = ["alg", "typ", "kid", "cty", "crit", "b64", "zip", "enc"];

/// The text that replaces a redacted one.
pub(super) const REDACTED: &str = "redacted";

/// Minimum length of the rest after a prefix such as `wg_`. With a shorter rest, it does not count as a prefix.
const SECRET_PART: usize = 16;

/// The digests of credentials, with the number of the replacement for each.
#[derive(Debug, Default)]
pub(super) struct StandIns(HashMap<Digest, usize>);

impl StandIns {
    /// The replacement for the credential `value` in a case.
    pub(super) fn of(&mut self, scheme: Scheme, value: &str, claims: &ClaimRules) -> Value {
        let next = self.0.len() + 1;
        let number = *self.0.entry(sha256(value.as_bytes())).or_insert(next);
        let name = scheme_name(scheme);
        if scheme == Scheme::Certificate {
            return json!({ name: certificate::stand_in(value).unwrap_or_else(|| REDACTED.to_owned()) });
        }
        if scheme == Scheme::Basic {
            return json!({ name: STANDARD.encode(format!("stand-in-{number}:stand-in")) });
        }
        match TokenParts::of(value) {
            Some(token) => {
                let shape = format!("{{header}}.{{payload}}.{}", token.signature(number));
                let [header, payload] = token.texts(claims);
                json!({ "token": {
                    "shown": name, "header_text": header, "payload_text": payload, "shape": shape,
                } })
            }
            None => json!({ name: opaque(value, number) }),
        }
    }
}

/// A text of the same length and with the same prefix.
fn opaque(value: &str, number: usize) -> String {
    let prefix = prefix(value);
    let mut text = format!("{prefix}standin{number}");
    text.extend(std::iter::repeat_n('x', value.len().saturating_sub(text.len())));
    text
}

/// The prefix that names the kind of key: `wg_`, `sk_live_`.
fn prefix(value: &str) -> &str {
    let is_name =
        |part: &str| (1..=10).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic());
    let mut end = 0;
    for part in value.split('_').take(2) {
        if !is_name(part) || value.len() < end + part.len() + 1 + SECRET_PART {
            break;
        }
        end += part.len() + 1;
    }
    value.get(..end).unwrap_or_default()
}

/// A JSON Web Token, or a text with its form.
struct TokenParts {
    header: Map<String, Value>,
    payload: Map<String, Value>,
    /// The length of the signature in bytes.
    length: usize,
}

impl TokenParts {
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut object = || -> Option<Map<String, Value>> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()
        };
        let (header, payload) = (object()?, object()?);
        let signature = parts.next().filter(|_| parts.next().is_none())?;
        Some(Self { header, payload, length: URL_SAFE_NO_PAD.decode(signature).ok()?.len() })
    }

    /// Header and payload, as JSON text.
    fn texts(&self, claims: &ClaimRules) -> [String; 2] {
        let known = self.header.iter().filter(|(name, _)| HEADER.contains(&name.as_str()));
        let header: Map<_, _> = known.map(|(name, value)| (name.clone(), value.clone())).collect();
        [header, claims.object(&self.payload)].map(|object| Value::Object(object).to_string())
    }

    fn signature(&self, number: usize) -> String {
        let bytes = format!("stand-in {number} ").into_bytes();
        URL_SAFE_NO_PAD.encode(bytes.into_iter().cycle().take(self.length).collect::<Vec<_>>())
    }
}

/// The rules for keeping claims.
#[derive(Debug, Default)]
pub(super) struct ClaimRules {
    /// True if all claims are kept.
    everything: bool,
    /// Texts that the answer or the principal contains as well.
    words: BTreeSet<String>,
}

impl ClaimRules {
    pub(super) fn keeping(everything: bool, words: impl IntoIterator<Item = String>) -> Self {
        Self { everything, words: words.into_iter().collect() }
    }

    /// True if claims are written unchanged.
    pub(super) fn are_kept(&self) -> bool {
        self.everything
    }

    /// Redacts the members of an object.
    pub(super) fn object(&self, members: &Map<String, Value>) -> Map<String, Value> {
        let kept = |(name, value): (&String, &Value)| {
            let value = if KEPT.contains(&name.as_str()) { value.clone() } else { self.value(value) };
            (name.clone(), value)
        };
        match self.everything {
            true => members.clone(),
            false => members.iter().map(kept).collect(),
        }
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if self.words.contains(text) || is_plain_url(text) => value.clone(),
            Value::String(_) => REDACTED.into(),
            Value::Number(_) => 0.into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => self.object(members).into(),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    /// Redacts a text: an object keeps its members, a token gets a replacement. None: it is neither.
    pub(super) fn text(&self, text: &str) -> Option<String> {
        if self.everything && TokenParts::of(text).is_none() {
            return Some(text.to_owned());
        }
        if let Ok(Value::Object(members)) = serde_json::from_str(text) {
            return Some(Value::Object(self.object(&members)).to_string());
        }
        let token = TokenParts::of(text)?;
        let [header, payload] = token.texts(self).map(|part| URL_SAFE_NO_PAD.encode(part));
        Some(format!("{header}.{payload}.{}", token.signature(0)))
    }
}

/// True if the text is only a URL of a place.
fn is_plain_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};
    use witgate_plugin::Scheme;

    use super::{ClaimRules, StandIns};

    #[test]
    fn the_stand_in_of_a_key_has_only_its_shape() {
        let mut stand_ins = StandIns::default();
        let claims = ClaimRules::default();
        let key = "wg_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG";
        let of = |stand_ins: &mut StandIns, key: &str| {
            stand_ins.of(Scheme::Header, key, &claims)["header"].as_str().unwrap().to_owned()
        };
        let first = of(&mut stand_ins, key);
        assert!(first.starts_with("wg_standin1x"), "{first}");
        assert_eq!(first.len(), key.len());
        let other = of(&mut stand_ins, &key.replace('A', "B"));
        assert!(other.starts_with("wg_standin2x"), "{other}");
        assert_eq!(of(&mut stand_ins, key), first, "one credential has one stand-in");
        // A short secret with an underscore has no prefix.
        assert!(of(&mut stand_ins, "pass_word").starts_with("standin3"));
    }

    #[test]
    fn only_well_known_claims_of_a_token_are_kept() {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let payload = json!({
            "sub": "ada", "exp": 1, "email": "ada@example.com", "roles": ["user", "secret-club"],
            "phone": 4912345, "home": "https://ada:pw@example.com/", "ok": true,
        });
        let token = format!(
            "{}.{}.{}",
            part(json!({ "alg": "RS256", "kid": "k", "jwk": { "kty": "RSA" } })),
            part(payload),
            URL_SAFE_NO_PAD.encode([7; 256])
        );
        let claims = ClaimRules::keeping(false, ["user".to_owned()]);
        let written = StandIns::default().of(Scheme::Bearer, &token, &claims);
        let kept: Value = serde_json::from_str(written["token"]["payload_text"].as_str().unwrap()).unwrap();
        let expected = json!({
            "sub": "ada", "exp": 1, "email": "redacted", "roles": ["user", "redacted"],
            "phone": 0, "home": "redacted", "ok": true,
        });
        assert_eq!(kept, expected);
        let header: Value = serde_json::from_str(written["token"]["header_text"].as_str().unwrap()).unwrap();
        assert_eq!(header, json!({ "alg": "RS256", "kid": "k" }));
        let signature = written["token"]["shape"].as_str().unwrap().rsplit('.').next().unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(signature.len(), 256);
        assert!(signature.starts_with(b"stand-in 1 stand-in 1 "));
    }
}
