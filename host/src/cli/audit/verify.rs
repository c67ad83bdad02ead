//! `witgate audit verify`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::place::{LogPlace, configured, keys};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::counted;
use witgate_audit::verify::{LogVerdict, LogVerification, verify};
use witgate_config::raw::CheckpointPlaces;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    place: LogPlace,
    /// File with the public key, from a place that nobody who can change the log can change [default: the one in the
    /// directory]
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// File with checkpoints that is kept elsewhere, to notice a missing end [default: `audit.checkpoint_to`]
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let directory = arguments.place.directory(context)?;
    let known = match arguments.against.as_slice() {
        [] if arguments.place.directory.is_none() => {
            let elsewhere = configured(context, |audit| {
                audit.checkpoint_to.iter().flat_map(CheckpointPlaces::files).collect()
            })?;
            elsewhere.into_iter().filter(|path| path.exists()).collect()
        }
        given => given.to_vec(),
    };
    let keys = keys(&arguments.key, &directory)?;
    let verification = verify(&directory, &keys, &known);
    let terminal = &context.terminal;
    if terminal.is_json() {
        terminal.print_json(&shown(&verification));
    } else {
        terminal.print(&summary(&verification));
        if arguments.key.is_empty() {
            terminal.say(
                "The public key is the one in the directory. Whoever can replace the whole directory can replace it, too: keep a copy elsewhere, and name it with `--key FILE`.",
            );
        }
    }
    Ok(match verification.verdict {
        LogVerdict::Intact => Exit::Done,
        LogVerdict::Altered { .. } => Exit::No,
        LogVerdict::Truncated { .. } => Exit::Truncated,
        LogVerdict::Unreadable { .. } => Exit::CouldNotRun,
    })
}

fn summary(verification: &LogVerification) -> String {
    let LogVerification { verdict, first, lines, segments, checkpoints, unsigned, incomplete } = verification;
    let count = |number: &u64, what: &str| counted(usize::try_from(*number).unwrap_or(usize::MAX), what);
    let mut text = format!(
        "{verdict}\n{} from line {first} on, in {}; {}",
        count(lines, "line"),
        count(segments, "segment"),
        count(checkpoints, "checkpoint"),
    );
    if *unsigned > 0 {
        text.push_str(&format!("\n{} after the last checkpoint", count(unsigned, "line")));
    }
    if *incomplete > 0 {
        text.push_str("\nthe last line is incomplete: it is being written, or a kill has left it");
    }
    text
}

fn shown(verification: &LogVerification) -> Value {
    let LogVerification { verdict, first, lines, segments, checkpoints, unsigned, incomplete } = verification;
    let mut shown = json!({
        "verdict": verdict.name(),
        "first": first,
        "lines": lines,
        "segments": segments,
        "checkpoints": checkpoints,
        "unsigned": unsigned,
        "incomplete_bytes": incomplete,
    });
    let details = match verdict {
        LogVerdict::Intact => json!({}),
        LogVerdict::Altered { file, line, what } => json!({ "file": file, "line": line, "what": what }),
        LogVerdict::Truncated { file, signed, found } => {
            json!({ "file": file, "signed": signed, "found": found })
        }
        LogVerdict::Unreadable { file, what } => json!({ "file": file, "what": what }),
    };
    if let (Some(shown), Value::Object(details)) = (shown.as_object_mut(), details) {
        shown.extend(details);
    }
    shown
}
