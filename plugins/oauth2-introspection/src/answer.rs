//! The answer of an introspection (RFC 7662, section 2.2).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use witgate_plugin::{Claims, Refusal, RolesClaim, Scheme, Unavailability};

/// The longest claims, in bytes, that an identity may have.
const LONGEST: usize = 64 << 10;

/// Reads an answer. None: the server calls the token inactive.
///
/// An answer that does not conform to the RFC says nothing about the token.
pub(crate) fn read(text: &str) -> Result<Option<Claims<'_>>, Unavailability> {
    let odd = |detail: &str| Unavailability::new(detail, None);
    let claims = Claims::parse(text).map_err(|_| odd("the server's answer is not a strict JSON object"))?;
    match claims.flag("active") {
        Ok(Some(true)) => Ok(Some(claims)),
        Ok(Some(false)) => Ok(None),
        _ => Err(odd("`active` in the server's answer is neither true nor false")),
    }
}

/// The claims of an identity: the members of the answer. If these are too long, for example with thousands of
/// groups, the claims with the roles are left out. None: the claims are too long even without the roles.
pub(crate) fn passed_on(text: &str, roles: &RolesClaim) -> Option<String> {
    if text.len() <= LONGEST {
        return Some(text.to_owned());
    }
    let mut members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
    for name in roles.starts() {
        members.remove(name);
    }
    serde_json::to_string(&members).ok().filter(|text| text.len() <= LONGEST)
}

/// Refuses tokens that are not access tokens, or came with the wrong scheme. `token_type` may be missing, and some
/// servers write `access_token`. Refresh tokens are active as well, and some servers mark them in another claim.
/// The binding to a key is in `cnf`, and is checked elsewhere.
pub(crate) fn judge_type(claims: &Claims<'_>, scheme: Scheme) -> Result<(), Refusal> {
    let is = |typ: &str, name: &str| typ.eq_ignore_ascii_case(name);
    let fits = |typ: &str| {
        is(typ, "bearer") || is(typ, "access_token") || (is(typ, "dpop") && scheme == Scheme::Dpop)
    };
    if claims.say_other_purpose() {
        return Err(Refusal::new(
            "wrong-type",
            "the server's answer shows that the token is not an access token",
        ));
    }
    match claims.name("token_type")? {
        Some(typ) if !fits(typ) => {
            Err(Refusal::new("wrong-type", "the token's type does not fit the scheme that it came with"))
        }
        _ => Ok(()),
    }
}
