//! Tokens made to order, good and bad.

use std::collections::BTreeMap;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Somebody who signs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// The algorithm that is used, whatever the header says.
    alg: Algorithm,
    /// The secret, for the HS family.
    secret: Option<String>,
    /// Else the private key, in PEM.
    pem: Option<String>,
    /// The `kid` of the header, unless the token says otherwise.
    kid: Option<String>,
}

/// A token as a table asks for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Who signs.
    signer: String,
    /// Members of the header, over `alg`, `typ` and the signer's `kid`.
    #[serde(default)]
    header: Map<String, Value>,
    /// Members of the header to leave out.
    #[serde(default)]
    header_without: Vec<String>,
    /// The header's text instead.
    header_text: Option<String>,
    /// Claims, over the table's own.
    #[serde(default)]
    claims: Map<String, Value>,
    /// Claims to leave out.
    #[serde(default)]
    without: Vec<String>,
    /// The payload's text instead.
    payload_text: Option<String>,
    /// How the parts are put together. Default: `{header}.{payload}.{signature}`.
    shape: Option<String>,
    /// The part that gets stray trailing bits in its base64.
    stray_bits: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Header,
    Payload,
    Signature,
}

impl Spec {
    /// Makes the token.
    ///
    /// # Errors
    /// Where there is no such signer, or its key is none.
    pub fn make(
        &self,
        signers: &BTreeMap<String, Signer>,
        claims: &Map<String, Value>,
    ) -> anyhow::Result<String> {
        let signer = signers.get(&self.signer).with_context(|| format!("no signer {}", self.signer))?;
        let header = self.header_text.clone().unwrap_or_else(|| self.header(signer));
        let payload = self.payload_text.clone().unwrap_or_else(|| self.payload(claims));
        let header = self.encode(Part::Header, header.as_bytes());
        let payload = self.encode(Part::Payload, payload.as_bytes());
        let signature = signer.sign(format!("{header}.{payload}").as_bytes())?;
        let signature = self.encode(Part::Signature, &signature);
        let shape = self.shape.as_deref().unwrap_or("{header}.{payload}.{signature}");
        Ok(shape
            .replace("{header}", &header)
            .replace("{payload}", &payload)
            .replace("{signature}", &signature))
    }

    fn header(&self, signer: &Signer) -> String {
        let mut header = Map::new();
        header.insert("alg".to_owned(), format!("{:?}", signer.alg).into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(kid) = &signer.kid {
            header.insert("kid".to_owned(), kid.clone().into());
        }
        text(header, &self.header, &self.header_without)
    }

    fn payload(&self, claims: &Map<String, Value>) -> String {
        text(claims.clone(), &self.claims, &self.without)
    }

    fn encode(&self, part: Part, bytes: &[u8]) -> String {
        let mut text = URL_SAFE_NO_PAD.encode(bytes);
        if self.stray_bits == Some(part) {
            assert!(!bytes.len().is_multiple_of(3), "a part of {} bytes has no trailing bits", bytes.len());
            let last = text.pop().unwrap();
            // Of canonical digits the last one is even, so that the next one differs in a stray bit.
            let next = match last {
                'Z' => 'a',
                'z' => '0',
                '9' => '-',
                other => char::from(other as u8 + 1),
            };
            text.push(next);
        }
        text
    }
}

fn text(mut base: Map<String, Value>, over: &Map<String, Value>, without: &[String]) -> String {
    base.extend(over.clone());
    base.retain(|name, _| !without.contains(name));
    Value::Object(base).to_string()
}

impl Signer {
    fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let key = match (&self.secret, &self.pem) {
            (Some(secret), _) => EncodingKey::from_secret(secret.as_bytes()),
            (None, Some(pem)) => match self.alg {
                Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem.as_bytes())?,
                Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes())?,
                _ => EncodingKey::from_rsa_pem(pem.as_bytes())?,
            },
            (None, None) => anyhow::bail!("a signer without a key"),
        };
        Ok(URL_SAFE_NO_PAD.decode(jsonwebtoken::crypto::sign(message, &key, self.alg)?)?)
    }
}
