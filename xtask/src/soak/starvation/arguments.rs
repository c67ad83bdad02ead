//! The options of the soak without resources.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::shortage::Kind;
use crate::stress::Profile;

const MINUTES: u64 = 10;

/// Maximum number of seconds from the end of a shortage to the effect of a change: a revocation, or an edited rule.
const IN_FORCE_S: u64 = 5;

/// The options.
pub(in crate::soak) struct Arguments {
    pub(super) time: Duration,
    pub(super) seed: u64,
    /// Time limit for revocations and edited rules to be in force.
    pub(super) within: Duration,
    pub(super) profile: Profile,
    /// The directory of programs that are built already.
    pub(super) programs: Option<PathBuf>,
    /// The resources to take away.
    pub(super) kinds: Vec<Kind>,
    /// The directory of the components, if it is not the workspace.
    pub(super) root: Option<PathBuf>,
}

impl Arguments {
    pub(in crate::soak) fn parse(arguments: &[&str]) -> Result<Self> {
        let seed = u64::from(std::process::id());
        let time = Duration::from_secs(MINUTES * 60);
        let mut parsed = Self {
            time,
            seed,
            within: Duration::from_secs(IN_FORCE_S),
            profile: Profile::Release,
            programs: None,
            kinds: Kind::ALL.into(),
            root: None,
        };
        for pair in arguments.chunks(2) {
            match *pair {
                ["--minutes", number] => parsed.time = Duration::from_secs(number.parse::<u64>()? * 60),
                ["--seconds", number] => parsed.time = Duration::from_secs(number.parse()?),
                ["--within", number] => parsed.within = Duration::from_secs(number.parse()?),
                ["--seed", number] => parsed.seed = number.parse()?,
                ["--profile", name] => parsed.profile = Profile::named(name)?,
                ["--programs", directory] => parsed.programs = Some(directory.into()),
                ["--kinds", names] => parsed.kinds = Kind::named(names)?,
                ["--root", directory] => parsed.root = Some(directory.into()),
                _ => bail!(
                    "usage: cargo xtask soak --starve [--minutes N | --seconds N] [--seed N] [--profile release|dev] \
                     [--programs DIRECTORY] [--kinds KIND,KIND] [--within SECONDS]"
                ),
            }
        }
        Ok(parsed)
    }
}
