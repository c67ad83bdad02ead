//! The report on a question: step by step for people, and whole for programs.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_plugin::{Decision, Wants};

use super::execution::{ConfigureResult, RunResult};
use crate::cli::plugin::test::report::{level_name, used};
use witgate_base::printable::clean;
use witgate_cases::OutcomeText as _;
use witgate_cases::{HookQuestion, Question, QuestionReport, scheme_name};
use witgate_component::last_lines::redacted;
use witgate_policy::answer::Outcome;
use witgate_services::witness::{Observation, TraceEvent};

pub(super) fn text(ran: &RunResult) -> String {
    let mut lines = Vec::new();
    match &ran.settings {
        ConfigureResult::No(why) => lines.push(row("settings", &format!("refused: {why}"))),
        ConfigureResult::Yes(wants, observed) => {
            lines.push(row("settings", "accepted"));
            lines.push(row("wants", &wanted(wants)));
            lines.extend(events(observed));
        }
    }
    for (question, asked) in &ran.asked {
        lines.push(String::new());
        lines.extend(step(question, asked));
    }
    shown(&lines.join("\n"), ran)
}

/// A text without parts of a credential and without secrets.
fn shown(text: &str, ran: &RunResult) -> String {
    redacted(text, ran.secrets.iter().map(String::as_str)).into_owned()
}

fn row(name: &str, what: &str) -> String {
    format!("{name:<10} {}", clean(what))
}

fn step(question: &Question, asked: &QuestionReport) -> Vec<String> {
    let mut lines = vec![row("asked", &put(question))];
    lines.extend(events(&asked.observed));
    lines.extend(asked.http.iter().map(|finding| match question.http.is_empty() {
        true => row(
            "http",
            &format!(
                "{}: there is no server; a case has the answers under `http`, and `--case NAME` names it",
                finding.found
            ),
        ),
        false => row("http", &finding.to_string()),
    }));
    lines.push(row("answer", &asked.outcome.to_line()));
    lines.push(row("used", &used(&[asked])));
    lines
}

/// The question, in a few words.
fn put(question: &Question) -> String {
    let call = &question.call;
    let at = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_secs(question.now));
    let listing = if call.listing { ", in a list" } else { "" };
    let what = match call.method == call.target {
        true => call.method.clone(),
        false => format!("{} {}", call.method, call.target),
    };
    match &question.ask {
        HookQuestion::Who { scheme, .. } => {
            format!("who shows this {}? ({what}{listing}, at {at})", scheme_name(*scheme))
        }
        HookQuestion::May(principal) => {
            let roles = match principal.roles.is_empty() {
                true => "without a role".to_owned(),
                false => format!("with the roles {}", principal.roles.join(", ")),
            };
            format!("may {}, {roles}, do {what}{listing}? (at {at})", principal.subject)
        }
    }
}

fn wanted(wants: &Wants) -> String {
    let data = &wants.data;
    let flags =
        [("arguments", data.arguments), ("_meta", data.meta), ("peer", data.peer), ("claims", data.claims)];
    let schemes = wants.schemes.iter().map(|scheme| scheme_name(*scheme).to_owned());
    let headers = wants.headers.iter().chain(&wants.credential_header).map(|name| format!("header {name}"));
    let flags = flags.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name.to_owned());
    let all: Vec<_> = schemes.chain(headers).chain(flags).collect();
    match all.is_empty() {
        true => "only the call".to_owned(),
        false => all.join(", "),
    }
}

/// The host calls of the plugin, in order.
fn events(observed: &Observation) -> impl Iterator<Item = String> {
    observed.events.iter().map(|event| match event {
        TraceEvent::Call { name, arguments, summary } => {
            let arguments = if arguments.is_empty() { String::new() } else { format!(" {arguments}") };
            let summary = if summary.is_empty() { String::new() } else { format!("  ->  {summary}") };
            format!("  {name}{arguments}{summary}")
        }
        TraceEvent::Log { level, line } => format!("  log {}: {line}", level_name(*level)),
    })
}

pub(super) fn json(ran: &RunResult) -> Value {
    let (wants, why, observed) = match &ran.settings {
        ConfigureResult::Yes(wants, observed) => (Some(wants), None, Some(observed)),
        ConfigureResult::No(why) => (None, Some(why), None),
    };
    let report = json!({
        "ok": ran.is_yes(),
        "settings": { "taken": wants.is_some(), "why": why, "events": observed.map(json_events) },
        "wants": wants.map(|wants| json_wants(wants)),
        "asked": ran.asked.iter().map(|(question, asked)| json_step(question, asked)).collect::<Vec<_>>(),
    });
    hidden(report, ran)
}

/// The value without any secret, also in nested members.
fn hidden(value: Value, ran: &RunResult) -> Value {
    match value {
        Value::String(text) => Value::String(shown(&text, ran)),
        Value::Array(items) => items.into_iter().map(|item| hidden(item, ran)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (shown(&name, ran), hidden(member, ran))).collect()
        }
        other => other,
    }
}

fn json_wants(wants: &Wants) -> Value {
    json!({
        "schemes": wants.schemes.iter().map(|scheme| scheme_name(*scheme)).collect::<Vec<_>>(),
        "credential_header": wants.credential_header,
        "headers": wants.headers,
        "arguments": wants.data.arguments,
        "meta": wants.data.meta,
        "peer": wants.data.peer,
        "claims": wants.data.claims,
    })
}

fn json_step(question: &Question, asked: &QuestionReport) -> Value {
    let observed = &asked.observed;
    let scopes = match &asked.outcome {
        Outcome::Decision(Decision::Deny(denial)) => Some(&denial.scopes),
        _ => None,
    };
    let http = asked.http.iter().map(|it| json!({ "expected": it.expected, "found": it.found }));
    json!({
        "method": question.call.method,
        "target": question.call.target,
        "listing": question.call.listing,
        "now": question.now,
        "events": json_events(observed),
        "http": http.collect::<Vec<_>>(),
        "answer": asked.outcome.written(),
        "detail": asked.outcome.detail(),
        "scopes": scopes,
        "guest_ms": observed.ticks,
        "wall_us": u64::try_from(asked.wall.as_micros()).unwrap_or(u64::MAX),
        "memory_bytes": observed.memory,
        "host_calls": observed.host_calls,
    })
}

fn json_events(observed: &Observation) -> Vec<Value> {
    let json = |event: &TraceEvent| match event {
        TraceEvent::Call { name, arguments, summary } => {
            json!({ "call": name, "asked": arguments, "told": summary })
        }
        TraceEvent::Log { level, line } => json!({ "log": level_name(*level), "line": line }),
    };
    observed.events.iter().map(json).collect()
}
