//! `witgate who-can`: which keys, users and roles may make a call, and which callers of the audit log have made it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::{Value, json};
use witgate_audit::select::{EntryFilter, scan};
use witgate_cases::CaseCall;

use super::audit::LogPlace;
use super::context::Context;
use super::explain::scene::ExplanationScene;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use super::terminal::table;
use crate::access::known_principals::{KnownPrincipal, identity_of, judge_of_accounts, people, principals};
use crate::access::question::CallQuestion;
use crate::access::scene::DecisionScene;
use witgate_accounts::database::users::AccountUser;
use witgate_base::clock;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Tool, or `resource:URI`, `prompt:NAME`, `method:NAME`
    #[arg(value_name = "TOOL")]
    call: String,
    /// Arguments of the call
    #[arg(long, value_name = "JSON")]
    arguments: Option<String>,
    /// Upstream or endpoint, if there are several
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
    /// `key`, `user`, `account`, `role`, `anonymous` or `subject`.
    kind: &'static str,
    name: String,
    is_allowed: bool,
    /// The reason of a refusal, or the number of calls in the audit.
    note: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let Candidates { mut all, notes, members } = runtime()?.block_on(candidates(context, arguments))?;
    all.extend(seen(context, &arguments.place, members)?);
    let is_any = all.iter().any(|candidate| candidate.is_allowed);
    tell(context, &all, &notes);
    Ok(if is_any { Exit::Done } else { Exit::No })
}

/// The known candidates.
struct Candidates {
    all: Vec<Candidate>,
    notes: Vec<String>,
    /// The members of the call's entries in the audit log.
    members: Vec<(String, String)>,
}

/// The answers for each key, user and role, and for somebody without a credential.
async fn candidates(context: &Context, arguments: &Arguments) -> Result<Candidates, CommandFailure> {
    let at = clock::since_epoch().as_secs();
    let mut scene = ExplanationScene::build(context, arguments.candidate.as_deref(), at).await?;
    let asked = scene.enter(arguments.upstream.as_deref())?;
    let (upstream, call) = asked.call(CaseCall::named(&arguments.call))?;
    let mut notes = scene.faults.clone();
    let call_arguments = arguments.arguments.as_deref().map(serde_json::from_str::<Value>).transpose();
    let call_arguments =
        call_arguments.map_err(|error| CommandFailure::new(format!("`--arguments` is not JSON: {error}")))?;
    let mut all = Vec::new();
    let mut known = principals(scene.view(), upstream);
    known.extend(account_holders(scene.view(), upstream, &mut notes));
    for KnownPrincipal { kind, name, sender, .. } in known {
        let question = CallQuestion {
            upstream,
            call: call.clone(),
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
    let mut members = vec![("kind".to_owned(), "decision".to_owned()), ("target".to_owned(), call.target)];
    let named = scene.upstream_at(upstream).filter(|_| arguments.upstream.is_some());
    members.extend(named.map(|upstream| ("upstream".to_owned(), upstream.name.clone())));
    Ok(Candidates { all, notes, members })
}

/// The people of `[accounts]`, if the command may read their database.
pub(super) fn account_holders(
    scene: DecisionScene<'_>,
    place: usize,
    notes: &mut Vec<String>,
) -> Vec<KnownPrincipal> {
    let Some((judge, issuer)) = judge_of_accounts(scene, place) else { return Vec::new() };
    match people(scene) {
        Ok(people) => {
            let holder = |user: AccountUser| {
                let identity = identity_of(&user, issuer);
                KnownPrincipal::assumed("account", user.name, identity, &judge.name)
            };
            people.into_iter().map(holder).collect()
        }
        Err(error) => {
            notes.push(format!("people of `[accounts]` are left out, except for their roles: {error}"));
            Vec::new()
        }
    }
}

/// The callers in the audit log who have made the call, with their numbers of calls.
fn seen(
    context: &Context,
    place: &LogPlace,
    members: Vec<(String, String)>,
) -> Result<Vec<Candidate>, CommandFailure> {
    let Ok(directory) = place.directory(context) else { return Ok(Vec::new()) };
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
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
