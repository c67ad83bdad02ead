//! A token, free or bound to a key, and proofs of possession of that key (DPoP, RFC 9449).

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Deserialize;
use serde_json::json;
use witgate_base::digest::sha256;

use crate::scene::{HELD, RESOURCE};

/// The keys of the tables of cases. They protect nothing.
#[derive(Deserialize)]
struct Tables {
    keys: toml::Table,
    signers: toml::Table,
}

/// An issuer of tokens with an RSA key, and a holder of an EC key.
pub(crate) struct Signers {
    /// The public key of the issuer, as PEM.
    pub(crate) public: String,
    issuer: EncodingKey,
    holder: EncodingKey,
}

impl Signers {
    pub(crate) fn new() -> Self {
        let tables: Tables = toml::from_str(include_str!("../../../tests/cases/jwt.toml")).unwrap();
        let private = |name: &str| tables.signers[name]["pem"].as_str().unwrap().as_bytes();
        Self {
            public: tables.keys["rsa"]["pem"].as_str().unwrap().to_owned(),
            issuer: EncodingKey::from_rsa_pem(private("rs256")).unwrap(),
            holder: EncodingKey::from_ec_pem(private("es256")).unwrap(),
        }
    }

    /// A bearer token: valid for everybody who has it.
    pub(crate) fn free_token(&self) -> String {
        self.token(json!({}))
    }

    /// A token that is bound to the key of the holder.
    pub(crate) fn bound_token(&self) -> String {
        self.token(json!({ "jkt": self.jwk().thumbprint(ThumbprintHash::SHA256).unwrap() }))
    }

    fn token(&self, bound_to: serde_json::Value) -> String {
        let mut claims = json!({
            "iss": "https://idp.example.com", "aud": RESOURCE, "sub": "user", "exp": 4_000_000_000_u64,
            "iat": 1_700_000_000, "roles": HELD, "scope": "mcp:tools mcp:resources",
        });
        if bound_to.get("jkt").is_some() {
            claims["cnf"] = bound_to;
        }
        encode(&Header::new(Algorithm::RS256), &claims, &self.issuer).unwrap()
    }

    /// A proof for one request with `token`; `number` makes each proof unique.
    pub(crate) fn proof(&self, token: &str, number: usize) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(self.jwk());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "jti": format!("proof-{number:06}"), "htm": "POST", "htu": RESOURCE, "iat": now,
            "ath": URL_SAFE_NO_PAD.encode(sha256(token.as_bytes())),
        });
        encode(&header, &claims, &self.holder).unwrap()
    }

    fn jwk(&self) -> Jwk {
        Jwk::from_encoding_key(&self.holder, Algorithm::ES256).unwrap()
    }
}
