//! The token that a command is about.

use std::io::Read;

use secrecy::SecretString;

use crate::cli::outcome::CommandFailure;

/// A token that stands on the command line; absent or `-`: read from standard input.
pub(super) fn token(argument: Option<&str>) -> Result<SecretString, CommandFailure> {
    let text = match argument {
        Some(token) if token != "-" => token.to_owned(),
        _ => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| {
                CommandFailure::new(format!("no token could be read from standard input: {error}"))
            })?;
            text
        }
    };
    Ok(text.trim().into())
}
