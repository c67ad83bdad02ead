//! The definitions that an upstream shows: those that the running Witgate has seen in lists, or those of an upstream that
//! is asked now.

use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::control::socket;
use crate::cli::explain::scene::ExplanationScene;
use crate::cli::live_lists;
use crate::cli::outcome::CommandFailure;
use crate::cli::runtime::runtime;
use crate::control;
use crate::control::definitions::{ShownByLists, ShownEntry};
use crate::control::protocol::{self, ControlCommand};
use witgate_base::clock;
use witgate_base::digest::digest_of;
use witgate_config::pins::{Definition, EntryKind};
use witgate_plugin::Digest;

/// The upstream, and where its definitions come from.
#[derive(Debug, clap::Args)]
pub(super) struct UpstreamChoice {
    /// Name of the upstream
    pub(super) name: String,
    /// Ask the upstream itself, in a session of this command, in place of the running Witgate
    #[arg(long)]
    live: bool,
}

/// The definitions that an upstream shows.
pub(super) struct ShownDefinitions {
    pub(super) entries: Vec<ShownDefinition>,
    /// The kinds whose lists are complete, so that an entry that is not there is gone.
    pub(super) complete: Vec<EntryKind>,
}

/// An entry with its definition.
pub(super) struct ShownDefinition {
    pub(super) kind: EntryKind,
    pub(super) name: String,
    /// None: it cannot be read.
    pub(super) digest: Option<Digest>,
    /// None: it cannot be read, or is too large.
    pub(super) value: Option<Value>,
}

/// The definitions that the chosen upstream shows.
pub(super) fn shown(context: &Context, choice: &UpstreamChoice) -> Result<ShownDefinitions, CommandFailure> {
    if choice.live {
        return runtime()?.block_on(live(context, &choice.name));
    }
    let command = ControlCommand::UpstreamDefinitions { upstream: choice.name.clone() };
    let answer = control::ask(&socket(context)?, &command)
        .map_err(|error| CommandFailure::new(format!("{error}; `--live` asks the upstream itself")))?;
    let report: ShownByLists = protocol::read(&answer).map_err(CommandFailure::new)?;
    if report.entries.is_empty() {
        let name = &choice.name;
        return Err(CommandFailure::new(match report.approved {
            Some(_) => format!("no caller has asked `{name}` for a list yet; `--live` asks it now"),
            None => format!(
                "the running Witgate does not compare the definitions of `{name}`, because `pins` is off; `--live` asks \
                 the upstream itself"
            ),
        }));
    }
    Ok(of_report(report))
}

fn of_report(report: ShownByLists) -> ShownDefinitions {
    let entry = |entry: ShownEntry| {
        Some(ShownDefinition {
            kind: EntryKind::of_name(&entry.kind)?,
            name: entry.name,
            digest: entry.digest.as_deref().and_then(digest_of),
            value: entry.definition,
        })
    };
    let listed = report.entries.into_iter().filter(|entry| entry.listed);
    ShownDefinitions {
        entries: listed.filter_map(entry).collect(),
        complete: report.complete.iter().filter_map(|kind| EntryKind::of_name(kind)).collect(),
    }
}

async fn live(context: &Context, name: &str) -> Result<ShownDefinitions, CommandFailure> {
    let scene = ExplanationScene::build(context, None, clock::since_epoch().as_secs()).await?;
    let place = scene.upstream(Some(name))?;
    let mut shown = ShownDefinitions { entries: Vec::new(), complete: Vec::new() };
    for list in live_lists::read_whole(context, &scene, place).await? {
        if !list.is_cut {
            shown.complete.push(list.kind);
        }
        shown.entries.extend(list.entries.into_iter().filter_map(|value| of_value(list.kind, value)));
    }
    Ok(shown)
}

fn of_value(kind: EntryKind, value: Value) -> Option<ShownDefinition> {
    let definition = Definition::of(kind, value)?;
    let name = definition.name(kind)?.to_owned();
    Some(ShownDefinition { kind, name, digest: Some(definition.digest), value: Some(definition.value) })
}
