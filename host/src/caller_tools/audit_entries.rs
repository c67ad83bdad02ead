//! The tool that lists entries of the audit log.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{CallerDesk, arguments};
use witgate_audit::select::{EntryFilter, entry_time, last_lines, scan};
use witgate_upstream::caller_tools::{CallerAnswer, CallerQuestion};

/// The entries that are looked at, from the end of the log back. That takes about a second.
const LATEST: u64 = 100_000;

/// The most entries of an answer.
const MOST: usize = 500;

/// The number of entries if the caller wants none.
const DEFAULT: usize = 50;

/// The most bytes of all entries of an answer.
const MOST_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryArguments {
    since: Option<String>,
    outcome: Option<String>,
    subject: Option<String>,
    limit: Option<usize>,
}

impl CallerDesk {
    /// The latest entries that fulfil the conditions, in order.
    pub(super) async fn list_entries(&self, question: &CallerQuestion) -> CallerAnswer {
        let form =
            "`since`, `outcome` and `subject`, which are texts, and `limit`, a number. All are optional";
        let EntryArguments { since, outcome, subject, limit } = arguments(question, form)?;
        let members = [("outcome", outcome), ("subject", subject)];
        let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let since = since.map(|since| entry_time(&since)).transpose()?;
        let filter = EntryFilter { members: members.collect(), since, until: None };
        let most = limit.unwrap_or(DEFAULT).clamp(1, MOST);
        let events = self.read(move |directory| latest(directory, &filter, most)).await?;
        Ok(json!({ "events": events.ok_or("There is no audit log here")? }))
    }

    /// Reads the audit log on a thread that may block, one reader after the other. None: there is no log.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<Option<T>, String> {
        let Some(directory) = self.entries.clone() else { return Ok(None) };
        let place = Arc::clone(&self.reader).acquire_owned().await;
        let work = move || {
            // The reader keeps its place if nobody waits for it any more.
            let _place = place;
            read(&directory)
        };
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "the audit log cannot be read");
            "The audit log cannot be read".to_owned()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(found) => found.map(Some).map_err(|error| failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

fn latest(directory: &Path, filter: &EntryFilter, most: usize) -> io::Result<Vec<Value>> {
    let mut found: VecDeque<(usize, Value)> = VecDeque::new();
    let mut bytes = 0;
    each_latest(directory, filter, |line, entry| {
        bytes += line.len();
        found.push_back((line.len(), entry.clone()));
        while found.len() > most || bytes > MOST_BYTES {
            let Some((length, _)) = found.pop_front() else { break };
            bytes -= length;
        }
    })?;
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

/// Passes the latest entries that `filter` admits to `take`, in order. False: there are older ones.
pub(super) fn each_latest(
    directory: &Path,
    filter: &EntryFilter,
    mut take: impl FnMut(&str, &Value),
) -> io::Result<bool> {
    let (_, next) = last_lines(directory, 1)?;
    let from = next.saturating_sub(LATEST);
    scan(directory, from, filter, |line, entry| {
        take(line, entry);
        ControlFlow::Continue(())
    })?;
    Ok(from == 0)
}
