//! The kind of a token: an access token, or a token for another purpose that looks like one (RFC 8725, sections
//! 2.8 and 3.11).

use witgate_plugin::json::Json;
use witgate_plugin::{Claims, Refusal};

/// The type of access tokens (RFC 9068, section 2.1).
pub(crate) const ACCESS_TOKEN: &str = "at+jwt";

/// The required claims of a token of that type (RFC 9068, section 2.2).
pub(crate) const ACCESS_TOKEN_CLAIMS: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];

/// True if `typ` is the type `wanted`. Case does not matter, and `application/` may be before it (RFC 7515,
/// section 4.1.9).
pub(crate) fn is_type(typ: &str, wanted: &str) -> bool {
    bare(typ).eq_ignore_ascii_case(bare(wanted))
}

/// True if this media type is one of tokens.
pub(crate) fn is_token(typ: &str) -> bool {
    let typ = bare(typ).to_ascii_lowercase();
    typ == "jwt" || typ.ends_with("+jwt")
}

/// True if `typ` names a kind of token that is not for access, such as `logout+jwt` and `dpop+jwt`. The type
/// `JWT` alone names no kind.
pub(crate) fn is_for_other_purposes(typ: &str) -> bool {
    is_token(typ) && !is_type(typ, "JWT") && !is_type(typ, ACCESS_TOKEN)
}

/// Refuses a genuine token whose claims show that it is an ID token, or a token for another purpose.
///
/// In OpenID Connect, ID tokens have no type of their own; only their claims distinguish them. A `nonce`
/// without scopes marks an ID token. Some servers write a `nonce` into access tokens, but those have scopes.
/// With `have_at_hash`, `at_hash` and `nonce` mark nothing, because the issuer writes them into access tokens
/// as well; only a hash of the code or the state still marks an ID token.
pub(crate) fn judge(claims: &Claims<'_>, have_at_hash: bool) -> Result<(), Refusal> {
    let has_claim = |name: &str| claims.get(name).is_some();
    // An empty claim contains no scope.
    let has_scopes = |name: &str| match claims.get(name) {
        Some(Json::String(scopes)) => !scopes.trim().is_empty(),
        Some(Json::Array(scopes)) => !scopes.is_empty(),
        _ => false,
    };
    let has_scopes = has_scopes("scope") || has_scopes("scp");
    let is_id_token = has_claim("c_hash")
        || has_claim("s_hash")
        || (!have_at_hash && (has_claim("at_hash") || (has_claim("nonce") && !has_scopes)));
    // A logout token or another security event (RFC 8417, section 2.2).
    let is_event = has_claim("events");
    match is_id_token || is_event || claims.say_other_purpose() {
        true => Err(Refusal::new("wrong-type", "the token's claims show that it is not an access token")),
        false => Ok(()),
    }
}

fn bare(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        _ => typ,
    }
}
