//! `witgate audit check`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_audit::proof::LineProof;
use witgate_audit::public_keys;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// File with the proof
    #[arg(value_name = "PROOF")]
    proof: PathBuf,
    /// File with the public key of the log
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let text = std::fs::read_to_string(&arguments.proof).map_err(|error| {
        CommandFailure::new(format!("{} cannot be read: {error}", arguments.proof.display()))
    })?;
    let mut keys = Vec::new();
    for file in &arguments.key {
        let read = public_keys(file);
        keys.extend(read.map_err(|error| {
            CommandFailure::new(format!("{}: the public key cannot be used: {error}", file.display()))
        })?);
    }
    let checked = text.parse::<LineProof>().and_then(|proof| Ok((proof.check(&keys)?, proof)));
    let terminal = &context.terminal;
    match checked {
        Ok((checkpoint, proof)) => {
            let entry: Value = serde_json::from_str(&proof.line).unwrap_or_default();
            match terminal.is_json() {
                true => terminal.print_json(&json!({
                    "valid": true, "origin": checkpoint.origin, "line": proof.number,
                    "size": checkpoint.size, "entry": entry,
                })),
                false => terminal.print(&format!(
                    "valid: line {} of {} is in the log of {} lines\n{entry:#}",
                    proof.number, checkpoint.origin, checkpoint.size
                )),
            }
            Ok(Exit::Done)
        }
        Err(fault) => {
            match terminal.is_json() {
                true => terminal.print_json(&json!({ "valid": false, "reason": fault.to_string() })),
                false => terminal.print(&format!("invalid: {fault}")),
            }
            Ok(Exit::No)
        }
    }
}
