//! The key with which Witgate signs identity tokens for upstreams, and its public key set (RFC 7515, RFC 7517). The
//! only algorithm is ES256, so algorithms cannot be confused.

use std::fmt;

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

const ALGORITHM: Algorithm = Algorithm::ES256;

/// The characters in a line of PEM.
const PEM_LINE: usize = 64;

/// A private key, and its issuer.
pub struct Signer {
    issuer: String,
    key: EncodingKey,
    public: PublicKey,
}

/// A public key for the key set. Its `kid` is its thumbprint (RFC 7638), so different keys have different ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Jwk);

/// The error in a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// It is not a private key on P-256.
    #[error("this is not a private key for P-256 in PEM (PKCS #8, `BEGIN PRIVATE KEY`)")]
    Private,
    /// It is not a public key on P-256.
    #[error("this is not a public key for P-256 in PEM (`BEGIN PUBLIC KEY`)")]
    Public,
}

/// The error if a token cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be signed: {0}")]
pub struct SigningError(#[from] jsonwebtoken::errors::Error);

impl Signer {
    /// A signer for `issuer`, with a private key in PEM.
    ///
    /// # Errors
    /// `Private`.
    pub fn new(issuer: String, pem: &SecretString) -> Result<Self, NoKey> {
        let key = EncodingKey::from_ec_pem(pem.expose_secret().as_bytes()).map_err(|_| NoKey::Private)?;
        let public = Jwk::from_encoding_key(&key, ALGORITHM).map_err(|_| NoKey::Private)?;
        let public = PublicKey::named(public).ok_or(NoKey::Private)?;
        Ok(Self { issuer, key, public })
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public key, which is published.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A signed token with these claims.
    ///
    /// # Errors
    /// If randomness or memory is missing.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, SigningError> {
        let header = Header { kid: self.public.0.common.key_id.clone(), ..Header::new(ALGORITHM) };
        Ok(encode(&header, claims, &self.key)?)
    }

    /// The same, with this type in its header.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn sign_typed(&self, typ: &str, claims: &impl Serialize) -> Result<String, SigningError> {
        let kid = self.public.0.common.key_id.clone();
        let header = Header { kid, typ: Some(typ.to_owned()), ..Header::new(ALGORITHM) };
        Ok(encode(&header, claims, &self.key)?)
    }
}

/// A new private key, in PEM. None: the system has no random numbers.
pub fn new_private_key() -> Option<SecretString> {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?;
    let text = Zeroizing::new(STANDARD.encode(der.as_ref()));
    let mut pem = Zeroizing::new("-----BEGIN PRIVATE KEY-----\n".to_owned());
    // Base64 is ASCII, so that each 64 bytes are text.
    for line in text.as_bytes().chunks(PEM_LINE) {
        pem.push_str(std::str::from_utf8(line).ok()?);
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Some(pem.as_str().into())
}

/// Compares issuer and key.
impl PartialEq for Signer {
    fn eq(&self, other: &Self) -> bool {
        (&self.issuer, &self.public) == (&other.issuer, &other.public)
    }
}

impl Eq for Signer {}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("issuer", &self.issuer)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    /// The id of the key.
    pub fn id(&self) -> &str {
        self.0.common.key_id.as_deref().unwrap_or_default()
    }

    /// The claims of a token that this key has signed, even if it has expired. None: the signature is another one.
    pub fn claims_of<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let key = DecodingKey::from_jwk(&self.0).ok()?;
        let mut validation = Validation::new(ALGORITHM);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Some(decode(token, &key, &validation).ok()?.claims)
    }

    /// Reads a public key in PEM.
    ///
    /// # Errors
    /// `Public`, also for a private key, which must not be published.
    pub fn from_pem(pem: &str) -> Result<Self, NoKey> {
        if pem.contains("PRIVATE KEY") {
            return Err(NoKey::Public);
        }
        let key = DecodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| NoKey::Public)?;
        let jwk = Jwk::from_decoding_key(&key, Some(ALGORITHM)).map_err(|_| NoKey::Public)?;
        Self::named(jwk).ok_or(NoKey::Public)
    }

    /// Its point: x and y, 32 bytes each.
    pub fn point(&self) -> Option<Vec<u8>> {
        let AlgorithmParameters::EllipticCurve(key) = &self.0.algorithm else { return None };
        let read = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        Some([read(&key.x)?, read(&key.y)?].concat())
    }

    fn named(mut jwk: Jwk) -> Option<Self> {
        let is_p256 = matches!(&jwk.algorithm, AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256);
        if !is_p256 {
            return None;
        }
        jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).ok()?);
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Some(Self(jwk))
    }
}

/// A key set as a JSON document, without duplicates. None: it is empty.
pub fn key_set<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Option<Vec<u8>> {
    let mut set = JwkSet::default();
    for PublicKey(key) in keys {
        if !set.keys.contains(key) {
            set.keys.push(key.clone());
        }
    }
    serde_json::to_vec(&set).ok().filter(|_| !set.keys.is_empty())
}

/// The published key set, which can be replaced while Witgate runs. None: Witgate signs nothing, and publishes no
/// keys.
#[derive(Debug, Default)]
pub struct PublishedKeys(ArcSwapOption<Bytes>);

