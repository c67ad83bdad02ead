//! The ends of grants, as statements within a change.

use rusqlite::{OptionalExtension as _, Transaction};

use super::derived::LEEWAY_MS;
use crate::error::AccountsError;

/// The most ended logins of one user that the list names one by one. With a further one, all tokens of the user from
/// before that moment end together, in one line.
const MOST_LISTED: i64 = 200;

/// Ends all grants of a user.
pub(super) fn end_all(
    transaction: &Transaction<'_>,
    user: &str,
    reason: &'static str,
    now: i64,
) -> Result<usize, AccountsError> {
    let values = (user, now, reason);
    Ok(transaction
        .execute("UPDATE grants SET ended = ?2, reason = ?3 WHERE user = ?1 AND ended IS NULL", values)?)
}

/// Ends one grant.
pub(super) fn end(
    transaction: &Transaction<'_>,
    id: &[u8; 16],
    reason: &'static str,
    now: i64,
) -> Result<bool, AccountsError> {
    let values = (id, now, reason);
    let ended = transaction
        .execute("UPDATE grants SET ended = ?2, reason = ?3 WHERE id = ?1 AND ended IS NULL", values)?;
    Ok(ended > 0)
}

/// Ends all tokens of a user together if too many of their ended logins are listed, so that nobody can make the list
/// long. True: they have ended.
pub(super) fn end_together(
    transaction: &Transaction<'_>,
    user: &str,
    now: i64,
) -> Result<bool, AccountsError> {
    let query =
        "SELECT count(*) FROM grants WHERE user = ?1 AND ended IS NOT NULL AND counter > 0 AND covered = 0
                 AND token_end > ?2";
    let listed: i64 = transaction.query_row(query, (user, now - LEEWAY_MS), |row| row.get(0))?;
    if listed < MOST_LISTED {
        return Ok(false);
    }
    end_all(transaction, user, "too-many", now)?;
    // A token may be from a time when the clock was ahead.
    let query = "SELECT max(issued), max(token_end) FROM grants WHERE user = ?1 AND covered = 0";
    let newest = transaction.query_row(query, [user], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (issued, token_end): (Option<i64>, Option<i64>) = newest.unwrap_or_default();
    // `iat` has whole seconds, so that a token of this second is before the next one.
    let before = (issued.unwrap_or(now).max(now) / 1_000 + 1) * 1_000;
    transaction.execute(
        "INSERT INTO user_endings (user, before, token_end) VALUES (?1, ?2, ?3)
         ON CONFLICT (user) DO UPDATE SET before = max(before, ?2), token_end = max(token_end, ?3)",
        (user, before, token_end.unwrap_or(now)),
    )?;
    transaction.execute("UPDATE grants SET covered = 1 WHERE user = ?1", [user])?;
    Ok(true)
}
