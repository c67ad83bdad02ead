//! `witgate upstream diff`: how definitions differ from the approved ones.

use serde_json::json;

use super::change::{ApprovedLock, ChangeKind, DefinitionChange, changes, name_of};
use super::shown_definitions::{UpstreamChoice, shown};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::counted;
use witgate_config::pins::{DefinitionDifference, shown as escaped};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    upstream: UpstreamChoice,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let name = &arguments.upstream.name;
    let lock = ApprovedLock::read(context, name)?;
    let all = changes(&lock.file, name, &shown(context, &arguments.upstream)?);
    if context.terminal.is_json() {
        let changes: Vec<_> = all.iter().map(DefinitionChange::json).collect();
        let id = (!all.is_empty()).then(|| name_of(&all));
        context.terminal.print_json(&json!({ "version": 1, "upstream": name, "changes": changes, "id": id }));
    } else if all.is_empty() {
        context.terminal.print(&format!("All definitions of `{name}` are the approved ones."));
    } else {
        all.iter().for_each(|change| context.terminal.print(&(text(change) + "\n\n")));
        context.terminal.say(&format!(
            "Not approved: {}. `witgate upstream approve {name} [TARGET…] --changes {}` approves these, unless the upstream \
             shows others by then.",
            counted(all.len(), "definition"),
            name_of(&all)
        ));
    }
    Ok(if all.is_empty() { Exit::Done } else { Exit::No })
}

/// A change in readable form.
pub(super) fn text(change: &DefinitionChange) -> String {
    let title = format!("{} `{}`: {}", change.kind.name(), escaped(&change.name), change.change.name());
    let mut lines = vec![title];
    match change.change {
        ChangeKind::Gone => lines.push("  the server does not list it any more".to_owned()),
        ChangeKind::Unreadable => {
            lines.push(
                "  it cannot be read in only one way: a key is there twice, or a number has no value"
                    .to_owned(),
            );
        }
        ChangeKind::New | ChangeKind::Changed => {
            let differences = change.differences();
            if differences.is_empty() {
                lines.push("  it is too large to be shown".to_owned());
            }
            differences.iter().for_each(|difference| add(difference, &mut lines));
        }
    }
    lines.join("\n")
}

fn add(difference: &DefinitionDifference, lines: &mut Vec<String>) {
    match difference {
        DefinitionDifference::Wider { place, what } => lines.push(format!("  WIDER {place}: {what}")),
        DefinitionDifference::Hint { name, before, after } => {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            lines.push(format!("  ANNOTATION {name}: {} → {}", value(before), value(after)));
        }
        DefinitionDifference::Value { place, before, after, hidden } => {
            lines.push(format!("  {place}"));
            for (sign, value) in [('-', before), ('+', after)] {
                let value = value.iter().flat_map(|value| value.lines());
                lines.extend(value.map(|line| format!("    {sign} {line}")));
            }
            if !hidden.is_empty() {
                lines.push(format!("    HIDDEN {hidden}"));
            }
        }
        DefinitionDifference::More => lines.push("  … and further differences".to_owned()),
    }
}