impl PublishedKeys {
    /// Replaces the published keys, without duplicates.
    pub fn publish<'a>(&self, keys: impl IntoIterator<Item = &'a PublicKey>) {
        let document = key_set(keys);
        self.0.store(document.map(|document| std::sync::Arc::new(Bytes::from(document))));
    }

    /// The key set as a JSON document.
    pub fn document(&self) -> Option<Bytes> {
        self.0.load().as_deref().cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use witgate_testing::keys::{PRIVATE, PUBLIC};

    /// Keys of other kinds, and other texts.
    const OTHERS: [&str; 4] = [
        "-----BEGIN PRIVATE KEY-----\nMIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAkE8gi00XO9tSL444P\ntAmalcss4I5jKDZYJ7rTNF8bqmRqQLu461PTadRCVyZU2yKhZANiAARAan6KeCEI\nMcaVLwHEqqtunek1Ik7HLZJXopW1tGpcETh6MOW3B7GIJ0KLlif21gQwfu+gPnaN\nN+06ZQGTW+hcqVsTVAhVHiRJfdELkBDAuVl5DL9xWZecc2aSSjCGJ8w=\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIH2CCFt2eMVKGiAnhsnrpLBN1eOtq4XS070xnY2hdY+3\n-----END PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIGHVC4HawsxCfNCErgHGV8GnjYIehje2wYuYead7R5TuoAoGCCqGSM49\nAwEHoUQDQgAECZVvvcA5KuePuW6fOKrQj4Qbk4o0slKKNmV9Ru3Z2WVkYInp6BDj\nNsxQC4sgxK5QvoeXQTcsozw4StxK7EM5BA==\n-----END EC PRIVATE KEY-----\n",
        "no key",
    ];

    fn signer() -> Signer {
        Signer::new("https://mcp.example.com".to_owned(), &PRIVATE.into()).unwrap()
    }

    fn served(set: &PublishedKeys) -> Value {
        serde_json::from_slice(&set.document().unwrap()).unwrap()
    }

    #[test]
    fn signatures_verify_with_the_served_key_set() {
        let (signer, set) = (signer(), PublishedKeys::default());
        assert_eq!(set.document(), None);
        set.publish([signer.public(), signer.public()]);
        let keys = served(&set)["keys"].as_array().unwrap().clone();
        assert_eq!(keys.len(), 1);
        let mut names: Vec<_> = keys[0].as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"], "nothing private");
        let token = signer.sign(&json!({ "sub": "ada", "exp": u32::MAX })).unwrap();
        let key: Jwk = serde_json::from_value(keys[0].clone()).unwrap();
        let read =
            decode::<Value>(&token, &DecodingKey::from_jwk(&key).unwrap(), &Validation::new(ALGORITHM))
                .unwrap();
        assert_eq!((&read.claims["sub"], read.header.kid), (&json!("ada"), key.common.key_id));
    }

    #[test]
    fn the_public_half_has_the_same_id_and_keys_of_other_kinds_are_refused() {
        assert_eq!(PublicKey::from_pem(PUBLIC).as_ref(), Ok(signer().public()));
        assert_eq!(signer().public().point().map(|point| point.len()), Some(64));
        assert_eq!(PublicKey::from_pem(PRIVATE), Err(NoKey::Public));
        for other in OTHERS {
            assert_eq!(Signer::new(String::new(), &other.into()).err(), Some(NoKey::Private), "{other}");
            assert_eq!(PublicKey::from_pem(other), Err(NoKey::Public), "{other}");
        }
        assert_eq!(
            PublicKey::from_pem(
                "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEQGp+inghCDHGlS8BxKqrbp3pNSJOxy2S\nV6KVtbRqXBE4ejDltwexiCdCi5Yn9tYEMH7voD52jTftOmUBk1voXKlbE1QIVR4k\nSX3RC5AQwLlZeQy/cVmXnHNmkkowhifM\n-----END PUBLIC KEY-----\n"
            ),
            Err(NoKey::Public)
        );
    }

    #[test]
    fn a_new_key_signs_and_only_it_verifies() {
        let [own, other] = [(); 2].map(|()| new_private_key().unwrap());
        let own = Signer::new("https://mcp.example.com".to_owned(), &own).unwrap();
        let other = Signer::new("https://mcp.example.com".to_owned(), &other).unwrap();
        assert_ne!(own.public().id(), other.public().id());
        let token = own.sign_typed("at+jwt", &json!({ "sub": "ada", "exp": 1 })).unwrap();
        assert_eq!(own.public().claims_of::<Value>(&token).unwrap()["sub"], "ada");
        assert_eq!(other.public().claims_of::<Value>(&token), None);
        assert_eq!(jsonwebtoken::decode_header(&token).unwrap().typ.as_deref(), Some("at+jwt"));
    }

    #[test]
    fn a_signer_does_not_print_its_key() {
        let printed = format!("{:?}", signer());
        assert!(
            printed.contains("mcp.example.com")
                && !printed.contains("PRIVATE")
                && !printed.contains("EncodingKey"),
            "{printed}"
        );
    }
}
