//! `witgate upstream approve`: writes definitions as they are now into `witgate.lock`.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::change::{ApprovedLock, ChangeKind, DefinitionChange, changes, failure, name_of};
use super::diff;
use super::shown_definitions::{UpstreamChoice, shown};
use crate::cli::change_state::{ChangeState, SocketAnswer, WaitOption, wait_for};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::counted;
use crate::control::definitions::ShownByLists;
use crate::control::protocol::{self, ControlCommand};
use crate::control::{self, AskError};
use witgate_base::digest::digest_text;
use witgate_config::pins::LockFile;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    upstream: UpstreamChoice,
    /// Tools, or `prompt:NAME`, `resource:URI`, `template:URI` [default: all that `upstream diff` shows]
    targets: Vec<String>,
    /// Approve nothing unless all changes are those that `upstream diff` has shown under this name
    #[arg(long, value_name = "NAME")]
    changes: Option<String>,
    #[command(flatten)]
    wait: WaitOption,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let name = &arguments.upstream.name;
    let lock = ApprovedLock::read(context, name)?;
    let all = changes(&lock.file, name, &shown(context, &arguments.upstream)?);
    if let Some(seen) = &arguments.changes {
        insist(seen, &all, name)?;
    }
    let (unreadable, chosen): (Vec<_>, Vec<_>) = chosen(all, &arguments.targets)?
        .into_iter()
        .partition(|change| change.change == ChangeKind::Unreadable);
    for change in &unreadable {
        context.terminal.say(&format!("{}\n  it cannot be approved", diff::text(change)));
    }
    if chosen.is_empty() {
        context.terminal.say("There is nothing to approve.");
        return Ok(if unreadable.is_empty() { Exit::Done } else { Exit::No });
    }
    chosen.iter().for_each(|change| context.terminal.say(&diff::text(change)));
    let mut file = LockFile::default();
    LockFile::change(&lock.path, |lock| {
        chosen.iter().for_each(|change| approve(lock, name, change));
        file = lock.clone();
    })
    .map_err(failure)?;
    let digest = digest_text(file.approved(name).digest());
    let state = wait_for(context, arguments.wait, |socket, patience| ask(socket, patience, name, &digest));
    tell(context, &lock.path, &chosen, &state);
    Ok(if unreadable.is_empty() { state.exit() } else { Exit::No })
}

/// Refuses changes that are not those which somebody has seen.
fn insist(seen: &str, all: &[DefinitionChange], upstream: &str) -> Result<(), CommandFailure> {
    match name_of(all) == *seen {
        true => Ok(()),
        false => Err(CommandFailure::new(format!(
            "`{upstream}` shows other definitions than those of `{seen}`, so nothing is approved; `witgate upstream diff \
             {upstream}` shows them"
        ))),
    }
}

/// The changes that the targets name. Without targets, all.
fn chosen(all: Vec<DefinitionChange>, targets: &[String]) -> Result<Vec<DefinitionChange>, CommandFailure> {
    if targets.is_empty() {
        return Ok(all);
    }
    if let Some(target) = targets.iter().find(|target| all.iter().all(|change| change.target() != **target)) {
        let message = format!("`{target}` has the approved definition, or the upstream does not show it");
        return Err(CommandFailure::new(message));
    }
    Ok(all.into_iter().filter(|change| targets.contains(&change.target())).collect())
}

fn approve(lock: &mut LockFile, upstream: &str, change: &DefinitionChange) {
    match &change.new {
        Some(new) => lock.approve(upstream, change.kind, &change.name, new.clone()),
        None => lock.remove(upstream, change.kind, &change.name),
    }
}

/// Asks the running Witgate whether it uses the approved definitions with this digest.
fn ask(socket: &Path, patience: Duration, upstream: &str, digest: &str) -> SocketAnswer {
    let command = ControlCommand::UpstreamDefinitions { upstream: upstream.to_owned() };
    match control::ask_for(socket, &command, patience) {
        Ok(answer) => match protocol::read::<ShownByLists>(&answer) {
            Ok(report) if report.approved.as_deref() == Some(digest) => {
                SocketAnswer::Answer(ChangeState::Yes(report.generation))
            }
            Ok(ShownByLists { approved: None, .. }) => {
                let why = format!("`pins` of `{upstream}` is off, so that nothing is compared");
                SocketAnswer::Answer(ChangeState::No(why))
            }
            Ok(_) => {
                SocketAnswer::NotYet("it still uses the former definitions; its log says why".to_owned())
            }
            Err(why) => SocketAnswer::Answer(ChangeState::No(why)),
        },
        Err(AskError::Nobody(_)) => SocketAnswer::Answer(ChangeState::Nobody),
        Err(AskError::Unanswered(why)) => SocketAnswer::NotYet(why),
    }
}

fn tell(context: &Context, path: &Path, chosen: &[DefinitionChange], state: &ChangeState) {
    if context.terminal.is_json() {
        let approved: Vec<_> = chosen.iter().map(DefinitionChange::json).collect();
        let answer = json!({ "version": 1, "file": path, "approved": approved, "in_force": state.json() });
        context.terminal.print_json(&answer);
    } else {
        let number = counted(chosen.len(), "definition");
        context.terminal.print(&format!("Approved {number} in {}.", path.display()));
    }
    state.say(&context.terminal);
}
