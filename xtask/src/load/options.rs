//! The arguments of the command.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::peer::PeerOptions;

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
    /// The gateway that is measured. None: that of this tree, which is built.
    pub(super) gateway: Option<PathBuf>,
    /// True for the price of settings.
    pub(super) settings: bool,
    /// Another gateway that gets the same calls.
    pub(super) peer: Option<PeerOptions>,
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
                "--gateway" => {
                    let program = rest.next().context("`--gateway` needs the path of a program")?;
                    options.gateway = Some(program.into());
                }
                "--settings" => options.settings = true,
                "--peer" => {
                    let command = rest.next().context("`--peer` needs a shell command")?;
                    options.peer = Some(PeerOptions::of(command));
                }
                "--peer-path" => {
                    let path = rest.next().context("`--peer-path` needs a path, such as `/mcp`")?;
                    (*path).clone_into(&mut options.of_peer()?.path);
                }
                "--peer-header" => {
                    let header = rest.next().context("`--peer-header` needs `NAME: VALUE`")?;
                    options.of_peer()?.header = Some(PeerOptions::header(header)?);
                }
                option if option.starts_with('-') => bail!("`{option}` is no option of `load`"),
                number => {
                    let rounds = number.parse();
                    options.rounds =
                        Some(rounds.with_context(|| format!("ROUNDS is a number, not `{number}`"))?);
                }
            }
        }
        let wanted = [options.settings, options.peer.is_some(), options.against.is_some()];
        if wanted.into_iter().filter(|wanted| *wanted).count() > 1 {
            bail!("`--settings`, `--peer` and `--against` are different measurements: take one of them");
        }
        Ok(options)
    }

    fn of_peer(&mut self) -> Result<&mut PeerOptions> {
        self.peer.as_mut().context("`--peer COMMAND` comes before its other options")
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.against.is_some() { ROUNDS_AGAINST } else { ROUNDS })
    }
}
