//! What an introspection answer says (RFC 7662, section 2.2).

use witgate_plugin::{Claims, Refusal, Unavailability};

/// Reads an answer. None: the server calls the token inactive.
///
/// An answer that is not what the RFC asks for says nothing about the token.
pub(crate) fn read(text: &str) -> Result<Option<Claims<'_>>, Unavailability> {
    let odd = |detail: &str| Unavailability::new(detail, None);
    let claims = Claims::parse(text).map_err(|_| odd("the server's answer is not a strict JSON object"))?;
    match claims.flag("active") {
        Ok(Some(true)) => Ok(Some(claims)),
        Ok(Some(false)) => Ok(None),
        _ => Err(odd("`active` in the server's answer is neither true nor false")),
    }
}

/// Refuses what is no access token for a bearer: `token_type` may be missing, and some servers
/// write `access_token`.
pub(crate) fn judge_type(claims: &Claims<'_>) -> Result<(), Refusal> {
    let bearer = |typ: &str| typ.eq_ignore_ascii_case("bearer") || typ.eq_ignore_ascii_case("access_token");
    match claims.name("token_type")? {
        Some(typ) if !bearer(typ) => Err(Refusal::new("wrong-type", "the token is not a bearer token")),
        _ => Ok(()),
    }
}
