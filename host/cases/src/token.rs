//! Tokens for cases, valid and invalid ones.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use witgate_plugin::Scheme;

/// A signer of tokens, with `secret` or `pem`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Signer")]
pub(super) struct TokenSigner {
    /// The algorithm, even if a header names another one.
    alg: Alg,
    /// The secret, for the HS family.
    secret: Option<String>,
    /// Otherwise the private key, in PEM.
    pem: Option<String>,
    /// The `kid` of the header, unless a token has another one.
    kid: Option<String>,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("alg", &self.alg).finish_non_exhaustive()
    }
}

/// The name of an algorithm (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) enum Alg {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl From<Alg> for Algorithm {
    fn from(alg: Alg) -> Self {
        match alg {
            Alg::HS256 => Self::HS256,
            Alg::HS384 => Self::HS384,
            Alg::HS512 => Self::HS512,
            Alg::RS256 => Self::RS256,
            Alg::RS384 => Self::RS384,
            Alg::RS512 => Self::RS512,
            Alg::PS256 => Self::PS256,
            Alg::PS384 => Self::PS384,
            Alg::PS512 => Self::PS512,
            Alg::ES256 => Self::ES256,
            Alg::ES384 => Self::ES384,
            Alg::EdDSA => Self::EdDSA,
        }
    }
}

impl From<Alg> for witgate_plugin::Algorithm {
    fn from(alg: Alg) -> Self {
        match alg {
            Alg::HS256 => Self::Hs256,
            Alg::HS384 => Self::Hs384,
            Alg::HS512 => Self::Hs512,
            Alg::RS256 => Self::Rs256,
            Alg::RS384 => Self::Rs384,
            Alg::RS512 => Self::Rs512,
            Alg::PS256 => Self::Ps256,
            Alg::PS384 => Self::Ps384,
            Alg::PS512 => Self::Ps512,
            Alg::ES256 => Self::Es256,
            Alg::ES384 => Self::Es384,
            Alg::EdDSA => Self::EdDsa,
        }
    }
}

/// The description of a token in a case.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// The name of the signer under `[signers]`. It is needed if `shape` contains `{signature}`, here or in the case
    /// of a step.
    signer: Option<String>,
    /// The scheme of the token. Default: `bearer`.
    #[serde(default)]
    shown: Presentation,
    /// Members of the header, merged with `alg`, `typ` and the signer's `kid`.
    #[serde(default)]
    header: Map<String, Value>,
    /// Members that are removed from the header.
    #[serde(default)]
    header_without: Vec<String>,
    /// The header's text, in place of its members.
    header_text: Option<String>,
    /// Claims, merged with the file's.
    #[serde(default)]
    claims: Map<String, Value>,
    /// Claims that are removed.
    #[serde(default)]
    without: Vec<String>,
    /// The payload's text, in place of its claims.
    payload_text: Option<String>,
    /// The composition of the parts. Default: `{header}.{payload}.{signature}`.
    shape: Option<String>,
    /// The part that gets stray trailing bits in its base64.
    stray_bits: Option<TokenPart>,
}

/// The place of a token in a request.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Shown")]
enum Presentation {
    #[default]
    Bearer,
    Dpop,
    Header,
    Argument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Part")]
enum TokenPart {
    Header,
    Payload,
    Signature,
}

impl Spec {
    /// The scheme of the token.
    pub(super) fn scheme(&self) -> Scheme {
        match self.shown {
            Presentation::Bearer => Scheme::Bearer,
            Presentation::Dpop => Scheme::Dpop,
            Presentation::Header => Scheme::Header,
            Presentation::Argument => Scheme::Argument,
        }
    }

    /// Makes the token.
    ///
    /// # Errors
    /// If there is no such signer, or its key is invalid.
    pub(super) fn make(
        &self,
        signers: &BTreeMap<String, TokenSigner>,
        claims: &Map<String, Value>,
    ) -> Result<String, String> {
        let shape = self.shape.as_deref().unwrap_or("{header}.{payload}.{signature}");
        let signer = self.signer(signers)?;
        let header = self.header_text.clone().unwrap_or_else(|| self.header(signer));
        let payload = self.payload_text.clone().unwrap_or_else(|| self.payload(claims));
        let header = self.encode(TokenPart::Header, header.as_bytes())?;
        let payload = self.encode(TokenPart::Payload, payload.as_bytes())?;
        let whole = shape.replace("{header}", &header).replace("{payload}", &payload);
        if !shape.contains("{signature}") {
            return Ok(whole);
        }
        let signer = signer.ok_or("the token has no signer; write `signer = \"NAME\"`")?;
        let signature = signer.sign(format!("{header}.{payload}").as_bytes());
        let signature = signature.map_err(|error| format!("the signer cannot sign: {error}"))?;
        Ok(whole.replace("{signature}", &self.encode(TokenPart::Signature, &signature)?))
    }

    fn signer<'s>(
        &self,
        signers: &'s BTreeMap<String, TokenSigner>,
    ) -> Result<Option<&'s TokenSigner>, String> {
        let named =
            |name: &String| signers.get(name).ok_or_else(|| format!("there is no `[signers.{name}]`"));
        self.signer.as_ref().map(named).transpose()
    }

    fn header(&self, signer: Option<&TokenSigner>) -> String {
        let mut header = Map::new();
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(TokenSigner { alg, kid, .. }) = signer {
            header.insert("alg".to_owned(), format!("{alg:?}").into());
            header.extend(kid.iter().map(|kid| ("kid".to_owned(), kid.clone().into())));
        }
        text(header, &self.header, &self.header_without)
    }

    fn payload(&self, claims: &Map<String, Value>) -> String {
        text(claims.clone(), &self.claims, &self.without)
    }

    fn encode(&self, part: TokenPart, bytes: &[u8]) -> Result<String, String> {
        let mut text = URL_SAFE_NO_PAD.encode(bytes);
        if self.stray_bits != Some(part) {
            return Ok(text);
        }
        let last = text.pop().filter(|_| !bytes.len().is_multiple_of(3));
        let Some(last) = last else {
            return Err(format!("`stray_bits`: a part of {} bytes has no trailing bits", bytes.len()));
        };
        text.push(after(last));
        Ok(text)
    }
}

/// The next digit of base64url. The last canonical digit is even here, so the next one differs in a stray bit.
fn after(digit: char) -> char {
    match digit {
        'Z' => 'a',
        'z' => '0',
        '9' => '-',
        other => char::from_u32(u32::from(other) + 1).unwrap_or(other),
    }
}

fn text(mut base: Map<String, Value>, over: &Map<String, Value>, without: &[String]) -> String {
    base.extend(over.clone());
    base.retain(|name, _| !without.contains(name));
    Value::Object(base).to_string()
}

impl TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let said = |error: jsonwebtoken::errors::Error| error.to_string();
        let key = match (&self.secret, &self.pem) {
            (Some(secret), None) => EncodingKey::from_secret(secret.as_bytes()).map_err(said)?,
            (None, Some(pem)) => match self.alg {
                Alg::ES256 | Alg::ES384 => EncodingKey::from_ec_pem(pem.as_bytes()).map_err(said)?,
                Alg::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()).map_err(said)?,
                _ => EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(said)?,
            },
            _ => return Err("write either `secret` or `pem`".to_owned()),
        };
        let signature = jsonwebtoken::crypto::sign(message, &key, self.alg.into()).map_err(said)?;
        URL_SAFE_NO_PAD.decode(signature).map_err(|error| error.to_string())
    }
}
