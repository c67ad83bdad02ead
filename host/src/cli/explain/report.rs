//! An explanation for people, and as JSON. `docs/explain.md` describes the members.

use std::fmt::Write as _;

use serde_json::{Value, json};
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::explanation::{ExplainedHook, ExplainedStage, Explanation};
use witgate_services::witness::TraceEvent;

use super::edits::Edit;
use super::rule::{named, shortened};
use super::scene::ExplanationScene;
use crate::access::question::{CallQuestion, QuestionSender};
use crate::cli::control::time;
use witgate_base::digest::{digest_text, sha256};
use witgate_config::diagnostic::{Diagnostic, Style, render};

/// The version of the JSON form. Members are only added to it.
const VERSION: u64 = 1;

/// An explanation with what was found about it.
pub(super) struct ExplanationReport<'a> {
    pub(super) scene: &'a ExplanationScene,
    pub(super) question: &'a CallQuestion,
    pub(super) explanation: &'a Explanation,
    /// The line that has decided.
    pub(super) rule: Option<Diagnostic>,
    /// Changes with which the call is allowed.
    pub(super) changes: Vec<Edit>,
    /// The removals with which an allowed call would be refused.
    pub(super) needed: Vec<Edit>,
    /// The assumptions, and what no change of the call can change.
    pub(super) notes: Vec<String>,
    /// The entry of the audit.
    pub(super) recorded: Option<Value>,
}

