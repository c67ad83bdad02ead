//! `witgate explain`: why a call is allowed or refused, and what would change that. The policies of the configuration are
//! built in this process for this question alone, so nothing changes in a running Witgate.

mod arguments;
pub(super) mod asked_place;
mod audit_entry;
mod edits;
mod recording;
mod report;
pub(super) mod rule;
pub(super) mod scene;
pub(super) mod sender;

use serde_json::Value;
use witgate_cases::CaseCall;

pub(super) use self::arguments::Arguments;
use self::report::ExplanationReport;
use self::scene::{ExplanationScene, SceneSource};
use self::sender::FoundSender;
use super::context::Context;
use super::diff::earlier;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use crate::access::question::CallQuestion;
use witgate_base::clock;

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let recorded = match &arguments.id {
        Some(id) => Some(audit_entry::find(context, &arguments.place, id)?),
        None => None,
    };
    let (asked, notes) = match &recorded {
        Some(entry) => audit_entry::asked(entry, arguments)?,
        None => (arguments.clone(), Vec::new()),
    };
    runtime()?.block_on(answer(context, &asked, recorded, notes))
}

/// Explains a question, and prints the report.
async fn answer(
    context: &Context,
    arguments: &Arguments,
    recorded: Option<Value>,
    mut notes: Vec<String>,
) -> Result<Exit, CommandFailure> {
    let at = arguments.at.unwrap_or_else(now);
    let source = match arguments.generation {
        Some(number) => {
            notes.push(format!(
                "the rules are those of generation {number}; keys and secrets are those of now"
            ));
            SceneSource::Earlier(Box::new(earlier(context, number)?))
        }
        None => SceneSource::of(arguments.candidate.as_deref()),
    };
    let mut scene = ExplanationScene::from(context, &source, at).await?;
    let (question, assumptions) = match &arguments.recording {
        Some(file) => recording::asked(&scene, file, arguments)?,
        None => asked(&mut scene, arguments)?,
    };
    notes.extend(assumptions);
    let explanation = scene.explain(&question).await?;
    let (changes, needed) = match explanation.is_allowed() {
        true => (Vec::new(), edits::needed(&scene, &question, &explanation).await?),
        false => (edits::nearest(&scene, &question, &explanation).await?, Vec::new()),
    };
    notes.extend(rule::unmet_annotations(&scene, &explanation));
    let rule = rule::deciding(&scene, question.upstream, &explanation);
    let is_allowed = explanation.is_allowed();
    let (scene, question, explanation) = (&scene, &question, &explanation);
    let report = ExplanationReport { scene, question, explanation, rule, changes, needed, notes, recorded };
    match context.terminal.is_json() {
        true => context.terminal.print_json(&report.to_json()),
        false => context.terminal.print(&report.text()),
    }
    Ok(if is_allowed { Exit::Done } else { Exit::No })
}

/// The question in the arguments, and the assumptions about it.
fn asked(
    scene: &mut ExplanationScene,
    arguments: &Arguments,
) -> Result<(CallQuestion, Vec<String>), CommandFailure> {
    let asked = scene.enter(arguments.upstream.as_deref())?;
    let (upstream, call) = asked.call(CaseCall::named(arguments.call.as_deref().unwrap_or_default()))?;
    let FoundSender { sender, notes } = sender::find(scene, upstream, &arguments.sender)?;
    let question = CallQuestion {
        upstream,
        call,
        arguments: arguments.arguments.as_deref().map(parsed).transpose()?,
        headers: arguments.header.iter().cloned().collect(),
        peer: arguments.peer,
        sender,
        at: arguments.at.unwrap_or_else(now),
    };
    Ok((question, notes))
}

fn now() -> u64 {
    clock::since_epoch().as_secs()
}

fn parsed(arguments: &str) -> Result<Value, CommandFailure> {
    let parsed = serde_json::from_str(arguments);
    parsed.map_err(|error| CommandFailure::new(format!("`--arguments` is not JSON: {error}")))
}
