//! `witgate trace`: the decisions of the running Witgate, as they are made.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use clap::builder::PossibleValuesParser;
use serde_json::Value;

use super::context::Context;
use super::control::socket;
use super::outcome::{CommandFailure, Exit};
use crate::control;
use crate::control::protocol::ControlCommand;
use witgate_base::printable;
use witgate_flow::audit::AuditOutcome;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Subject of the caller
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Tool, prompt, resource or method
    #[arg(long, alias = "target", value_name = "NAME")]
    tool: Option<String>,
    /// Outcome
    #[arg(long, value_name = "OUTCOME", value_parser = PossibleValuesParser::new(AuditOutcome::names()))]
    outcome: Option<String>,
    /// Upstream
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Stop after this many decisions
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let Arguments { subject, tool, outcome, upstream, count } = arguments;
    let command = ControlCommand::Trace {
        subject: subject.clone(),
        tool: tool.clone(),
        outcome: outcome.clone(),
        upstream: upstream.clone(),
    };
    let (terminal, mut has_begun, mut seen) = (&context.terminal, false, 0);
    let take = |answer: Value| {
        if !std::mem::replace(&mut has_begun, true) {
            terminal.say("watching decisions; Ctrl-C ends it");
            return ControlFlow::Continue(());
        }
        match terminal.is_json() {
            true => terminal.print(&printable::json(&answer.to_string())),
            false => terminal.print(&text(&answer)),
        }
        seen += 1;
        if *count == Some(seen) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    control::follow(&socket(context)?, &command, take).map_err(CommandFailure::new)?;
    match *count == Some(seen) {
        true => Ok(Exit::Done),
        false => Err(CommandFailure::new("Witgate has stopped")),
    }
}

/// A decision in one line, with a line for each hook and for the times of its stages.
fn text(decision: &Value) -> String {
    let member = |name: &str| match decision.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let mut text = String::new();
    if let Some(lost) = member("lost") {
        let _ = writeln!(text, "({lost} decisions are not shown: there were too many)");
    }
    let (time, outcome) = (member("time").unwrap_or_default(), member("outcome").unwrap_or_default());
    let _ = write!(text, "{time}  {outcome}");
    for (label, name) in [
        ("", "upstream"),
        ("", "method"),
        ("", "target"),
        ("subject ", "subject"),
        ("policy ", "policy"),
        ("rule ", "rule"),
        ("reason ", "reason"),
        ("limit ", "limit"),
        ("id ", "id"),
    ] {
        if let Some(value) = member(name) {
            let _ = write!(text, "  {label}{value}");
        }
    }
    for hook in decision.get("hooks").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| hook.get(name).and_then(Value::as_str).unwrap_or("?");
        let micros = hook.get("micros").and_then(Value::as_u64).unwrap_or(0);
        let (policy, name, form, verdict) = (of("policy"), of("hook"), of("form"), of("verdict"));
        let _ = write!(text, "\n    {name} {policy} ({form}): {verdict}, {micros} µs");
    }
    let stages = decision.get("stages").and_then(Value::as_object);
    let times = stages.into_iter().flatten().map(|(stage, micros)| format!("{stage} {micros} µs"));
    let times: Vec<_> = times.chain(member("micros").map(|all| format!("in all {all} µs"))).collect();
    let _ = write!(text, "\n    {}", times.join(", "));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;

    #[test]
    fn a_decision_has_lines_for_its_hooks_and_stages() {
        let decision = json!({
            "kind": "decision", "time": "2026-11-30T09:00:00.000000Z", "id": "ab", "outcome": "denied",
            "upstream": "files", "method": "tools/call", "target": "delete", "subject": "ada",
            "policy": "rules", "reason": "not-allowed", "micros": 90, "lost": 3,
            "stages": { "authenticate": 40, "authorize": 30 },
            "hooks": [{
                "policy": "rules", "hook": "authorize", "form": "component", "verdict": "deny", "micros": 28,
            }],
        });
        let expected = "\
(3 decisions are not shown: there were too many)
2026-11-30T09:00:00.000000Z  denied  files  tools/call  delete  subject ada  policy rules  reason not-allowed  id ab
    authorize rules (component): deny, 28 µs
    authenticate 40 µs, authorize 30 µs, in all 90 µs";
        assert_eq!(text(&decision), expected);
    }
}
