//! What an introspection answer says (RFC 7662, section 2.2).

use witgate_plugin::{Claims, Refusal, Scheme, Unavailability};

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

/// Refuses what is no access token of the kind that was shown: `token_type` may be missing, and some
/// servers write `access_token`. Whether a token is bound to a key, `cnf` says.
pub(crate) fn judge_type(claims: &Claims<'_>, scheme: Scheme) -> Result<(), Refusal> {
    let is = |typ: &str, name: &str| typ.eq_ignore_ascii_case(name);
    let fits = |typ: &str| {
        is(typ, "bearer") || is(typ, "access_token") || (is(typ, "dpop") && scheme == Scheme::Dpop)
    };
    match claims.name("token_type")? {
        Some(typ) if !fits(typ) => {
            Err(Refusal::new("wrong-type", "the token is not of the type that it is shown as"))
        }
        _ => Ok(()),
    }
}
