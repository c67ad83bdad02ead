//! The tool that tells the state of security in numbers.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::audit_entries::each_latest;
use super::{CallerDesk, no_arguments, unavailable};
use witgate_accounts::database::now_ms;
use witgate_accounts::database::summary::AccountSummary;
use witgate_audit::select::{EntryFilter, entry_time};
use witgate_base::breaker::CallerDigest;
use witgate_upstream::caller_tools::{CallerAnswer, CallerQuestion};

/// The most pauses that are counted.
const MOST_PAUSES: usize = 10_000;

impl CallerDesk {
    /// Counts of outcomes of the last day, of pauses, and of what there is in the accounts; and the state of the log.
    pub(super) async fn summary(&self, question: &CallerQuestion) -> CallerAnswer {
        no_arguments(question)?;
        let since = entry_time("24h")?;
        let filter = EntryFilter { since: Some(since.clone()), ..EntryFilter::default() };
        let outcomes = self.read(move |directory| outcomes(directory, &filter)).await?;
        let pauses = self.lockout.list(MOST_PAUSES);
        let pauses = pauses.iter().filter(|locked| locked.rest > Duration::ZERO).count();
        Ok(json!({
            "since": since,
            "outcomes": outcomes,
            "pauses": pauses,
            "accounts": self.accounts_summary(question).await?,
            "audit": self.audit_state(),
        }))
    }

    async fn accounts_summary(&self, question: &CallerQuestion) -> Result<Option<Value>, String> {
        let Some(accounts) = &self.accounts else { return Ok(None) };
        let settings = accounts.settings.clone();
        let source = CallerDigest::of_peer(question.peer);
        let counted = accounts.store.run(source, move |database| database.summary(&settings, now_ms())).await;
        let AccountSummary { users, sessions, logins, keys, keys_near_end } = counted.map_err(unavailable)?;
        Ok(Some(json!({
            "users": users,
            "browser_sessions": sessions,
            "logins": logins,
            "keys": keys,
            "keys_ending_in_30_days": keys_near_end,
        })))
    }

    fn audit_state(&self) -> Option<Value> {
        let state = self.log.state()?;
        Some(json!({
            "available": state.is_available,
            "unsigned_for_s": state.unsigned_for.as_secs(),
            "failing_copies": state.failing_copies.len(),
        }))
    }
}

/// The number of entries with each outcome.
fn outcomes(directory: &Path, filter: &EntryFilter) -> io::Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    each_latest(directory, filter, |_, entry| {
        if let Some(outcome) = entry.get("outcome").and_then(Value::as_str) {
            *counts.entry(outcome.to_owned()).or_default() += 1;
        }
    })?;
    Ok(counts)
}
