//! The ends of grants, as statements within a change.

use rusqlite::Transaction;

use crate::error::AccountsError;

/// Ends all grants of a user.
pub(super) fn end_all(
    transaction: &Transaction<'_>,
    user: &str,
    reason: &'static str,
    now: i64,
) -> Result<(), AccountsError> {
    let values = (user, now, reason);
    transaction
        .execute("UPDATE grants SET ended = ?2, reason = ?3 WHERE user = ?1 AND ended IS NULL", values)?;
    Ok(())
}

/// Ends one grant.
pub(super) fn end(
    transaction: &Transaction<'_>,
    id: &[u8; 16],
    reason: &'static str,
    now: i64,
) -> Result<(), AccountsError> {
    let values = (id, now, reason);
    transaction
        .execute("UPDATE grants SET ended = ?2, reason = ?3 WHERE id = ?1 AND ended IS NULL", values)?;
    Ok(())
}
