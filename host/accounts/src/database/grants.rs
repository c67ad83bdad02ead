//! The access of clients: authorization codes, refresh tokens and access tokens, and their end.

mod codes;
mod refresh;
mod refresh_token;
mod token;

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::endings::end;
use super::users::{AccountUser, by_id};
use super::{AccountDatabase, ms, now_ms};
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent, Actor};
use crate::login_method::LoginMethod;
use crate::random::hex;
use witgate_base::seal::{MacKey, SealingKey};
use witgate_config::accounts::AccountSettings;

#[cfg(test)]
pub(crate) use codes::challenge_of;
pub use codes::{CodePresentation, CodeTerms};
pub use refresh::RefreshPresentation;
pub use token::{id_of, sid_of};

/// The most grants of one user. A further one ends the one that was used least recently.
const MOST_OF_ONE: i64 = 100;

/// The time for which a repeated refresh gets the same successor, in milliseconds. Clients refresh several times at
/// once, and lose answers.
const REPEATED_MS: i64 = 30_000;

const DAY_MS: i64 = 86_400_000;

/// The id of a grant.
pub type GrantId = [u8; 16];

/// The access that a person gives to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantTerms {
    /// The id of the user.
    pub user: String,
    /// The id of the client.
    pub client: String,
    /// The name of the client, for people.
    pub client_name: String,
    /// The resource of the tokens.
    pub resource: String,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The time at which the person logged in, in milliseconds since 1970.
    pub logged_in: i64,
}

/// Tokens for a client.
#[derive(Debug)]
pub struct GrantedTokens {
    /// The access token.
    pub access: SecretString,
    /// The refresh token.
    pub refresh: SecretString,
    /// Seconds until the access token expires.
    pub expires_in: i64,
    /// The scopes of the access token.
    pub scopes: Vec<String>,
}

