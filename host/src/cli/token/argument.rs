//! The token argument of a command.

use std::io::Read;

use secrecy::SecretString;

use crate::cli::outcome::CommandFailure;

/// The token on the command line; if it is absent or `-`, the token on standard input.
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
