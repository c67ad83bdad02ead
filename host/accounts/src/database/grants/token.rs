//! Access tokens (RFC 9068).

use rusqlite::Transaction;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{AccountDatabase, GrantId, GrantedTokens, StoredTerms};
use crate::database::ms;
use crate::database::users::AccountUser;
use crate::error::AccountsError;
use crate::random::{self, hex};
use witgate_base::signing::Signer;
use witgate_config::accounts::AccountSettings;

/// The type in the header of an access token (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";

/// The claims of an access token.
#[derive(Debug, Serialize)]
struct AccessClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    client_id: &'a str,
    jti: String,
    /// The grant, whose end ends the token.
    sid: String,
    iat: i64,
    exp: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    amr: &'static [&'static str],
    scope: String,
    roles: &'a [String],
}

/// The parts of the tokens of one answer.
pub(super) struct TokenContent<'a> {
    pub(super) grant: &'a StoredTerms,
    pub(super) user: &'a AccountUser,
    pub(super) scopes: Vec<String>,
    pub(super) refresh: SecretString,
}

/// Makes a new access token, and notes its end with the grant.
pub(super) fn issue(
    transaction: &Transaction<'_>,
    (signer, settings): (&Signer, &AccountSettings),
    TokenContent { grant, user, mut scopes, refresh }: TokenContent<'_>,
    now: i64,
) -> Result<GrantedTokens, AccountsError> {
    // A scope that is not offered any more is not granted any more.
    scopes.retain(|scope| settings.scopes.contains_key(scope));
    let end = grant.created + ms(settings.refresh_ttl);
    let (iat, exp) = (now / 1_000, (now + ms(settings.access_ttl)).min(end) / 1_000);
    let update = "UPDATE grants SET issued = max(issued, ?2), token_end = max(token_end, ?3) WHERE id = ?1";
    transaction.prepare_cached(update)?.execute((grant.id, now, exp * 1_000))?;
    let claims = AccessClaims {
        iss: &settings.issuer,
        sub: &user.id,
        aud: &grant.terms.resource,
        client_id: &grant.terms.client,
        jti: random::text()?,
        sid: sid_of(&grant.id),
        iat,
        exp,
        auth_time: grant.terms.logged_in / 1_000,
        amr: grant.method.references(),
        scope: scopes.join(" "),
        roles: &user.roles,
    };
    let access = signer.sign_typed(TYPE, &claims);
    let access = access.map_err(|error| AccountsError::Unavailable(error.to_string()))?;
    Ok(GrantedTokens { access: access.into(), refresh, expires_in: exp - iat, scopes })
}

#[derive(Deserialize)]
struct SessionClaim {
    sid: String,
}

impl AccountDatabase {
    /// The grant of a genuine access token, even of an expired one.
    pub(super) fn grant_of_access_token(&self, token: &str) -> Result<Option<GrantId>, AccountsError> {
        let keys = self.public_keys()?;
        let claims: Option<SessionClaim> = keys.iter().find_map(|key| key.claims_of(token));
        Ok(claims.and_then(|claims| id_of(&claims.sid)))
    }
}

/// The id of a grant as in the claim `sid`.
pub fn sid_of(id: &GrantId) -> String {
    hex(id)
}

/// The id of a grant in hexadecimal digits, as in the claim `sid`.
pub fn id_of(text: &str) -> Option<GrantId> {
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}
