//! A proof (RFC 9449, section 4): a JWT, signed with the key that it contains.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD; // refuses padding and stray trailing bits
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use witgate_plugin::Digest;
use witgate_plugin::json::{self, Json, Object};

use super::target::ProofTarget;
use witgate_base::digest::sha256;

/// Maximum difference in seconds between the time of a proof and the time of the gateway: 5 minutes (SEP-1932; RFC
/// 9449, section 11.1 leaves it open).
pub(super) const WINDOW_S: u32 = 300;

/// Signature algorithms for proofs, as challenges name them. None of them uses a shared secret.
pub const ALGORITHMS: &str = "ES256 ES384 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512";

/// The longest proof, in bytes. One with an RSA key of 8,192 bits has half of that.
const LONGEST: usize = 8 << 10;

/// The longest `jti`. It only has to be unique; a UUID has 36 bytes.
const LONGEST_ID: usize = 512;

/// Members of a private or secret key (RFC 7518, section 6). A sender of such a key has disclosed it.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The fault of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProofFault {
    /// A token has the scheme `DPoP`, and there is no proof.
    Missing,
    /// There are several proofs.
    Several,
    /// There is a proof together with a bearer token, so its purpose is unclear.
    BesideBearer,
    /// It is not a JWT with the form of a proof.
    Malformed(&'static str),
    /// Its `typ` is not `dpop+jwt`.
    Type,
    /// Its `alg` is not one of [`ALGORITHMS`].
    Algorithm,
    /// Its `jwk` is not a public key for its `alg`.
    Key,
    /// Its signature is not by its key.
    Signature,
    /// `htm` is another HTTP method.
    Method,
    /// `htu` is another URL.
    Url,
    /// `iat` is too far in the past or in the future.
    Time,
    /// `ath` is not the digest of the token.
    Token,
    /// `nonce` is not from this server, or too old.
    Nonce,
    /// The proof was used before.
    Replayed,
}

impl ProofFault {
    /// The reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "dpop-missing",
            Self::Several => "dpop-several",
            Self::BesideBearer => "dpop-beside-bearer",
            Self::Malformed(_) => "dpop-malformed",
            Self::Type => "dpop-type",
            Self::Algorithm => "dpop-algorithm",
            Self::Key => "dpop-key",
            Self::Signature => "dpop-signature",
            Self::Method => "dpop-method",
            Self::Url => "dpop-url",
            Self::Time => "dpop-time",
            Self::Token => "dpop-token",
            Self::Nonce => "dpop-nonce",
            Self::Replayed => "dpop-replayed",
        }
    }

    /// The detail, for the operator.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Missing => "the token is shown as DPoP, and there is no header DPoP",
            Self::Several => "there are several headers DPoP",
            Self::BesideBearer => "there is a header DPoP with a bearer token",
            Self::Malformed(what) => what,
            Self::Type => "`typ` of the proof is not `dpop+jwt`",
            Self::Algorithm => "`alg` of the proof is not a supported asymmetric algorithm",
            Self::Key => "`jwk` of the proof is not a public key for its `alg`",
            Self::Signature => "the proof is not signed with its `jwk`",
            Self::Method => "`htm` of the proof is another HTTP method",
            Self::Url => "`htu` of the proof is not the upstream's `resource`",
            Self::Time => "`iat` of the proof is more than five minutes away",
            Self::Token => "`ath` of the proof is not the digest of the token",
            Self::Nonce => "`nonce` of the proof was not issued in the last minutes",
            Self::Replayed => "the proof was used before",
        }
    }
}

/// The request that a proof has to match.
pub(super) struct ProofTerms<'a> {
    /// The HTTP method of the request.
    pub(super) method: &'a str,
    /// The target of the request, with the public host name.
    pub(super) target: ProofTarget,
    /// The token of the request.
    pub(super) token: &'a str,
    /// The time, in seconds since the Unix epoch.
    pub(super) now: u64,
}

/// The content of a valid proof.
#[derive(Clone, Debug, Default)]
pub(super) struct ProofContent {
    /// The thumbprint of the key (RFC 7638), in base64url.
    pub(super) thumbprint: String,
    /// The id of the proof among those of its key: the digest of `jti`.
    pub(super) id: Digest,
    /// The time of issue, rounded up, in seconds since the Unix epoch.
    pub(super) issued_at: u64,
    /// The nonce in the proof, not yet checked.
    pub(super) nonce: Option<String>,
}

/// Checks everything in section 4.3, except the nonce and that the proof is used only once. The signature is last,
/// because it costs most.
pub(super) fn check(text: &str, expected: &ProofTerms<'_>) -> Result<ProofContent, ProofFault> {
    if text.len() > LONGEST {
        return Err(ProofFault::Malformed("the proof is too long"));
    }
    let (message, signature) = text.rsplit_once('.').ok_or(NOT_COMPACT)?;
    let (header, payload) = message.split_once('.').ok_or(NOT_COMPACT)?;
    let (header, payload) = (decoded(header)?, decoded(payload)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NOT_COMPACT)?;
    let signer = ProofKey::of(&header)?;
    let claims = json::parse_object(&payload).map_err(|_| NOT_AN_OBJECT)?;
    let good = judge(&claims, expected)?;
    signer.verify(message.as_bytes(), &signature)?;
    Ok(ProofContent { thumbprint: signer.thumbprint()?, ..good })
}

