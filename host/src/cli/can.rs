//! `witgate can`: what a caller may list and call, over the live lists of an upstream, or of an endpoint with several.

use std::borrow::Cow;

use serde_json::json;
use witgate_cases::CaseCall;
use witgate_config::pins::EntryKind;
use witgate_flow::explanation::ExplainedCause;
use witgate_plugin::TargetKind;

use super::context::Context;
use super::explain::scene::ExplanationScene;
use super::explain::sender::{FoundSender, SenderOptions, find};
use super::live_lists::{self, LiveList};
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use super::terminal::table;
use crate::access::question::{CallQuestion, QuestionSender};
use witgate_base::clock;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sender: SenderOptions,
    /// Upstream or endpoint, if there are several
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Directory or file of another configuration that decides
    #[arg(long, value_name = "DIR")]
    candidate: Option<std::path::PathBuf>,
    /// Also show what the caller may neither list nor call
    #[arg(long)]
    all: bool,
}

/// The access of a caller to one tool, prompt or resource.
struct CallerAccess {
    name: String,
    is_listed: bool,
    call: CallAccess,
    /// The policy and the reason of a refusal.
    why: Option<(Option<String>, String)>,
}

/// The access to calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallAccess {
    Yes,
    /// The entry is listed, and a call without arguments is refused, so others may be allowed.
    DependsOnArguments,
    No,
}

impl CallAccess {
    fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::DependsOnArguments => "depends",
            Self::No => "no",
        }
    }
}

impl CallerAccess {
    fn is_any(&self) -> bool {
        self.is_listed || self.call != CallAccess::No
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    runtime()?.block_on(async {
        let at = clock::since_epoch().as_secs();
        let mut scene = ExplanationScene::build(context, arguments.candidate.as_deref(), at).await?;
        let asked = scene.enter(arguments.upstream.as_deref())?;
        let FoundSender { sender, mut notes } = find(&scene, asked.first()?, &arguments.sender)?;
        let mut all = Vec::new();
        for (place, upstream) in asked.upstreams() {
            let lists = match live_lists::read(context, &scene, upstream, &EntryKind::TARGETS).await {
                Ok(lists) => lists,
                Err(failure) if asked.is_endpoint() => {
                    let name = scene.upstream_at(upstream).map_or("", |upstream| &upstream.name);
                    notes.push(format!("`{name}` is left out: {failure}"));
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let question = about(upstream, sender.clone(), at);
            for list in lists {
                if list.is_cut {
                    notes.push(format!("`{}` has more entries; they are not read", list.kind.method()));
                }
                let shown = |kind, name: &str| asked.shown(place, kind, name).map(Cow::into_owned);
                let ListAccess { entries, refusal } = access(&scene, &question, &list, shown).await?;
                notes.extend(refusal);
                all.extend(entries);
            }
        }
        notes.extend(scene.faults.iter().cloned());
        let is_any = all.iter().any(CallerAccess::is_any);
        all.retain(|access| arguments.all || access.is_any());
        tell(context, &all, &notes);
        Ok(if is_any { Exit::Done } else { Exit::No })
    })
}

/// A question to an upstream, whose call is still to be set.
fn about(upstream: usize, sender: QuestionSender, at: u64) -> CallQuestion {
    let call = CaseCall::named("method:ping");
    let (arguments, headers, peer) = Default::default();
    CallQuestion { upstream, call, arguments, headers, peer, sender, at }
}

/// The access to a list.
struct ListAccess {
    /// The access to each entry.
    entries: Vec<CallerAccess>,
    /// The reason why the caller does not get the list.
    refusal: Option<String>,
}

/// The access to what a list has. `shown` has the names that the caller sees, and leaves out what they are not offered.
async fn access(
    scene: &ExplanationScene,
    question: &CallQuestion,
    list: &LiveList,
    shown: impl Fn(TargetKind, &str) -> Option<String>,
) -> Result<ListAccess, CommandFailure> {
    let (names, kind, method) =
        (list.names().collect::<Vec<_>>(), list.kind.target_kind(), list.kind.method());
    let asks = CallQuestion { call: CaseCall::named(&format!("method:{method}")), ..question.clone() };
    let (seen, refusal) = match scene.lists(&asks, kind, &names).await? {
        Ok(seen) => (seen, None),
        // Whoever gets no list sees nothing.
        Err(cause) => (vec![false; names.len()], Some(no_list(method, &cause))),
    };
    let prefix = match kind {
        TargetKind::Prompt => "prompt:",
        TargetKind::Resource => "resource:",
        TargetKind::Tool | TargetKind::Method => "",
    };
    let mut all = Vec::new();
    for (name, is_listed) in names.into_iter().zip(seen) {
        let Some(shown) = shown(kind, name) else { continue };
        let call = CaseCall::named(&format!("{prefix}{name}"));
        let name = format!("{prefix}{shown}");
        let calls = CallQuestion { call, ..question.clone() };
        let explanation = scene.explain(&calls).await?;
        let why = explanation.cause.map(|cause| (cause.policy, cause.reason));
        let call = match &why {
            None => CallAccess::Yes,
            // Lists and calls are decided alike, but for arguments.
            Some(_) if is_listed => CallAccess::DependsOnArguments,
            Some(_) => CallAccess::No,
        };
        all.push(CallerAccess { name, is_listed, call, why });
    }
    Ok(ListAccess { entries: all, refusal })
}

/// The note about a list that the caller does not get.
fn no_list(method: &str, cause: &ExplainedCause) -> String {
    let by = cause.policy.as_ref().map(|policy| format!("{policy}: ")).unwrap_or_default();
    let detail = cause.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
    format!("the caller does not get `{method}` ({by}{}{detail})", cause.reason)
}

fn tell(context: &Context, all: &[CallerAccess], notes: &[String]) {
    notes.iter().for_each(|note| context.terminal.say(note));
    if context.terminal.is_json() {
        let entry = |access: &CallerAccess| {
            let (policy, reason) = access.why.clone().unzip();
            json!({
                "name": access.name, "listed": access.is_listed, "call": access.call.name(),
                "policy": policy.flatten(), "reason": reason,
            })
        };
        let entries: Vec<_> = all.iter().map(entry).collect();
        return context.terminal.print_json(&json!({ "version": 1, "entries": entries, "notes": notes }));
    }
    let row = |access: &CallerAccess| {
        let why = access.why.as_ref().map(|(policy, reason)| match policy {
            Some(policy) => format!("{policy}: {reason}"),
            None => reason.clone(),
        });
        let listed = if access.is_listed { "yes" } else { "no" };
        vec![
            access.name.clone(),
            listed.to_owned(),
            access.call.name().to_owned(),
            why.unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    context.terminal.print(&match rows.is_empty() {
        true => "nothing".to_owned(),
        false => table(&["NAME", "LISTED", "CALL", "WHY_NOT"], &rows),
    });
}
