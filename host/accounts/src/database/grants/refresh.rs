//! Refreshes. Each rotates the refresh token; a repetition within [`REPEATED_MS`] gets the same successor; an older token
//! ends the grant (RFC 9700, section 4.14.2).

use super::codes::TokenOutcome;
use super::refresh_token::RefreshToken;
use super::token::{self, TokenContent};
use super::{
    AccountDatabase, GrantFault, GrantId, GrantedTokens, REPEATED_MS, StoredTerms, reused_event, stored,
};
use crate::database::endings::end;
use crate::error::AccountsError;
use witgate_config::accounts::AccountSettings;

/// The values that a client shows to refresh.
#[derive(Clone, Copy)]
pub struct RefreshPresentation<'a> {
    /// The refresh token.
    pub token: &'a str,
    /// The id of the client.
    pub client: &'a str,
    /// The scopes that the client asks for. None: all that were granted.
    pub scopes: Option<&'a [String]>,
    /// `resource`, if there is one.
    pub resource: Option<&'a str>,
}

/// The meaning of a genuine token's counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenTurn {
    /// The token is the newest one.
    Next,
    /// The token was the newest one a moment ago.
    Repeated,
    /// The token was replaced long ago.
    Reused,
    /// The token is newer than the database, which was restored from a copy.
    Unknown,
}

impl TokenTurn {
    fn of(shown: i64, counter: i64, rotated: i64, now: i64) -> Self {
        match shown {
            _ if shown == counter => Self::Next,
            // If the clock was set back a little, a repetition may seem to come before the rotation. If it was set back
            // further, the window would last as long as that.
            _ if shown == counter - 1 && (now - rotated).abs() <= REPEATED_MS => Self::Repeated,
            _ if shown < counter => Self::Reused,
            _ => Self::Unknown,
        }
    }
}

impl AccountDatabase {
    /// Exchanges a refresh token for tokens. One transaction looks the token up and rotates it, also if several
    /// processes get it at the same time.
    ///
    /// # Errors
    /// With the reason why there are no tokens.
    pub fn refresh(
        &mut self,
        shown: RefreshPresentation<'_>,
        settings: &AccountSettings,
        now: i64,
    ) -> Result<GrantedTokens, GrantFault> {
        let (token, code) =
            RefreshToken::parse(shown.token).ok_or(GrantFault::Invalid("refresh-malformed"))?;
        let signer = self.signer()?;
        let recorder = self.recorder.clone();
        let outcome = self.change(|transaction, seal| {
            let refused = |fault| Ok::<_, GrantFault>(TokenOutcome::Refused(fault));
            let grant = stored(transaction, seal, &token.grant)?;
            let Some(grant) = grant.filter(|grant| token.is_genuine(&grant.mac(), &code)) else {
                return refused(GrantFault::Invalid("refresh-unknown"));
            };
            if shown.client != grant.terms.client {
                return refused(GrantFault::Invalid("client-mismatch"));
            }
            if let Some(reason) = grant.is_over(settings, now) {
                return refused(GrantFault::Invalid(reason));
            }
            let turn = TokenTurn::of(
                i64::try_from(token.counter).unwrap_or(i64::MAX),
                grant.counter,
                grant.rotated,
                now,
            );
            match turn {
                TokenTurn::Reused => {
                    if end(transaction, &grant.id, "refresh-reused", now)? {
                        recorder.record(transaction, reused_event(&grant.terms, "refresh-reused"))?;
                    }
                    return Ok(TokenOutcome::Ended(GrantFault::Invalid("refresh-reused")));
                }
                TokenTurn::Unknown => return refused(GrantFault::Invalid("refresh-newer-than-store")),
                TokenTurn::Next | TokenTurn::Repeated => {}
            }
            let scopes = match narrowed(&grant, &shown) {
                Ok(scopes) => scopes,
                Err(fault) => return refused(fault),
            };
            let Some(user) = Self::user_of(transaction, &grant.terms)? else {
                return refused(GrantFault::Invalid("user-disabled"));
            };
            if grant.is_too_weak(settings, &user) {
                return refused(GrantFault::Invalid("second-factor-missing"));
            }
            let mut counter = grant.counter;
            if turn == TokenTurn::Next {
                counter += 1;
                let values = (grant.id, counter, now);
                transaction.execute(
                    "UPDATE grants SET counter = ?2, rotated = ?3, used = ?3 WHERE id = ?1",
                    values,
                )?;
            }
            let counter = u64::try_from(counter).unwrap_or_default();
            let refresh = RefreshToken { grant: grant.id, counter }.text(&grant.mac());
            let parts = TokenContent { grant: &grant, user: &user, scopes, refresh };
            Ok(TokenOutcome::Issued(token::issue(transaction, (&signer, settings), parts, now)?))
        })?;
        self.concluded(outcome)
    }

    /// The grant of a genuine refresh token, even of a former one.
    pub(super) fn grant_of_refresh_token(&self, text: &str) -> Result<Option<GrantId>, AccountsError> {
        let Some((token, code)) = RefreshToken::parse(text) else { return Ok(None) };
        let grant = stored(&self.connection, &self.seal, &token.grant)?;
        Ok(grant.filter(|grant| token.is_genuine(&grant.mac(), &code)).map(|grant| grant.id))
    }
}

/// The scopes of the new access token. They may be fewer than were granted, and never more.
fn narrowed(grant: &StoredTerms, shown: &RefreshPresentation<'_>) -> Result<Vec<String>, GrantFault> {
    if shown.resource.is_some_and(|resource| resource != grant.terms.resource) {
        return Err(GrantFault::Resource);
    }
    let granted = &grant.terms.scopes;
    match shown.scopes {
        None => Ok(granted.clone()),
        Some(wanted) if wanted.iter().all(|scope| granted.contains(scope)) => Ok(wanted.to_vec()),
        Some(_) => Err(GrantFault::Scope),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A token is good if it is the newest one, or was so in the last 30 s, and in no other case.
        #[test]
        fn the_window_is_for_one_token_and_its_time(
            counter in 1_i64..1_000, back in -2_i64..5, age in -100_000_i64..100_000,
        ) {
            let turn = TokenTurn::of(counter - back, counter, 0, age);
            let is_good = matches!(turn, TokenTurn::Next | TokenTurn::Repeated);
            prop_assert_eq!(is_good, back == 0 || (back == 1 && age.abs() <= REPEATED_MS));
            prop_assert_eq!(turn == TokenTurn::Unknown, back < 0);
        }
    }
}
