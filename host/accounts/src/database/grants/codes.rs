//! Authorization codes (RFC 6749, section 4.1; RFC 7636). A code is valid for a minute, and once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{OptionalExtension as _, Transaction};
use secrecy::SecretString;

use super::refresh_token::RefreshToken;
use super::token::{self, TokenContent};
use super::{
    AccountDatabase, GrantFault, GrantId, GrantTerms, GrantedTokens, MOST_OF_ONE, StoredTerms, reused_event,
    stored,
};
use crate::database::endings::{end, end_together};
use crate::database::sessions::digest_of;
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent};
use crate::random::{self, hex};
use witgate_base::digest::sha256;
use witgate_config::accounts::AccountSettings;

/// The lifetime of a code, in milliseconds.
const LIFETIME_MS: i64 = 60_000;

/// The time after which a code is forgotten. Until then, a second use ends the grant.
const REMEMBERED_MS: i64 = 86_400_000;

/// The time after which an ended grant is forgotten, in milliseconds.
const ENDED_REMEMBERED_MS: i64 = 30 * 86_400_000;

/// The longest life of a grant, in milliseconds: the greatest `refresh_ttl_days`, and a day.
const LONGEST_LIFE_MS: i64 = 366 * 86_400_000;

/// The most grants that a user makes in a minute. A person makes a few.
const MOST_IN_A_MINUTE: i64 = 30;

/// The values that a code is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeTerms {
    /// The redirect URI of the request.
    pub redirect: String,
    /// `code_challenge`, of the method S256.
    pub challenge: String,
}

/// The values that a client shows with a code.
pub struct CodePresentation<'a> {
    /// The code.
    pub code: &'a str,
    /// The id of the client.
    pub client: &'a str,
    /// `redirect_uri`.
    pub redirect: &'a str,
    /// `code_verifier`.
    pub verifier: &'a str,
    /// `resource`, if there is one.
    pub resource: Option<&'a str>,
}

