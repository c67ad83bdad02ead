//! Answers that the server has signed (RFC 9701). An invalid one says nothing about the token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD; // refuses padding and stray trailing bits
use serde::Deserialize;
use serde_json::value::RawValue;
use witgate_plugin::json::{self, Object};
use witgate_plugin::{Algorithm, Claims, ConfigError, Host, SignedMessage, Unavailability, VerifyError};

use crate::Config;

/// The media type of a signed answer (section 5).
pub(crate) const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// Maximum age of an answer, and maximum lead of the server's clock, in seconds. An answer is new, because the request
/// was just sent.
const LEEWAY_S: f64 = 60.0;

/// The requirements for signed answers.
#[derive(Debug)]
pub(crate) struct Signatures {
    keys: Vec<String>,
    issuer: String,
    client_id: String,
}

impl Signatures {
    /// None: answers are not signed.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, ConfigError> {
        match (&config.issuer, config.answer_keys.as_slice()) {
            (_, []) => Ok(None),
            (None, _) => {
                Err(ConfigError::at("/answer_keys", "needs `issuer`, which a signed answer has to name"))
            }
            (Some(issuer), keys) => Ok(Some(Self {
                keys: keys.to_vec(),
                issuer: issuer.clone(),
                client_id: config.client_id.clone(),
            })),
        }
    }

    /// The plain answer in a signed one.
    pub(crate) async fn open<H: Host>(&self, host: &H, text: &str) -> Result<String, Unavailability> {
        let odd = || odd("is not a JSON Web Token");
        let (message, signature) = text.trim_ascii().rsplit_once('.').ok_or_else(odd)?;
        let (header, payload) = message.split_once('.').ok_or_else(odd)?;
        let header = String::from_utf8(decode(header)?).map_err(|_| odd())?;
        let payload = String::from_utf8(decode(payload)?).map_err(|_| odd())?;
        let header = AnswerHeader::read(&json::parse_object(&header).map_err(|_| odd())?)?;
        let signature = decode(signature)?;
        let signed = SignedMessage {
            algorithm: header.algorithm,
            key_id: header.key_id.as_deref(),
            message: message.as_bytes(),
            signature: &signature,
        };
        self.verify(host, &signed).await?;
        self.judge(host.now(), &payload)?;
        /// The strict parse has verified that the member is not a duplicate.
        #[derive(Deserialize)]
        struct Payload<'a> {
            #[serde(borrow)]
            token_introspection: &'a RawValue,
        }
        let payload: Payload<'_> = serde_json::from_str(&payload).map_err(|_| odd())?;
        Ok(payload.token_introspection.get().to_owned())
    }

    async fn verify<H: Host>(&self, host: &H, signed: &SignedMessage<'_>) -> Result<(), Unavailability> {
        for key in &self.keys {
            match host.verify(key, signed).await {
                Ok(()) => return Ok(()),
                Err(VerifyError::Unavailable) => {
                    return Err(odd("cannot be verified: the host could not fetch the server's keys"));
                }
                Err(_) => {}
            }
        }
        Err(odd("is not from the server: none of `answer_keys` verifies its signature"))
    }

    /// Section 5: `iss`, `aud` and `iat`.
    fn judge(&self, now: u64, payload: &str) -> Result<(), Unavailability> {
        let claims = Claims::parse(payload).map_err(|_| odd("is not strict JSON"))?;
        if claims.name("iss").ok().flatten() != Some(&self.issuer) {
            return Err(odd("is of another issuer"));
        }
        if claims.judge_audience("aud", |audience| audience == self.client_id).is_err() {
            return Err(odd("is for another client"));
        }
        let issued =
            claims.time("iat").ok().flatten().ok_or_else(|| odd("does not say when it was made (`iat`)"))?;
        #[allow(clippy::cast_precision_loss, reason = "times of this millennium are exact")]
        let age = now as f64 - issued;
        match age.abs() <= LEEWAY_S {
            true => Ok(()),
            false => Err(odd("is too old, or from the future")),
        }
    }
}

struct AnswerHeader {
    algorithm: Algorithm,
    key_id: Option<String>,
}

impl AnswerHeader {
    fn read(header: &Object<'_>) -> Result<Self, Unavailability> {
        let text = |name| header.get(name).and_then(|value| value.as_str());
        let typ = text("typ").unwrap_or_default();
        let is_ours = |typ: &str| typ.eq_ignore_ascii_case("token-introspection+jwt");
        if !is_ours(typ) && !typ.eq_ignore_ascii_case(MEDIA_TYPE) {
            return Err(odd("is a token of another kind"));
        }
        if header.get("crit").is_some() {
            return Err(odd("has `crit`, but no extension is supported"));
        }
        let algorithm =
            text("alg").and_then(algorithm).ok_or_else(|| odd("is not signed with an accepted algorithm"))?;
        Ok(Self { algorithm, key_id: text("kid").map(str::to_owned) })
    }
}

/// The algorithm of this name, if it is one of public-key signatures. With a shared secret, the receiver of an answer
/// could have made it.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::Rs256,
        "RS384" => Algorithm::Rs384,
        "RS512" => Algorithm::Rs512,
        "PS256" => Algorithm::Ps256,
        "PS384" => Algorithm::Ps384,
        "PS512" => Algorithm::Ps512,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        "EdDSA" | "Ed25519" => Algorithm::EdDsa,
        _ => return None,
    })
}

fn decode(part: &str) -> Result<Vec<u8>, Unavailability> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| odd("is not base64url"))
}

fn odd(what: &str) -> Unavailability {
    Unavailability::new(format!("the server's signed answer {what}"), None)
}
