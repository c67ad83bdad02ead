//! The value of a secret, from the terminal or from standard input.

use std::io::{self, IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use crate::cli::outcome::CommandFailure;
use witgate_config::secret_text::in_file;

/// Size limit of the input, in bytes. The store has a lower one for a value.
const LARGEST: usize = 1 << 20;

/// Standard input up to its end, without the line break at its end.
pub(super) fn whole() -> Result<Zeroizing<String>, CommandFailure> {
    // With its final size, because growing would leave copies in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
    let read = io::stdin().lock().take(LARGEST as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| CommandFailure::new(format!("standard input cannot be read: {error}")))?;
    if bytes.len() > LARGEST {
        return Err(CommandFailure::new(format!("standard input has more than {LARGEST} bytes")));
    }
    let text = std::str::from_utf8(&bytes);
    let text = text
        .map_err(|_| CommandFailure::new("standard input is not UTF-8; encode it, for example in base64"))?;
    Ok(Zeroizing::new(in_file(text).to_owned()))
}

/// A line that is typed at the terminal and not shown.
pub(super) fn line(name: &str) -> Result<Zeroizing<String>, CommandFailure> {
    if !io::stdin().is_terminal() {
        let message = format!(
            "there is no terminal to type the value at; `witgate secret set {name} -` reads standard input"
        );
        return Err(CommandFailure::new(message));
    }
    rpassword::prompt_password(format!("Value of `{name}` (not shown): "))
        .map(Zeroizing::new)
        .map_err(|error| CommandFailure::new(format!("the terminal cannot be read: {error}")))
}