impl AccountDatabase {
    /// Grants access by the consent of a person in this session, and makes its code. None: the session has ended.
    ///
    /// # Errors
    /// `TooMany`, or if the database cannot be written.
    pub fn grant(
        &mut self,
        session: &SecretString,
        terms: &GrantTerms,
        code: &CodeTerms,
        now: i64,
    ) -> Result<Option<SecretString>, AccountsError> {
        let id: GrantId = random::bytes()?;
        let (secret, text) = (random::text()?, random::text()?);
        let recorder = self.recorder.clone();
        let ended = self.change(|transaction, seal| {
            let query = "SELECT method FROM sessions WHERE digest = ?1 AND user = ?2";
            let session = (digest_of(session), &terms.user);
            let method: Option<String> =
                transaction.query_row(query, session, |row| row.get(0)).optional()?;
            let Some(method) = method else { return Ok(None) };
            forget(transaction, now)?;
            is_seldom(transaction, &terms.user, now)?;
            let ended = make_room(transaction, &terms.user, now)?;
            let sealed = seal.seal(&["grants", &hex(&id), "secret"], &secret)?;
            transaction.execute(
                "INSERT INTO grants (id, user, client, client_name, resource, scopes, secret, counter, rotated,
                 created, logged_in, used, method) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?8, ?9, ?8, ?10)",
                (
                    id,
                    &terms.user,
                    &terms.client,
                    &terms.client_name,
                    &terms.resource,
                    terms.scopes.join(" "),
                    sealed,
                    now,
                    terms.logged_in,
                    method,
                ),
            )?;
            let values = (sha256(text.as_bytes()), id, &code.redirect, &code.challenge, now);
            transaction.execute(
                "INSERT INTO codes (digest, grant_id, redirect, challenge, created) VALUES (?1, ?2, ?3, ?4, ?5)",
                values,
            )?;
            recorder.record(transaction, given_event(transaction, terms)?)?;
            Ok::<_, AccountsError>(Some(ended))
        })?;
        let Some(ended) = ended else { return Ok(None) };
        if ended {
            self.publish()?;
        }
        Ok(Some(text.into()))
    }

    /// Exchanges a code for tokens. Only the right client with the right verifier uses it up.
    ///
    /// # Errors
    /// With the reason why there are no tokens.
    pub fn exchange(
        &mut self,
        shown: &CodePresentation<'_>,
        settings: &AccountSettings,
        now: i64,
    ) -> Result<GrantedTokens, GrantFault> {
        let signer = self.signer()?;
        let recorder = self.recorder.clone();
        let outcome = self.change(|transaction, seal| {
            let Some((code, grant)) = found(transaction, seal, shown)? else {
                return Ok(TokenOutcome::Refused(GrantFault::Invalid("code-unknown")));
            };
            if let Err(fault) = judged(&code, &grant, shown) {
                return Ok(TokenOutcome::Refused(fault));
            }
            // Somebody else may have used it first. Only who has the verifier can, so that nobody ends a login with a
            // code from a log.
            if code.is_used && end(transaction, &grant.id, "code-reused", now)? {
                recorder.record(transaction, reused_event(&grant.terms, "code-reused"))?;
                return Ok(TokenOutcome::Ended(GrantFault::Invalid("code-reused")));
            }
            if let Some(reason) = is_over(&code, &grant, now) {
                return Ok(TokenOutcome::Refused(GrantFault::Invalid(reason)));
            }
            let Some(user) = Self::user_of(transaction, &grant.terms)? else {
                return Ok(TokenOutcome::Refused(GrantFault::Invalid("user-disabled")));
            };
            if grant.is_too_weak(settings, &user) {
                return Ok(TokenOutcome::Refused(GrantFault::Invalid("second-factor-missing")));
            }
            transaction.execute("UPDATE codes SET used = ?2 WHERE digest = ?1", (code.digest, now))?;
            transaction.execute(
                "UPDATE grants SET counter = 1, rotated = ?2, used = ?2 WHERE id = ?1",
                (grant.id, now),
            )?;
            let refresh = RefreshToken { grant: grant.id, counter: 1 }.text(&grant.mac());
            let scopes = grant.terms.scopes.clone();
            let parts = TokenContent { grant: &grant, user: &user, scopes, refresh };
            Ok::<_, GrantFault>(TokenOutcome::Issued(token::issue(
                transaction,
                (&signer, settings),
                parts,
                now,
            )?))
        })?;
        self.concluded(outcome)
    }

    /// The tokens of an outcome that is in the database now.
    pub(super) fn concluded(&mut self, outcome: TokenOutcome) -> Result<GrantedTokens, GrantFault> {
        match outcome {
            TokenOutcome::Issued(tokens) => Ok(tokens),
            TokenOutcome::Refused(fault) => Err(fault),
            TokenOutcome::Ended(fault) => {
                self.publish()?;
                Err(fault)
            }
        }
    }
}

/// The outcome of a request for tokens.
pub(super) enum TokenOutcome {
    Issued(GrantedTokens),
    /// Nothing has changed.
    Refused(GrantFault),
    /// The grant has ended because of the request.
    Ended(GrantFault),
}

struct StoredCode {
    digest: [u8; 32],
    redirect: String,
    challenge: String,
    created: i64,
    is_used: bool,
}

fn found(
    transaction: &Transaction<'_>,
    seal: &witgate_base::seal::SealingKey,
    shown: &CodePresentation<'_>,
) -> Result<Option<(StoredCode, StoredTerms)>, AccountsError> {
    let digest = sha256(shown.code.as_bytes());
    let query = "SELECT grant_id, redirect, challenge, created, used FROM codes WHERE digest = ?1";
    let row = transaction.query_row(query, [digest], |row| {
        let used: Option<i64> = row.get(4)?;
        let (redirect, challenge, created) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let code = StoredCode { digest, redirect, challenge, created, is_used: used.is_some() };
        Ok((row.get::<_, GrantId>(0)?, code))
    });
    let Some((id, code)) = row.optional()? else { return Ok(None) };
    Ok(stored(transaction, seal, &id)?.map(|grant| (code, grant)))
}

