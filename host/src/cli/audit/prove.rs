//! `witgate audit prove`.

use std::path::PathBuf;

use super::place::LogPlace;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_audit::proof::{LineChoice, LineProofError, prove};
use witgate_base::whole_file;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Number of the line, or id of the decision (`data.decision` of an error, or the header Witgate-Decision)
    #[arg(value_name = "LINE|ID")]
    line: String,
    #[command(flatten)]
    place: LogPlace,
    /// File for the proof [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let directory = arguments.place.directory(context)?;
    let proof = match prove(&directory, &LineChoice::of(&arguments.line)) {
        Ok(proof) => proof,
        Err(error @ (LineProofError::Unknown(_) | LineProofError::Altered(_))) => {
            context.terminal.say(&error.to_string());
            return Ok(Exit::No);
        }
        Err(error) => return Err(CommandFailure::new(error.to_string())),
    };
    match &arguments.output {
        None => context.terminal.print(&proof.to_string()),
        Some(path) => {
            use std::io::Write as _;
            let text = proof.to_string();
            whole_file::replace(path, |file| file.write_all(text.as_bytes())).map_err(|error| {
                CommandFailure::new(format!("{} cannot be written: {error}", path.display()))
            })?;
            context.terminal.say(&format!("Wrote the proof of line {} to {}.", proof.number, path.display()));
        }
    }
    Ok(Exit::Done)
}