/// The reason why a client gets no tokens.
#[derive(Debug, thiserror::Error)]
pub enum GrantFault {
    /// The code or refresh token is not valid. The text is a code for the log.
    #[error("the grant is not valid ({0})")]
    Invalid(&'static str),
    /// A scope was not granted.
    #[error("a scope was not granted")]
    Scope,
    /// The resource is not that of the grant.
    #[error("the grant is for another resource")]
    Resource,
    /// The accounts cannot be used.
    #[error(transparent)]
    Store(#[from] AccountsError),
}

impl From<rusqlite::Error> for GrantFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A grant that may be shown to its user.
#[derive(Clone, Debug)]
pub struct ClientGrant {
    /// The id.
    pub id: GrantId,
    /// The name of the client.
    pub client_name: String,
    /// The resource.
    pub resource: String,
    /// The time of consent, in milliseconds since 1970.
    pub created: i64,
    /// The time of the last refresh.
    pub used: i64,
}

/// A stored grant.
struct StoredTerms {
    id: GrantId,
    terms: GrantTerms,
    secret: Zeroizing<String>,
    counter: i64,
    rotated: i64,
    created: i64,
    used: i64,
    ended: Option<i64>,
    /// The way in which the person had logged in.
    method: LoginMethod,
}

impl StoredTerms {
    fn mac(&self) -> MacKey {
        MacKey::of(self.secret.as_bytes())
    }

    /// True if the user needs a second factor by now, and has not shown one.
    fn is_too_weak(&self, settings: &AccountSettings, user: &AccountUser) -> bool {
        !self.method.is_strong() && settings.second_factor.is_for(&user.roles)
    }

    /// The reason why the grant is over, by its age.
    fn is_over(&self, settings: &AccountSettings, now: i64) -> Option<&'static str> {
        match self {
            Self { ended: Some(_), .. } => Some("grant-ended"),
            // If the clock was set back by more than a day, nobody knows the age.
            Self { created, .. } if now - created >= ms(settings.refresh_ttl) || created - now > DAY_MS => {
                Some("refresh-expired")
            }
            Self { used, .. } if now - used >= ms(settings.refresh_idle) => Some("refresh-idle"),
            _ => None,
        }
    }
}

impl AccountDatabase {
    /// The grants of a user that have not ended, the last used one first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn grants_of(&self, user: &str) -> Result<Vec<ClientGrant>, AccountsError> {
        let query = "SELECT id, client_name, resource, created, used FROM grants
                     WHERE user = ?1 AND ended IS NULL AND counter > 0 ORDER BY used DESC";
        let mut statement = self.connection.prepare_cached(query)?;
        let rows = statement.query_map([user], |row| {
            let (id, client_name, resource) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(ClientGrant { id, client_name, resource, created: row.get(3)?, used: row.get(4)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The same, without those that are too old to get further tokens.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_grants_of(
        &self,
        user: &str,
        settings: &AccountSettings,
        now: i64,
    ) -> Result<Vec<ClientGrant>, AccountsError> {
        let lives = |grant: &ClientGrant| {
            now - grant.created < ms(settings.refresh_ttl) && now - grant.used < ms(settings.refresh_idle)
        };
        Ok(self.grants_of(user)?.into_iter().filter(lives).collect())
    }

    /// Ends a grant of a user, in force at once. False: there is no live one.
    ///
    /// # Errors
    /// If the database or the list of ended logins cannot be written.
    pub fn end_grant(
        &mut self,
        user: &str,
        id: GrantId,
        reason: &'static str,
    ) -> Result<bool, AccountsError> {
        self.end_one(id, reason, None, |terms| terms.user == user)
    }

    /// Ends the grant of a token (RFC 7009). A token that is none, or that another client has, changes nothing.
    ///
    /// # Errors
    /// If the database or the list of ended logins cannot be written.
    pub fn revoke(&mut self, token: &str, client: &str) -> Result<bool, AccountsError> {
        let Some(id) = self.grant_of_token(token)? else { return Ok(false) };
        let by = Actor::Client { client: client.to_owned() };
        self.end_one(id, "revoked", Some(by), |terms| terms.client == client)
    }

    /// Ends the grant of a token, whichever client has it. None: it is no token of these accounts. False: its grant has
    /// ended before.
    ///
    /// # Errors
    /// If the database or the list of ended logins cannot be written.
    pub fn revoke_any(&mut self, token: &str) -> Result<Option<bool>, AccountsError> {
        let Some(id) = self.grant_of_token(token)? else { return Ok(None) };
        self.end_one(id, "revoked-by-operator", None, |_| true).map(Some)
    }

    /// The grant of a genuine token, even of an expired one.
    fn grant_of_token(&self, token: &str) -> Result<Option<GrantId>, AccountsError> {
        match self.grant_of_refresh_token(token)? {
            Some(id) => Ok(Some(id)),
            None => self.grant_of_access_token(token),
        }
    }

    fn end_one(
        &mut self,
        id: GrantId,
        reason: &'static str,
        by: Option<Actor>,
        is_meant: impl FnOnce(&GrantTerms) -> bool,
    ) -> Result<bool, AccountsError> {
        let recorder = self.recorder.clone();
        let has_ended = self.change(|transaction, seal| {
            let Some(grant) = stored(transaction, seal, &id)?.filter(|grant| is_meant(&grant.terms)) else {
                return Ok(false);
            };
            let has_ended = end(transaction, &id, reason, now_ms())?;
            if has_ended {
                let event = AccountEvent { by, ..ended_event(&grant.terms, reason) };
                recorder.record(transaction, event)?;
            }
            Ok::<_, AccountsError>(has_ended)
        })?;
        // Also if it had ended before: that may not be in force yet.
        self.publish()?;
        Ok(has_ended)
    }

    /// The user of a session of tokens, with their resource, for the accounts page.
    fn user_of(
        transaction: &Transaction<'_>,
        terms: &GrantTerms,
    ) -> Result<Option<AccountUser>, AccountsError> {
        Ok(by_id(transaction, &terms.user)?.filter(|user| user.disabled.is_none()))
    }
}

fn ended_event(terms: &GrantTerms, reason: &'static str) -> AccountEvent {
    AccountEvent {
        user: Some(terms.user.clone()),
        client: Some(terms.client.clone()),
        ..AccountEvent::now(AccountAction::AccessEnded).because(reason)
    }
}

/// The event of a login whose code or refresh token a client has used again.
fn reused_event(terms: &GrantTerms, reason: &'static str) -> AccountEvent {
    let by = Some(Actor::Client { client: terms.client.clone() });
    AccountEvent { by, ..ended_event(terms, reason) }
}

fn stored(
    connection: &Connection,
    seal: &SealingKey,
    id: &GrantId,
) -> Result<Option<StoredTerms>, AccountsError> {
    let query =
        "SELECT user, client, client_name, resource, scopes, secret, counter, rotated, created, logged_in,
                 used, ended, method FROM grants WHERE id = ?1";
    let mut statement = connection.prepare_cached(query)?;
    let row = statement.query_row([id], |row| {
        let scopes: String = row.get(4)?;
        let terms = GrantTerms {
            user: row.get(0)?,
            client: row.get(1)?,
            client_name: row.get(2)?,
            resource: row.get(3)?,
            scopes: scopes.split_whitespace().map(str::to_owned).collect(),
            logged_in: row.get(9)?,
        };
        let (secret, counter, rotated): (String, _, _) = (row.get(5)?, row.get(6)?, row.get(7)?);
        let method: String = row.get(12)?;
        Ok((terms, secret, counter, rotated, row.get(8)?, row.get(10)?, row.get(11)?, method))
    });
    let Some((terms, sealed, counter, rotated, created, used, ended, method)) = row.optional()? else {
        return Ok(None);
    };
    let method = LoginMethod::of_word(&method);
    let secret = seal.open(&["grants", &hex(id), "secret"], &sealed)?;
    Ok(Some(StoredTerms { id: *id, terms, secret, counter, rotated, created, used, ended, method }))
}
