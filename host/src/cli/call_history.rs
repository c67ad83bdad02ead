//! The calls in the audit log, each once with the number of its decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::Value;
use witgate_audit::select::{EntryFilter, entry_time, scan};
use witgate_plugin::TargetKind;

use super::audit::LogPlace;
use super::context::Context;
use super::lint::coverage::parts;
use super::outcome::CommandFailure;

/// The options that choose the decisions.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryOptions {
    /// Earliest time: a date, a time (RFC 3339, UTC), or a duration before now such as 30d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = entry_time)]
    since: String,
    #[command(flatten)]
    place: LogPlace,
}

/// A caller in the audit log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeenCaller {
    /// The policy that has authenticated them.
    pub(super) proven_by: String,
    pub(super) subject: String,
    pub(super) issuer: Option<String>,
}

/// A call of one target by one caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeenCall {
    pub(super) upstream: String,
    pub(super) caller: SeenCaller,
    /// The target, as in patterns.
    pub(super) target: String,
    /// True if it is surely a tool, whose name may begin like the prefix of another kind.
    pub(super) is_tool: bool,
}

impl SeenCall {
    /// The kind and the name of the target.
    pub(super) fn target(&self) -> (TargetKind, &str) {
        match (self.is_tool, parts(&self.target)) {
            (false, (Some(kind), name)) => (kind, name),
            _ => (TargetKind::Tool, &self.target),
        }
    }
}

/// The decisions of a time.
#[derive(Debug, Default)]
pub(super) struct CallHistory {
    /// The earliest time of a decision, as in entries.
    pub(super) since: String,
    /// The calls, each with the number of times that it was allowed.
    pub(super) calls: BTreeMap<SeenCall, u64>,
    /// Everybody who has sent a message.
    pub(super) callers: BTreeSet<SeenCaller>,
    /// Notes for the reader.
    pub(super) notes: Vec<String>,
}

/// The most different calls, so that a history fits into memory.
const MOST_CALLS: usize = 200_000;

/// The outcomes of messages that the policies have allowed.
const ALLOWED: [&str; 2] = ["allowed", "upstream-failed"];

impl CallHistory {
    /// Reads the audit log.
    pub(super) fn read(context: &Context, options: &HistoryOptions) -> Result<Self, CommandFailure> {
        let directory = options.place.directory(context)?;
        let failed = |error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display()));
        let mut history = Self { since: options.since.clone(), ..Self::default() };
        history.compare_beginning(&directory).map_err(failed)?;
        let filter = EntryFilter {
            members: vec![("kind".to_owned(), "decision".to_owned())],
            since: Some(options.since.clone()),
            until: None,
        };
        let (mut is_full, mut incomplete) = (false, 0usize);
        let take = |_: &str, entry: &Value| {
            incomplete += usize::from(entry.get("targets_digest").is_some());
            history.add(entry);
            is_full = history.calls.len() > MOST_CALLS || history.callers.len() > MOST_CALLS;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        scan(&directory, 0, &filter, take).map_err(failed)?;
        if is_full {
            let message = format!(
                "the log has more than {MOST_CALLS} different calls; shorten the time with `--since`"
            );
            return Err(CommandFailure::new(message));
        }
        if incomplete > 0 {
            history.notes.push(format!("{incomplete} decisions name only the first 64 of their targets"));
        }
        Ok(history)
    }

    /// Notes that the log begins later than the decisions that are asked for.
    fn compare_beginning(&mut self, directory: &Path) -> std::io::Result<()> {
        let mut first = None;
        scan(directory, 0, &EntryFilter::default(), |_, entry| {
            first = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            ControlFlow::Break(())
        })?;
        match first {
            Some(first) if first > self.since => self.notes.push(format!("the log begins at {first}")),
            Some(_) => {}
            None => self.notes.push("the log is empty".to_owned()),
        }
        Ok(())
    }

    fn add(&mut self, entry: &Value) {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let Some((proven_by, subject)) = text("proven_by").zip(text("subject")) else { return };
        let caller = SeenCaller { proven_by, subject, issuer: text("issuer") };
        self.callers.insert(caller.clone());
        let is_allowed = text("outcome").is_some_and(|outcome| ALLOWED.contains(&outcome.as_str()));
        let is_tool = text("method").as_deref() == Some("tools/call");
        let targets = match entry.get("target") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let upstream = text("upstream").unwrap_or_default();
        for target in targets {
            let call = SeenCall {
                upstream: upstream.clone(),
                caller: caller.clone(),
                target: target.to_owned(),
                is_tool,
            };
            *self.calls.entry(call).or_default() += u64::from(is_allowed);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// The history of these decisions, each a caller, an outcome, a method and a target.
    pub(in crate::cli) fn history(decisions: &[(&str, &str, &str, &str)]) -> CallHistory {
        let mut history = CallHistory::default();
        for (subject, outcome, method, target) in decisions {
            history.add(&json!({
                "kind": "decision", "upstream": "files", "proven_by": "keys", "subject": subject,
                "outcome": outcome, "method": method, "target": target,
            }));
        }
        history
    }

    #[test]
    fn a_call_is_counted_as_often_as_it_was_allowed() {
        let history = history(&[
            ("ada", "allowed", "tools/call", "echo"),
            ("ada", "upstream-failed", "tools/call", "echo"),
            ("ada", "denied", "tools/call", "resource:x"),
            ("ada", "allowed", "resources/read", "resource:x"),
        ]);
        let calls: Vec<_> = history
            .calls
            .iter()
            .map(|(call, allowed)| (call.target().0, call.target().1, *allowed))
            .collect();
        assert_eq!(
            calls,
            [
                (TargetKind::Tool, "echo", 2),
                (TargetKind::Resource, "x", 1),
                (TargetKind::Tool, "resource:x", 0),
            ]
        );
        assert_eq!(history.callers.len(), 1);
    }
}
