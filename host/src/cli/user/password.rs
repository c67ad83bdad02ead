//! The password that a command gets: from the terminal, without showing it, or from standard input.

use std::io::{IsTerminal as _, Read as _};

use witgate_basic::credential::composed_password;
use witgate_basic::hash::PasswordHash;
use zeroize::Zeroizing;

use super::users_place::PasswordTerms;
use crate::cli::outcome::CommandFailure;
use witgate_config::user_store::{NewPassword, password_fault};
use witgate_services::passwords::algorithm::hash_of;

/// The options that choose the source of a password.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct PasswordOptions {
    /// Read the password from standard input, as one line
    #[arg(long)]
    password_stdin: bool,
    /// Accept a password that can be guessed: of fewer than 8 characters, a common one, or the name of the user or service
    #[arg(long)]
    weak: bool,
}

impl PasswordOptions {
    /// The hash of a new password for the user `name`.
    ///
    /// # Errors
    /// If there is no password, or it is not used.
    pub(super) fn hash(self, name: &str, terms: &PasswordTerms) -> Result<PasswordHash, CommandFailure> {
        let password = if self.password_stdin { from_input()? } else { from_terminal(name)? };
        let password = composed_password(&password);
        let new = NewPassword { user: name, services: &terms.services, text: &password };
        let advice = match password_fault(new, self.weak) {
            None => {
                return hash_of(&password, terms.cost)
                    .map_err(|error| CommandFailure::new(error.to_string()));
            }
            Some(fault) if fault.is_weakness() => format!("{fault}; take another one, or add `--weak`"),
            Some(fault) => fault.to_string(),
        };
        Err(CommandFailure::new(format!("{advice}; nothing was written")))
    }
}

fn from_input() -> Result<Zeroizing<String>, CommandFailure> {
    // A password that is too long is refused, so the text never moves.
    let mut text = Zeroizing::new(String::with_capacity(8_192));
    let read = std::io::stdin().take(8_000).read_to_string(&mut text);
    read.map_err(|error| {
        CommandFailure::new(format!("no password could be read from standard input: {error}"))
    })?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Zeroizing::new(line.to_owned()))
}

fn from_terminal(name: &str) -> Result<Zeroizing<String>, CommandFailure> {
    if !std::io::stdin().is_terminal() {
        return Err(CommandFailure::new(
            "there is no terminal to enter a password; add `--password-stdin` and write it to standard input",
        ));
    }
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .map_err(|error| CommandFailure::new(format!("no password could be read: {error}")))
    };
    let first = ask(format!("Password for {name}: "))?;
    let again = ask("The same again: ".to_owned())?;
    match first == again {
        true => Ok(first),
        false => Err(CommandFailure::new("the two passwords are different; nothing was written")),
    }
}