impl ExplanationReport<'_> {
    /// The answer in one line.
    fn answer(&self) -> String {
        let Explanation { outcome, cause, targets, caller, method, .. } = self.explanation;
        let what = match targets.first() {
            Some(target) => named(target),
            None => format!("`{}`", method.as_deref().unwrap_or(&self.question.call.method)),
        };
        let who = caller.as_ref().map_or("an unknown sender", |caller| caller.identity().subject.as_str());
        let at = self.scene.upstream_at(self.question.upstream).map_or("", |upstream| upstream.name.as_str());
        match cause {
            None => {
                let allowing = self.hooks().filter(|asked| asked.hook.verdict == "allow");
                let names: Vec<_> = allowing.map(|asked| &*asked.hook.policy).collect();
                let by = if names.is_empty() { "no rule is needed".to_owned() } else { names.join(", ") };
                format!("allowed: {who} may use {what} at {at} ({by})")
            }
            Some(cause) => {
                let by = cause.policy.as_ref().map(|policy| format!("{policy}: ")).unwrap_or_default();
                let detail = cause.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
                format!("{}: {who} may not use {what} at {at} ({by}{}{detail})", outcome.name(), cause.reason)
            }
        }
    }

    fn hooks(&self) -> impl Iterator<Item = &ExplainedHook> {
        self.explanation.stages.iter().flat_map(|stage| &stage.hooks)
    }

    /// For a program.
    pub(super) fn to_json(&self) -> Value {
        let Explanation { outcome, cause, caller, stages, limits, .. } = self.explanation;
        let question = self.question;
        let edits = |edits: &[Edit]| -> Vec<Value> {
            let edit = |edit: &Edit| json!({ "kind": edit.kind, "change": edit.text, "value": edit.value });
            edits.iter().map(edit).collect()
        };
        json!({
            "version": VERSION,
            "answer": self.answer(),
            "allowed": self.explanation.is_allowed(),
            "outcome": outcome.name(),
            "policy": cause.as_ref().and_then(|cause| cause.policy.as_ref()),
            "reason": cause.as_ref().map(|cause| &cause.reason),
            "detail": cause.as_ref().and_then(|cause| cause.detail.as_ref()),
            "scopes": cause.as_ref().map(|cause| cause.scopes.as_slice()).unwrap_or_default(),
            "question": {
                "upstream": self.scene.upstream_at(question.upstream).map(|upstream| &upstream.name),
                "method": question.call.method,
                "target": question.call.target,
                "arguments": question.arguments,
                "time": time(question.at),
            },
            "configuration": {
                "file": self.scene.config.path,
                "digest": digest_text(&sha256(self.scene.config.text.as_bytes())),
                "faults": self.scene.faults,
            },
            "caller": caller.as_ref().map(|caller| self.caller_json(caller)),
            "stages": stages.iter().map(|stage| self.stage_json(stage)).collect::<Vec<_>>(),
            "limits": limits.iter().map(|name| &**name).collect::<Vec<_>>(),
            "rule": self.rule.as_ref().map(Diagnostic::to_json),
            "changes": edits(&self.changes),
            "rests_on": edits(&self.needed),
            "notes": self.notes,
            "recorded": self.recorded,
        })
    }

    fn caller_json(&self, caller: &Caller) -> Value {
        let identity = caller.identity();
        json!({
            "subject": identity.subject,
            "issuer": identity.issuer,
            "roles": identity.roles,
            "scopes": identity.scopes,
            "proven_by": **caller.proven_by(),
            "expires": identity.expires_at.map(time),
            "is_assumed": matches!(self.question.sender, QuestionSender::Assumed { .. }),
        })
    }

    fn stage_json(&self, stage: &ExplainedStage) -> Value {
        let hooks: Vec<_> = stage.hooks.iter().map(|asked| self.hook_json(asked)).collect();
        let micros = u64::try_from(stage.took.as_micros()).unwrap_or(u64::MAX);
        json!({ "stage": stage.name, "passed": stage.has_passed, "micros": micros, "hooks": hooks })
    }

    fn hook_json(&self, asked: &ExplainedHook) -> Value {
        let (mut reads, mut log) = (Vec::new(), Vec::new());
        for event in &asked.observed.events {
            match event {
                TraceEvent::Call { name, arguments, summary } => {
                    let (arguments, value) = (self.shown(name, arguments), self.shown(name, summary));
                    reads.push(json!({ "call": name, "arguments": arguments, "value": value }));
                }
                TraceEvent::Log { level, line } => {
                    let level = format!("{level:?}").to_lowercase();
                    log.push(json!({ "level": level, "line": self.redacted(line) }));
                }
            }
        }
        let hook = &asked.hook;
        let policy = self.scene.generation.policy(&hook.policy);
        json!({
            "policy": *hook.policy,
            "kind": policy.map(|policy| policy.kind().name()),
            "digest": policy.and_then(|policy| policy.digest()).as_ref().map(digest_text),
            "hook": hook.hook,
            "form": hook.form,
            "verdict": hook.verdict,
            "micros": micros_of(asked),
            "reads": reads,
            "log": log,
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = self.answer();
        for note in self.notes.iter().chain(&self.scene.faults) {
            let _ = write!(text, "\n  {note}");
        }
        if let Some(recorded) = &self.recorded {
            text.push_str(&recorded_text(recorded));
        }
        text.push('\n');
        for (number, stage) in (1..).zip(&self.explanation.stages) {
            text.push_str(&self.stage_text(number, stage));
        }
        if !self.explanation.limits.is_empty() {
            let names: Vec<_> = self.explanation.limits.iter().map(|name| &**name).collect();
            let _ = write!(text, "\nlimits that count the call: {}", names.join(", "));
        }
        if let Some(rule) = &self.rule {
            let _ = write!(text, "\n\n{}", render(std::slice::from_ref(rule), Style::default()).trim_end());
        }
        text.push_str(&self.changes_text());
        text
    }

    fn stage_text(&self, number: usize, stage: &ExplainedStage) -> String {
        let outcome = if stage.has_passed { "passed" } else { "refused" };
        let mut text = format!("\n{number}. {}: {outcome}, {} µs", stage.name, stage.took.as_micros());
        for asked in &stage.hooks {
            let hook = &asked.hook;
            let policy = self.scene.generation.policy(&hook.policy);
            let kind = policy.map_or("unknown", |policy| policy.kind().name());
            let digest = policy.and_then(|policy| policy.digest()).as_ref().map(digest_text);
            let code = digest.as_deref().unwrap_or(hook.form);
            let (name, verdict, micros) = (&hook.policy, hook.verdict, micros_of(asked));
            let _ = write!(text, "\n     {name} ({kind}, {code}): {verdict}, {micros} µs");
            for event in &asked.observed.events {
                text.push_str(&self.event_text(event));
            }
        }
        if stage.name == "authenticate"
            && let Some(caller) = &self.explanation.caller
        {
            text.push_str(&caller_text(caller));
        }
        text
    }

    fn event_text(&self, event: &TraceEvent) -> String {
        match event {
            TraceEvent::Call { name, arguments, summary } => {
                let (arguments, value) = (self.shown(name, arguments), self.shown(name, summary));
                let value = if value.is_empty() { value } else { format!(" = {value}") };
                format!("\n         {name}({arguments}){value}")
            }
            TraceEvent::Log { level, line } => {
                format!("\n         log {}: {}", format!("{level:?}").to_lowercase(), self.redacted(line))
            }
        }
    }

    fn changes_text(&self) -> String {
        let list = |edits: &[Edit]| edits.iter().map(|edit| format!("\n  {}", edit.text)).collect::<String>();
        let is_known = self.explanation.caller.is_some();
        match (self.explanation.is_allowed(), self.changes.is_empty(), self.needed.is_empty()) {
            (true, _, true) => String::new(),
            (true, _, false) => format!("\n\nIt would be refused with:{}", list(&self.needed)),
            // Somebody who is not known needs another credential first.
            (false, true, _) if !is_known => String::new(),
            (false, true, _) => {
                "\n\nNo single change of an argument, a scope, the time, a claim or a role allows it."
                    .to_owned()
            }
            (false, false, _) => format!("\n\nIt would be allowed with one of:{}", list(&self.changes)),
        }
    }

    /// The arguments or the result of a host call, without secrets.
    fn shown(&self, call: &str, text: &str) -> String {
        let text = match (call, text.split_once('?')) {
            // A query may contain a secret.
            ("http.send", Some((address, _))) => format!("{address}?…"),
            _ => text.to_owned(),
        };
        shortened(&self.redacted(&text))
    }

    /// A text without the credential of the question.
    fn redacted(&self, text: &str) -> String {
        match self.question.sender.secret().filter(|secret| !secret.is_empty()) {
            Some(secret) => text.replace(secret, "****"),
            None => text.to_owned(),
        }
    }
}

fn micros_of(asked: &ExplainedHook) -> u64 {
    u64::try_from((asked.hook.to - asked.hook.from).as_micros()).unwrap_or(u64::MAX)
}

fn caller_text(caller: &Caller) -> String {
    let identity = caller.identity();
    let mut text = format!("\n     caller: {}", identity.subject);
    for (label, values) in [("roles", &identity.roles), ("scopes", &identity.scopes)] {
        if !values.is_empty() {
            let _ = write!(text, ", {label} {}", values.join(" "));
        }
    }
    let _ = write!(text, ", known by {}", caller.proven_by());
    text
}

/// The recorded decision in one line.
fn recorded_text(entry: &Value) -> String {
    let mut text = "\n  recorded:".to_owned();
    for name in ["time", "outcome", "policy", "rule", "reason", "detail", "generation", "limit"] {
        match entry.get(name) {
            Some(Value::String(value)) => drop(write!(text, " {name} {value}")),
            Some(Value::Null) | None => {}
            Some(value) => drop(write!(text, " {name} {value}")),
        }
    }
    text
}
