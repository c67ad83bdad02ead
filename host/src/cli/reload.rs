//! `witgate reload`: has the running Witgate use the changed files now, or tells what that would change.

use std::time::Duration;

use super::context::Context;
use super::control::{cell, socket};
use super::outcome::{CommandFailure, Exit};
use super::terminal::table;
use crate::control;
use crate::control::protocol::{self, ControlCommand};
use crate::control::reloading::{ReloadReport, ReportedChange};

/// Time that the answer may take: that of an attempt, and of the compilation of a component before it.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only tell what a reload would change, and whether it would be accepted
    #[arg(long)]
    check: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let command = ControlCommand::Reload { check: arguments.check };
    let answer = control::ask_for(&socket(context)?, &command, PATIENCE).map_err(CommandFailure::new)?;
    let report: ReloadReport = protocol::read(&answer).map_err(CommandFailure::new)?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&answer),
        false => context.terminal.print(&text(&report)),
    }
    Ok(if report.refused.is_empty() { Exit::Done } else { Exit::No })
}

fn text(report: &ReloadReport) -> String {
    let mut parts = vec![first_line(report)];
    parts.extend(report.refused.iter().map(|reason| format!("- {reason}")));
    if !report.changes.is_empty() {
        let rows: Vec<_> = report.changes.iter().map(row).collect();
        parts.push(format!("\n{}", table(&["SETTING", "OLD", "NEW", "IN FORCE"], &rows)));
    }
    if !report.upstreams.is_empty() {
        parts.push(format!("\n{}", report.upstreams.join("\n")));
    }
    parts.join("\n")
}

fn first_line(report: &ReloadReport) -> String {
    let ReloadReport { generation, before, .. } = report;
    let has_changes = !report.changes.is_empty() || !report.upstreams.is_empty();
    match (report.check, report.refused.is_empty()) {
        (true, true) if has_changes => {
            format!("Generation {generation} is live; a reload would change this:")
        }
        (true, true) => {
            format!("Generation {generation} is live, with the configuration as it is in the file.")
        }
        (true, false) => {
            format!("Generation {generation} is live; a reload would not use all of the files:")
        }
        (false, true) => format!("Generation {generation} is live, in place of generation {before}."),
        (false, false) if generation == before => {
            format!("The change was refused; generation {generation} stays live:")
        }
        (false, false) => {
            format!("Generation {generation} is live, in place of generation {before}, without a part:")
        }
    }
}

fn row(change: &ReportedChange) -> Vec<String> {
    let ReportedChange { key, old, new, in_force } = change;
    vec![key.clone(), cell(old.as_ref()), cell(new.as_ref()), in_force.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_changes_and_reasons() {
        let change = ReportedChange {
            key: "server.max_request_mib".to_owned(),
            old: None,
            new: Some("8".to_owned()),
            in_force: "at once".to_owned(),
        };
        let done =
            ReloadReport { generation: 2, before: 1, changes: vec![change.clone()], ..Default::default() };
        let shown = text(&done);
        assert!(shown.starts_with("Generation 2 is live, in place of generation 1.\n\nSETTING"), "{shown}");
        assert!(shown.contains("server.max_request_mib  -    8    at once"), "{shown}");
        let refused = ReloadReport {
            check: true,
            generation: 1,
            before: 1,
            changes: vec![change],
            upstreams: vec!["the upstream `a` is added, at /a".to_owned()],
            refused: vec!["needs a restart: `server.state`".to_owned()],
        };
        let shown = text(&refused);
        assert!(shown.contains("\n- needs a restart: `server.state`\n"), "{shown}");
        assert!(shown.ends_with("\nthe upstream `a` is added, at /a"), "{shown}");
    }
}
