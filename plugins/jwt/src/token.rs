//! A token in the compact serialization (RFC 7515, section 7.1), read strictly: canonical base64url
//! without padding, and JSON objects without duplicate members.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD; // refuses padding and stray trailing bits
use witgate_plugin::json::{self, Json, Object};
use witgate_plugin::{Claims, Refusal};

use crate::{Algorithm, kind};

/// Longest token, in bytes of its text. Some issuers write all groups of a user into a token; servers refuse longer
/// header fields.
const LONGEST: usize = 64 * 1024;

/// Longest `kid`, in bytes. The longest ids in use are digests.
const LONGEST_KEY_ID: usize = 1024;

/// Members of a header that change the meaning of the token: critical extensions (RFC 7515, section 4.1.11), a
/// payload that is not encoded (RFC 7797), and members of encrypted tokens (RFC 7516). None of them is supported.
const EXTENSIONS: [&str; 4] = ["crit", "b64", "zip", "enc"];

/// A text that looks like a token: three parts, the first of which is an object in base64url.
pub(crate) struct TokenShape<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    message: &'a str,
}

impl<'a> TokenShape<'a> {
    /// None: the text does not look like a token. Encrypted tokens, of five parts, do not either: the next
    /// policy may have a server that reads them.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        // The beginning of `{` in base64, before a quote or a space, and before the end of a line.
        let object = header.starts_with("ey") || header.starts_with("ew");
        (object && !payload.contains('.')).then_some(Self { header, payload, signature, message })
    }

    pub(crate) fn decode(&self) -> Result<Token<'a>, Refusal> {
        if self.message.len() + self.signature.len() > LONGEST {
            return Err(malformed("the token exceeds 64 KiB"));
        }
        if self.payload.is_empty() || self.signature.is_empty() {
            return Err(malformed("a part of the token is empty"));
        }
        Ok(Token {
            header: text(self.header, "the token's header is not text in base64url")?,
            payload: text(self.payload, "the token's payload is not text in base64url")?,
            signature: bytes(self.signature, "the token's signature is not base64url")?,
            message: self.message,
        })
    }
}

/// A token, decoded.
pub(crate) struct Token<'a> {
    /// The protected header, as JSON text.
    header: String,
    /// The claims, as JSON text.
    pub(crate) payload: String,
    /// The raw signature.
    pub(crate) signature: Vec<u8>,
    /// The signed text.
    pub(crate) message: &'a str,
}

impl Token<'_> {
    pub(crate) fn claims(&self) -> Result<Claims<'_>, Refusal> {
        Claims::parse(&self.payload).map_err(|_| malformed("the token's payload is not a strict JSON object"))
    }

    pub(crate) fn header(&self) -> Result<TokenHeader<'_>, Refusal> {
        let header = json::parse_object(&self.header)
            .map_err(|_| malformed("the token's header is not a strict JSON object"))?;
        if let Some(name) = EXTENSIONS.iter().find(|name| header.get(name).is_some()) {
            return Err(malformed(format!("the token's header has `{name}`, which is not supported")));
        }
        if field(&header, "cty")?.is_some_and(|cty| kind::is_token(&cty)) {
            return Err(malformed("the token contains another token"));
        }
        let key_id = field(&header, "kid")?;
        if key_id.as_ref().is_some_and(|id| id.len() > LONGEST_KEY_ID) {
            return Err(malformed("`kid` in the token's header exceeds 1,024 bytes"));
        }
        Ok(TokenHeader {
            algorithm: field(&header, "alg")?
                .ok_or_else(|| malformed("the token's header has no `alg`"))
                .map(|name| Algorithm::named(&name))?,
            key_id,
            typ: field(&header, "typ")?,
        })
    }
}

/// The members of the header that are used. `jku`, `jwk`, `x5u` and `x5c` are not, because a token does not
/// choose its own key.
pub(crate) struct TokenHeader<'a> {
    /// None: an unknown algorithm.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) key_id: Option<Cow<'a, str>>,
    pub(crate) typ: Option<Cow<'a, str>>,
}

fn field<'a>(header: &Object<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
    match header.get(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(malformed(format!("`{name}` in the token's header is not a string"))),
    }
}

fn text(part: &str, otherwise: &str) -> Result<String, Refusal> {
    String::from_utf8(bytes(part, otherwise)?).map_err(|_| malformed(otherwise))
}

fn bytes(part: &str, otherwise: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(otherwise))
}

fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::new("malformed", detail)
}
