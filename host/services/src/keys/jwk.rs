//! One JSON Web Key (RFC 7517, section 4), read strictly: its permitted use, and the key itself.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Jose, DecodingKey};
use witgate_plugin::json::{self, Json, Object};

/// The permitted modulus of an RSA key, in bits. Shorter ones are insecure (RFC 7518, section 3.3), and longer ones
/// only cost time.
pub(super) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

pub(super) const RSA: [Jose; 6] =
    [Jose::RS256, Jose::RS384, Jose::RS512, Jose::PS256, Jose::PS384, Jose::PS512];

/// Members that only private and symmetric keys have (RFC 7518, section 6; RFC 8037, section 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The reason for skipping a key of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// It is not one JSON object without duplicate members.
    #[error("it is not a JSON object without duplicate members")]
    NotStrict,
    /// It contains a secret, so everybody who has read it can sign.
    #[error("it contains private or symmetric key material, which everybody could have read")]
    Private,
    /// By `use` or `key_ops` it is for another purpose, or they contradict each other.
    #[error("its `use` and `key_ops` are not for verifying signatures")]
    OtherUse,
    /// The type or curve is not RSA, P-256, P-384 or Ed25519.
    #[error("its type or curve is not supported")]
    Unsupported,
    /// Its `alg` is not an algorithm for verification with this type of key.
    #[error("its `alg` is not a supported one of its type")]
    Algorithm,
    /// A member is invalid.
    #[error("invalid JWK member `{0}`")]
    Malformed(&'static str),
    /// An RSA key with an unsupported size.
    #[error("it is an RSA key of {0} bits; it has to have 2048 to 8192")]
    RsaSize(usize),
    /// The numbers are not a valid key: the point is not on the curve, or the exponent is weak.
    #[error("its numbers are not a public key")]
    NoKey,
}

/// A key that verifies signatures.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    pub(super) id: Option<String>,
    /// The permitted algorithms, by type, curve and set. They prevent the verification of an HMAC with a public key.
    pub(super) algorithms: Vec<Jose>,
    pub(super) key: DecodingKey,
}

impl VerifyingKey {
    /// A key without an id answers to any.
    pub(super) fn answers_to(&self, key_id: Option<&str>) -> bool {
        match (key_id, self.id.as_deref()) {
            (Some(wanted), Some(own)) => wanted == own,
            (None, _) | (Some(_), None) => true,
        }
    }
}

/// Reads a key.
///
/// # Errors
/// With why it is ignored.
pub(super) fn read(text: &str) -> Result<VerifyingKey, SkipReason> {
    let jwk = json::parse_object(text).map_err(|_| SkipReason::NotStrict)?;
    if PRIVATE.iter().any(|name| member(&jwk, name).is_some()) {
        return Err(SkipReason::Private);
    }
    verifies_signatures(&jwk)?;
    let (algorithms, key) = match string(&jwk, "kty")? {
        Some("RSA") => (RSA.to_vec(), rsa(&jwk)?),
        Some("EC") => ec(&jwk)?,
        Some("OKP") => (vec![Jose::EdDSA], ed25519(&jwk)?),
        _ => return Err(SkipReason::Unsupported),
    };
    let id = string(&jwk, "kid")?.map(str::to_owned);
    Ok(VerifyingKey { id, algorithms: narrowed(&jwk, algorithms)?, key })
}

/// Sections 4.2 and 4.3: where both `use` and `key_ops` are there, they have to agree.
fn verifies_signatures(jwk: &Object<'_>) -> Result<(), SkipReason> {
    let usage = string(jwk, "use")?;
    if usage.is_some_and(|usage| usage != "sig") {
        return Err(SkipReason::OtherUse);
    }
    let Some(operations) = operations(jwk)? else { return Ok(()) };
    let encrypts = ["encrypt", "decrypt", "wrapKey", "unwrapKey", "deriveKey", "deriveBits"];
    let contradicts = usage.is_some() && operations.iter().any(|one| encrypts.contains(one));
    match operations.contains(&"verify") && !contradicts {
        true => Ok(()),
        false => Err(SkipReason::OtherUse),
    }
}

/// A list of texts that are all different. Those that nobody knows are allowed.
fn operations<'j>(jwk: &'j Object<'_>) -> Result<Option<Vec<&'j str>>, SkipReason> {
    const MALFORMED: SkipReason = SkipReason::Malformed("key_ops");
    let items = match member(jwk, "key_ops") {
        None => return Ok(None),
        Some(Json::Array(items)) => items,
        Some(_) => return Err(MALFORMED),
    };
    let all: Vec<&str> = items.iter().map(Json::as_str).collect::<Option<_>>().ok_or(MALFORMED)?;
    let mut different = all.clone();
    different.sort_unstable();
    different.dedup();
    if different.len() == all.len() { Ok(Some(all)) } else { Err(MALFORMED) }
}

