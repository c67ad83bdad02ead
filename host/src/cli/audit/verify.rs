//! `witgate audit verify`.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::place::{LogPlace, configured, configured_witnesses, keys, read_keys};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::counted;
use witgate_audit::verify::{LogVerdict, LogVerification, WitnessVerification, verify_cosigned};
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
    /// File with the public key of a witness that must have cosigned the log [default: those of the configuration, which
    /// need not have]
    #[arg(long, value_name = "FILE")]
    witness: Vec<PathBuf>,
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
    let witnesses = match arguments.witness.as_slice() {
        [] if arguments.place.directory.is_none() => configured_witnesses(context)?,
        given => read_keys(given)?,
    };
    let verification = verify_cosigned(&directory, &keys, &known, &witnesses);
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
    let is_missing = |witness: &WitnessVerification| witness.checkpoints == 0;
    Ok(match verification.verdict {
        LogVerdict::Intact
            if !arguments.witness.is_empty() && verification.witnesses.iter().any(is_missing) =>
        {
            Exit::Uncosigned
        }
        LogVerdict::Intact => Exit::Done,
        LogVerdict::Altered { .. } => Exit::No,
        LogVerdict::Truncated { .. } => Exit::Truncated,
        LogVerdict::Unreadable { .. } => Exit::CouldNotRun,
    })
}

fn summary(verification: &LogVerification) -> String {
    let LogVerification { verdict, first, lines, segments, checkpoints, unsigned, .. } = verification;
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
    if verification.incomplete > 0 {
        text.push_str("\nthe last line is incomplete: it is being written, or a kill has left it");
    }
    for WitnessVerification { key, checkpoints, lines, at } in &verification.witnesses {
        text.push_str(&match checkpoints {
            0 => format!("\n{} has cosigned nothing", key.name()),
            _ => {
                let after = (first + verification.lines).saturating_sub(*lines);
                format!(
                    "\n{} has cosigned {}, the last time {}; it has not seen {} after them",
                    key.name(),
                    count(lines, "line"),
                    time(*at),
                    count(&after, "line"),
                )
            }
        });
    }
    text
}

fn shown(verification: &LogVerification) -> Value {
    let LogVerification { verdict, first, lines, segments, checkpoints, unsigned, incomplete, witnesses } =
        verification;
    let mut shown = json!({
        "verdict": verdict.name(),
        "first": first,
        "lines": lines,
        "segments": segments,
        "checkpoints": checkpoints,
        "unsigned": unsigned,
        "incomplete_bytes": incomplete,
        "witnesses": witnesses.iter().map(|seen| witness(seen, first + lines)).collect::<Vec<_>>(),
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

/// The part of a log with this number of lines, former segments included, that a witness has seen.
fn witness(WitnessVerification { key, checkpoints, lines, at }: &WitnessVerification, all: u64) -> Value {
    let time = (*checkpoints > 0).then(|| time(*at));
    let unseen = all.saturating_sub(*lines);
    json!({ "name": key.name(), "checkpoints": checkpoints, "lines": lines, "unseen": unseen, "time": time })
}

/// A time in seconds since 1970.
fn time(seconds: u64) -> String {
    // The last second that has four digits for its year.
    let seconds = Duration::from_secs(seconds.min(253_402_300_799));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + seconds).to_string()
}
