//! One proof (RFC 9449, section 4): a JWT that is signed with the key that it shows.

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

/// Maximum distance in seconds between the time of a proof and ours: 5 minutes (SEP-1932; RFC 9449, section
/// 11.1 leaves it open).
pub(super) const WINDOW_S: u32 = 300;

/// Signature algorithms for proofs, as challenges name them: none with a shared secret.
pub const ALGORITHMS: &str = "ES256 ES384 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512";

/// The longest proof, in bytes. With an RSA key of 8,192 bits one has half of that.
const LONGEST: usize = 8 << 10;

/// The longest `jti`. It only has to be unique: a UUID has 36 bytes.
const LONGEST_ID: usize = 512;

/// Members of a private or secret key (RFC 7518, section 6). Who sends one has given it away.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The fault of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProofFault {
    /// A token is shown as `DPoP`, and there is none.
    Missing,
    /// There are several.
    Several,
    /// There is one beside a bearer token: what it is to prove is not clear.
    BesideBearer,
    /// It is not a JWT of the shape of a proof.
    Malformed(&'static str),
    /// Its `typ` is not `dpop+jwt`.
    Type,
    /// Its `alg` is none of [`ALGORITHMS`].
    Algorithm,
    /// Its `jwk` is not a public key for its `alg`.
    Key,
    /// Its signature is not by that key.
    Signature,
    /// `htm` is another HTTP method.
    Method,
    /// `htu` is another URL.
    Url,
    /// `iat` is too long ago or ahead.
    Time,
    /// `ath` is not the digest of the token.
    Token,
    /// `nonce` is none of this server's, or too old.
    Nonce,
    /// It was used before.
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

    /// For the operator.
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
    /// The target of the request, as the public knows it.
    pub(super) target: ProofTarget,
    /// The token that it comes with.
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
    /// The nonce that it holds. Not checked here.
    pub(super) nonce: Option<String>,
}

/// Checks a proof: all of section 4.3 but the nonce, and that it is used once. The signature comes
/// last, because it costs most.
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
    /// Far from where counting seconds in `f64` loses any.
    const END: f64 = 253_402_300_799.0;
    let seconds = match claims.get("iat") {
        Some(Json::Number(number)) => number.as_f64(),
        _ => return Err(ProofFault::Malformed("the proof has no `iat`")),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to END")]
    (0.0..=END).contains(&seconds).then(|| seconds.ceil() as u64).ok_or(ProofFault::Time)
}

/// The key that a proof shows, and what it signs with it.
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
        // The header is strict JSON, so that whoever reads it reads the same.
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

/// By its JOSE name, in its exact case.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        // Over Curve25519 alone, so that the name of RFC 9864 means the same.
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