/// By `alg` a key says that it is for one algorithm only.
fn narrowed(jwk: &Object<'_>, algorithms: Vec<Jose>) -> Result<Vec<Jose>, SkipReason> {
    let only: Jose = match string(jwk, "alg")? {
        None => return Ok(algorithms),
        // The name of RFC 9864.
        Some("Ed25519") => Jose::EdDSA,
        Some(name) => name.parse().map_err(|_| SkipReason::Algorithm)?,
    };
    if algorithms.contains(&only) { Ok(vec![only]) } else { Err(SkipReason::Algorithm) }
}

fn rsa(jwk: &Object<'_>) -> Result<DecodingKey, SkipReason> {
    let (n, e) = (number(jwk, "n")?, number(jwk, "e")?);
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(SkipReason::RsaSize(bits));
    }
    // With an exponent of one, every text signs itself.
    let sound = e.last().is_some_and(|last| last % 2 == 1) && e != [1];
    let components = RsaPublicKeyComponents { n: &n, e: &e };
    if !sound || components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_err() {
        return Err(SkipReason::NoKey);
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn ec(jwk: &Object<'_>) -> Result<(Vec<Jose>, DecodingKey), SkipReason> {
    let (algorithm, length, curve): (_, _, &'static dyn VerificationAlgorithm) = match string(jwk, "crv")? {
        Some("P-256") => (Jose::ES256, 32, &ECDSA_P256_SHA256_FIXED),
        Some("P-384") => (Jose::ES384, 48, &ECDSA_P384_SHA384_FIXED),
        _ => return Err(SkipReason::Unsupported),
    };
    // An uncompressed point of SEC 1, section 2.3.3.
    let point = [vec![4], octets(jwk, "x", length)?, octets(jwk, "y", length)?].concat();
    ParsedPublicKey::new(curve, &point).map_err(|_| SkipReason::NoKey)?;
    Ok((vec![algorithm], DecodingKey::from_ec_der(&point)))
}

fn ed25519(jwk: &Object<'_>) -> Result<DecodingKey, SkipReason> {
    if string(jwk, "crv")? != Some("Ed25519") {
        return Err(SkipReason::Unsupported);
    }
    let mut point = octets(jwk, "x", 32)?;
    let key = DecodingKey::from_ed_der(&point);
    // The sign of the other coordinate.
    point.last_mut().into_iter().for_each(|last| *last &= 0x7f);
    if SMALL_ORDER.iter().any(|small| small.as_slice() == point) {
        return Err(SkipReason::NoKey);
    }
    Ok(key)
}

/// The points of edwards25519 whose order divides eight, in all their encodings, including those beyond the field.
/// With such a key, some signatures match every message, or every eighth, and RFC 8032 does not forbid them. An array
/// of zeros is one.
pub(super) const SMALL_ORDER: [[u8; 32]; 7] = [
    small_order(0x00, 0x00, 0x00),
    small_order(0x01, 0x00, 0x00),
    small_order(0xec, 0xff, 0x7f),
    small_order(0xed, 0xff, 0x7f),
    small_order(0xee, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// 32 bytes: the first, those in between, and the last.
const fn small_order(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut point = [between; 32];
    let [start, .., end] = &mut point;
    *start = first;
    *end = last;
    point
}

/// A member; `null` counts as absent.
fn member<'j, 'a>(jwk: &'j Object<'a>, name: &str) -> Option<&'j Json<'a>> {
    jwk.get(name).filter(|value| **value != Json::Null)
}

fn string<'j>(jwk: &'j Object<'_>, name: &'static str) -> Result<Option<&'j str>, SkipReason> {
    member(jwk, name).map(|value| value.as_str().ok_or(SkipReason::Malformed(name))).transpose()
}

/// Base64url of exactly `length` bytes (RFC 7518, section 6.2.1.2).
fn octets(jwk: &Object<'_>, name: &'static str, length: usize) -> Result<Vec<u8>, SkipReason> {
    let bytes = decoded(jwk, name)?;
    if bytes.len() == length { Ok(bytes) } else { Err(SkipReason::Malformed(name)) }
}

/// A number of an RSA key, without leading zeros, which some issuers write.
fn number(jwk: &Object<'_>, name: &'static str) -> Result<Vec<u8>, SkipReason> {
    Ok(decoded(jwk, name)?.into_iter().skip_while(|byte| *byte == 0).collect())
}

fn decoded(jwk: &Object<'_>, name: &'static str) -> Result<Vec<u8>, SkipReason> {
    let text = string(jwk, name)?.ok_or(SkipReason::Malformed(name))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| SkipReason::Malformed(name))
}
