//! The arguments of the command.

use anyhow::{Context, Result, bail};

/// Rounds for a steady median on a machine with other work.
const ROUNDS: usize = 5;

/// Rounds for narrow intervals.
const ROUNDS_AGAINST: usize = 12;

/// The arguments of `cargo xtask load`.
#[derive(Debug, Default)]
pub(super) struct Options {
    rounds: Option<usize>,
    /// The commit whose build is compared with this one.
    pub(super) against: Option<String>,
}

impl Options {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--against" => {
                    let revision = rest.next().context("`--against` needs a commit, such as `HEAD~1`")?;
                    options.against = Some((*revision).to_owned());
                }
                option if option.starts_with('-') => bail!("`{option}` is no option of `load`"),
                number => {
                    let rounds = number.parse();
                    options.rounds =
                        Some(rounds.with_context(|| format!("ROUNDS is a number, not `{number}`"))?);
                }
            }
        }
        Ok(options)
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.against.is_some() { ROUNDS_AGAINST } else { ROUNDS })
    }
}
