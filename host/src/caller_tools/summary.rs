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
        let from = since.clone();
        let counted = self.read(move |directory| outcomes(directory, from)).await?;
        let pauses = self.lockout.list(MOST_PAUSES);
        let pauses = pauses.iter().filter(|locked| locked.rest > Duration::ZERO).count();
        Ok(json!({
            "since": since,
            "outcomes": counted.as_ref().map(|counted| &counted.outcomes),
            "complete": counted.as_ref().map(|counted| counted.is_complete),
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

/// The number of entries with each outcome, since a time.
struct OutcomeCounts {
    since: String,
    outcomes: BTreeMap<String, u64>,
    /// True if all entries since then were read: an older one was, or the first of the log.
    is_complete: bool,
}

impl OutcomeCounts {
    fn since(since: String) -> Self {
        Self { since, outcomes: BTreeMap::new(), is_complete: false }
    }

    fn add(&mut self, entry: &Value) {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        if text("time").is_some_and(|time| time < self.since.as_str()) {
            self.is_complete = true;
        } else if let Some(outcome) = text("outcome") {
            *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
        }
    }
}

fn outcomes(directory: &Path, since: String) -> io::Result<OutcomeCounts> {
    let mut counts = OutcomeCounts::since(since);
    let is_whole = each_latest(directory, &EntryFilter::default(), |_, entry| counts.add(entry))?;
    counts.is_complete |= is_whole;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_complete_only_if_an_older_entry_was_read() {
        let mut counts = OutcomeCounts::since("2026-11-30T09:00:00.000000Z".to_owned());
        let entry =
            |hour: &str| json!({ "time": format!("2026-11-30T{hour}:00:00.000000Z"), "outcome": "denied" });
        counts.add(&entry("10"));
        assert_eq!((counts.outcomes["denied"], counts.is_complete), (1, false));
        counts.add(&entry("08"));
        assert_eq!((counts.outcomes["denied"], counts.is_complete), (1, true));
    }
}
