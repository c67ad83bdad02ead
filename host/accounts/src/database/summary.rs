//! Counts of what there is in the accounts.

use super::{AccountDatabase, ms};
use crate::error::AccountsError;
use witgate_config::accounts::AccountSettings;

/// The time before its end at which a key is counted as near it, in milliseconds: a month.
const NEAR_MS: i64 = 30 * 86_400_000;

/// Counts of what there is in the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// Users who are not disabled.
    pub users: i64,
    /// Browsers in which somebody is logged in.
    pub sessions: i64,
    /// Logins of clients.
    pub logins: i64,
    /// Keys that users have made.
    pub keys: i64,
    /// Those of them that end within 30 days.
    pub keys_near_end: i64,
}

impl AccountDatabase {
    /// The counts.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn summary(&self, settings: &AccountSettings, now: i64) -> Result<AccountSummary, AccountsError> {
        let count = |query: &str, values: [i64; 2]| {
            self.connection.prepare_cached(query)?.query_row(values, |row| row.get::<_, i64>(0))
        };
        let (keys, keys_near_end) = self.count_keys(now, now + NEAR_MS)?;
        Ok(AccountSummary {
            users: count("SELECT count(*) FROM users WHERE disabled IS NULL AND ?1 < ?2", [0, 1])?,
            sessions: count(
                "SELECT count(*) FROM sessions WHERE created > ?1 AND used > ?2",
                [now - ms(settings.session_ttl), now - ms(settings.session_idle)],
            )?,
            logins: count(
                "SELECT count(*) FROM grants WHERE ended IS NULL AND counter > 0 AND created > ?1 AND used > ?2",
                [now - ms(settings.refresh_ttl), now - ms(settings.refresh_idle)],
            )?,
            keys,
            keys_near_end,
        })
    }
}
