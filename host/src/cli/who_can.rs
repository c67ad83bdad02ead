//! `witgate who-can`: which keys, users and roles may make a call, and which callers of the audit log have made it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::{Value, json};
use witgate_audit::select::{EntryFilter, scan};
use witgate_cases::CaseCall;
use witgate_plugin::Identity;

use super::audit::LogPlace;
use super::context::Context;
use super::explain::edits::known_roles;
use super::explain::question::{CallQuestion, QuestionSender};
use super::explain::scene::ExplanationScene;
use super::explain::sender::{keys, sender_of, users};
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use super::terminal::table;
use witgate_base::clock;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Tool, or `resource:URI`, `prompt:NAME`, `method:NAME`
    #[arg(value_name = "TOOL")]
    call: String,
    /// Arguments of the call
    #[arg(long, value_name = "JSON")]
    arguments: Option<String>,
    /// Upstream, if there are several
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Directory or file of another configuration that decides
    #[arg(long, value_name = "DIR")]
    candidate: Option<std::path::PathBuf>,
    #[command(flatten)]
    place: LogPlace,
}

/// Somebody who may make a call, or not.
struct Candidate {
    /// `key`, `user`, `role`, `anonymous` or `subject`.
    kind: &'static str,
    name: String,
    is_allowed: bool,
    /// The reason of a refusal, or the number of calls in the audit.
    note: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let (mut all, notes) = runtime()?.block_on(candidates(context, arguments))?;
    all.extend(seen(context, arguments)?);
    let is_any = all.iter().any(|candidate| candidate.is_allowed);
    tell(context, &all, &notes);
    Ok(if is_any { Exit::Done } else { Exit::No })
}

/// The answers for each key, user and role, and for somebody without a credential; and notes about them.
async fn candidates(
    context: &Context,
    arguments: &Arguments,
) -> Result<(Vec<Candidate>, Vec<String>), CommandFailure> {
    let at = clock::since_epoch().as_secs();
    let scene = ExplanationScene::build(context, arguments.candidate.as_deref(), at).await?;
    let upstream = scene.upstream(arguments.upstream.as_deref())?;
    let mut notes = scene.faults.clone();
    if scene.config.accounts.is_some() {
        notes.push(
            "people of `[accounts]` have no rows; those of their roles are of the kind `role`".to_owned(),
        );
    }
    let call_arguments = arguments.arguments.as_deref().map(serde_json::from_str::<Value>).transpose();
    let call_arguments =
        call_arguments.map_err(|error| CommandFailure::new(format!("`--arguments` is not JSON: {error}")))?;
    let mut all = Vec::new();
    for (kind, name, sender) in senders(&scene, upstream) {
        let question = CallQuestion {
            upstream,
            call: CaseCall::named(&arguments.call),
            arguments: call_arguments.clone(),
            headers: Default::default(),
            peer: None,
            sender,
            at,
        };
        let explanation = scene.explain(&question).await?;
        let note = explanation.cause.map_or_else(String::new, |cause| cause.reason);
        all.push(Candidate { kind, name, is_allowed: note.is_empty(), note });
    }
    Ok((all, notes))
}

/// Everybody whom the configuration knows.
fn senders(scene: &ExplanationScene, upstream: usize) -> Vec<(&'static str, String, QuestionSender)> {
    let mut senders = vec![("anonymous", "-".to_owned(), QuestionSender::Nobody)];
    for (policy, key) in keys(scene, upstream) {
        senders.push(("key", key.name.clone(), sender_of(scene, policy, &key)));
    }
    for (policy, user) in users(scene, upstream) {
        let identity = Identity {
            subject: user.name.clone(),
            roles: user.roles,
            scopes: user.scopes,
            ..Identity::default()
        };
        senders.push((
            "user",
            user.name,
            QuestionSender::Assumed { identity, proven_by: policy.name.as_str().into() },
        ));
    }
    for role in known_roles(scene, upstream) {
        let identity =
            Identity { subject: "somebody".to_owned(), roles: vec![role.clone()], ..Identity::default() };
        // No policy has this name, so only the role decides.
        senders.push(("role", role, QuestionSender::Assumed { identity, proven_by: "-".into() }));
    }
    senders
}

/// The callers in the audit log who have made the call, with their numbers of calls.
fn seen(context: &Context, arguments: &Arguments) -> Result<Vec<Candidate>, CommandFailure> {
    let Ok(directory) = arguments.place.directory(context) else { return Ok(Vec::new()) };
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let name = CaseCall::named(&arguments.call).target;
    let mut members = vec![("kind".to_owned(), "decision".to_owned()), ("target".to_owned(), name)];
    members.extend(arguments.upstream.iter().map(|upstream| ("upstream".to_owned(), upstream.clone())));
    let filter = EntryFilter { members, ..EntryFilter::default() };
    let mut calls: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let take = |_: &str, entry: &Value| {
        if let Some(subject) = entry.get("subject").and_then(Value::as_str) {
            let (allowed, refused) = calls.entry(subject.to_owned()).or_default();
            let is_allowed = entry.get("outcome").and_then(Value::as_str) == Some("allowed");
            *(if is_allowed { allowed } else { refused }) += 1;
        }
        ControlFlow::Continue(())
    };
    scan(&directory, 0, &filter, take)
        .map_err(|error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display())))?;
    let candidate = |(name, (allowed, refused)): (String, (u64, u64))| Candidate {
        kind: "subject",
        name,
        is_allowed: allowed > 0,
        note: format!("in the audit: {allowed} allowed, {refused} not"),
    };
    Ok(calls.into_iter().map(candidate).collect())
}

fn tell(context: &Context, all: &[Candidate], notes: &[String]) {
    notes.iter().for_each(|note| context.terminal.say(note));
    if context.terminal.is_json() {
        let entry = |candidate: &Candidate| {
            let Candidate { kind, name, is_allowed, note } = candidate;
            json!({ "kind": kind, "name": name, "allowed": is_allowed, "note": note })
        };
        let entries: Vec<_> = all.iter().map(entry).collect();
        return context.terminal.print_json(&json!({ "version": 1, "entries": entries, "notes": notes }));
    }
    let row = |candidate: &Candidate| {
        let Candidate { kind, name, is_allowed, note } = candidate;
        let allowed = if *is_allowed { "yes" } else { "no" };
        vec![(*kind).to_owned(), name.clone(), allowed.to_owned(), note.clone()]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    context.terminal.print(&table(&["KIND", "NAME", "ALLOWED", "NOTE"], &rows));
}