/// Checks what the client has shown. A wrong value does not use the code up.
fn judged(code: &StoredCode, grant: &StoredTerms, shown: &CodePresentation<'_>) -> Result<(), GrantFault> {
    let refused = |reason| Err(GrantFault::Invalid(reason));
    if shown.client != grant.terms.client {
        return refused("client-mismatch");
    }
    if shown.redirect != code.redirect {
        return refused("redirect-mismatch");
    }
    if !is_verifier(shown.verifier) || challenge_of(shown.verifier) != code.challenge {
        return refused("verifier-mismatch");
    }
    match shown.resource.is_some_and(|resource| resource != grant.terms.resource) {
        true => Err(GrantFault::Resource),
        false => Ok(()),
    }
}

/// The reason why a code is of no use any more.
fn is_over(code: &StoredCode, grant: &StoredTerms, now: i64) -> Option<&'static str> {
    match grant.ended {
        Some(_) => Some("grant-ended"),
        None if code.is_used => Some("code-reused"),
        // A code that seems to be from the future is one from before the clock was set.
        None => ((now - code.created).abs() >= LIFETIME_MS).then_some("code-expired"),
    }
}

/// True if this is a verifier (RFC 7636, section 4.1).
fn is_verifier(text: &str) -> bool {
    let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

/// The challenge of a verifier, by the method S256.
pub(crate) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()))
}

/// Forgets codes, and grants whose last token has expired long ago.
fn forget(transaction: &Transaction<'_>, now: i64) -> Result<(), AccountsError> {
    let (day_ago, long_ago) = (now - REMEMBERED_MS, now - ENDED_REMEMBERED_MS);
    for (statement, time) in [
        ("DELETE FROM codes WHERE created < ?1", day_ago),
        ("DELETE FROM grants WHERE counter = 0 AND created < ?1", day_ago),
        ("DELETE FROM grants WHERE ended < ?1 AND token_end < ?1", long_ago),
        ("DELETE FROM grants WHERE created < ?1 AND token_end < ?1", long_ago - LONGEST_LIFE_MS),
        ("DELETE FROM user_endings WHERE token_end < ?1", long_ago),
    ] {
        transaction.prepare_cached(statement)?.execute([time])?;
    }
    Ok(())
}

/// Refuses a user who has just got many grants: each may become a line in the list of ended logins.
fn is_seldom(transaction: &Transaction<'_>, user: &str, now: i64) -> Result<(), AccountsError> {
    let query = "SELECT count(*) FROM grants WHERE user = ?1 AND created > ?2 AND created <= ?3";
    let lately: i64 = transaction.query_row(query, (user, now - 60_000, now), |row| row.get(0))?;
    if lately < MOST_IN_A_MINUTE { Ok(()) } else { Err(AccountsError::TooMany) }
}

/// Ends the grants of a user that are too many. True: an access token has ended.
fn make_room(transaction: &Transaction<'_>, user: &str, now: i64) -> Result<bool, AccountsError> {
    if end_together(transaction, user, now)? {
        return Ok(true);
    }
    let ended = transaction.execute(
        "UPDATE grants SET ended = ?3, reason = 'too-many' WHERE user = ?1 AND ended IS NULL AND id NOT IN
         (SELECT id FROM grants WHERE user = ?1 AND ended IS NULL ORDER BY used DESC LIMIT ?2)",
        (user, MOST_OF_ONE - 1, now),
    )?;
    Ok(ended > 0)
}

fn given_event(transaction: &Transaction<'_>, terms: &GrantTerms) -> Result<AccountEvent, AccountsError> {
    let query = "SELECT name FROM users WHERE id = ?1";
    let name: String = transaction.query_row(query, [&terms.user], |row| row.get(0))?;
    Ok(AccountEvent {
        client: Some(terms.client.clone()),
        resource: Some(terms.resource.clone()),
        scopes: terms.scopes.clone(),
        ..AccountEvent::now(AccountAction::AccessGiven).about(&terms.user, &name)
    })
}