const NOT_COMPACT: ProofFault = ProofFault::Malformed("the proof is not a JWS in the compact serialization");
const NOT_AN_OBJECT: ProofFault = ProofFault::Malformed("a part of the proof is not a strict JSON object");

fn decoded(part: &str) -> Result<String, ProofFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| NOT_COMPACT)?;
    String::from_utf8(bytes).map_err(|_| NOT_AN_OBJECT)
}

fn judge(claims: &Object<'_>, expected: &ProofTerms<'_>) -> Result<ProofContent, ProofFault> {
    let id = text(claims, "jti").filter(|id| (1..=LONGEST_ID).contains(&id.len()));
    let id = id.ok_or(ProofFault::Malformed("the proof has no usable `jti`"))?;
    let method = text(claims, "htm").ok_or(ProofFault::Malformed("the proof has no `htm`"))?;
    let url = text(claims, "htu").ok_or(ProofFault::Malformed("the proof has no `htu`"))?;
    let issued_at = issued_at(claims)?;
    if method != expected.method {
        return Err(ProofFault::Method);
    }
    if ProofTarget::of(url).as_ref() != Some(&expected.target) {
        return Err(ProofFault::Url);
    }
    if issued_at.abs_diff(expected.now) > u64::from(WINDOW_S) {
        return Err(ProofFault::Time);
    }
    let token = URL_SAFE_NO_PAD.encode(sha256(expected.token.as_bytes()));
    if text(claims, "ath") != Some(token.as_str()) {
        return Err(ProofFault::Token);
    }
    let nonce = text(claims, "nonce").map(str::to_owned);
    Ok(ProofContent { thumbprint: String::new(), id: sha256(id.as_bytes()), issued_at, nonce })
}

/// `iat` may have a fraction (RFC 7519, section 2).
fn issued_at(claims: &Object<'_>) -> Result<u64, ProofFault> {
    /// Far below the values at which `f64` cannot count seconds exactly.
    const END: f64 = 253_402_300_799.0;
    let seconds = match claims.get("iat") {
        Some(Json::Number(number)) => number.as_f64(),
        _ => return Err(ProofFault::Malformed("the proof has no `iat`")),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to END")]
    (0.0..=END).contains(&seconds).then(|| seconds.ceil() as u64).ok_or(ProofFault::Time)
}

/// The key of a proof, and its algorithm.
struct ProofKey {
    algorithm: Algorithm,
    jwk: Jwk,
    key: DecodingKey,
}

impl ProofKey {
    fn of(header: &str) -> Result<Self, ProofFault> {
        #[derive(Deserialize)]
        struct ProofHeader {
            jwk: Jwk,
        }
        let members = json::parse_object(header).map_err(|_| NOT_AN_OBJECT)?;
        if members.get("crit").is_some() {
            return Err(ProofFault::Malformed("the proof has `crit`, and no extension is understood"));
        }
        if text(&members, "typ") != Some("dpop+jwt") {
            return Err(ProofFault::Type);
        }
        let algorithm = text(&members, "alg").and_then(algorithm).ok_or(ProofFault::Algorithm)?;
        let is_public = |jwk: &Object<'_>| PRIVATE.iter().all(|name| jwk.get(name).is_none());
        if !members.get("jwk").and_then(Json::as_object).is_some_and(is_public) {
            return Err(ProofFault::Key);
        }
        // The header is strict JSON, so all readers read it in the same way.
        let ProofHeader { jwk } = serde_json::from_str(header).map_err(|_| ProofFault::Key)?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| ProofFault::Key)?;
        let is_symmetric = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
        if is_symmetric || key.family() != algorithm.family() {
            return Err(ProofFault::Key);
        }
        Ok(Self { algorithm, jwk, key })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), ProofFault> {
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key);
        let verifier = verifier.map_err(|_| ProofFault::Key)?;
        verifier.verify(message, &signature.to_vec()).map_err(|_| ProofFault::Signature)
    }

    fn thumbprint(&self) -> Result<String, ProofFault> {
        self.jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| ProofFault::Key)
    }
}

/// The algorithm with this JOSE name. Case matters.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        // Only over Curve25519, so that it means the same as `Ed25519` (RFC 9864).
        "EdDSA" | "Ed25519" => Some(Algorithm::EdDSA),
        "PS256" => Some(Algorithm::PS256),
        "PS384" => Some(Algorithm::PS384),
        "PS512" => Some(Algorithm::PS512),
        "RS256" => Some(Algorithm::RS256),
        "RS384" => Some(Algorithm::RS384),
        "RS512" => Some(Algorithm::RS512),
        _ => None,
    }
}

fn text<'o>(object: &'o Object<'_>, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Json::as_str)
}
