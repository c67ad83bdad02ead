//! The kind of a token: an access token, or one that was made for something else and only looks like it (RFC
//! 8725, sections 2.8 and 3.11).

use witgate_plugin::json::Json;
use witgate_plugin::{Claims, Refusal};

/// The type of access tokens (RFC 9068, section 2.1).
pub(crate) const ACCESS_TOKEN: &str = "at+jwt";

/// The required claims of such a token (RFC 9068, section 2.2).
pub(crate) const ACCESS_TOKEN_CLAIMS: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];

/// True if `typ` is the type `wanted`: case does not matter, nor does `application/` before it (RFC 7515,
/// section 4.1.9).
pub(crate) fn is_type(typ: &str, wanted: &str) -> bool {
    bare(typ).eq_ignore_ascii_case(bare(wanted))
}

/// True if something of this media type is a token itself.
pub(crate) fn is_token(typ: &str) -> bool {
    let typ = bare(typ).to_ascii_lowercase();
    typ == "jwt" || typ.ends_with("+jwt")
}

/// True if `typ` names a kind of token that is not for access, such as `logout+jwt` and `dpop+jwt`. A mere
/// `JWT` says nothing.
pub(crate) fn is_for_other_purposes(typ: &str) -> bool {
    is_token(typ) && !is_type(typ, "JWT") && !is_type(typ, ACCESS_TOKEN)
}

/// Refuses a genuine token that by its claims is an ID token or one for still other purposes.
///
/// OpenID Connect gives ID tokens no type of their own; they show by claims that only they have. A
/// `nonce` alone does not tell: some servers write it into access tokens, but those have scopes. Where
/// `have_at_hash`, `at_hash` and `nonce` tell nothing, because the issuer's access tokens are made as its ID tokens
/// are; a hash of the code or the state is still in ID tokens alone.
pub(crate) fn judge(claims: &Claims<'_>, have_at_hash: bool) -> Result<(), Refusal> {
    let has_claim = |name: &str| claims.get(name).is_some();
    // One that is there and names none is no scope.
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
        true => Err(Refusal::new("wrong-type", "the token is not an access token, by its claims")),
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
