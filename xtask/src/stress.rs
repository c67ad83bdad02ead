//! The base of `swaps` and `soak`: callers on permanent connections, a gateway whose every change is known, and a
//! check that compares each answer, and each line of the audit log, with the states that were in force.

pub(crate) mod audit;
pub(crate) mod caller;
pub(crate) mod figures;
pub(crate) mod gateway;
pub(crate) mod load;
pub(crate) mod state;
pub(crate) mod timeline;
pub(crate) mod vitals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use witgate_build::cargo::cargo;
use witgate_build::process::run;

/// Time limit for a build: the release profile links everything as one piece.
const BUILD: Duration = Duration::from_secs(3600);

/// The build profile to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// The profile of a release, whose figures count.
    Release,
    /// The profile of every test run.
    Dev,
}

impl Profile {
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "release" => Ok(Self::Release),
            "dev" => Ok(Self::Dev),
            other => bail!("`--profile {other}`: there are `release` and `dev`"),
        }
    }

    /// Builds the gateway and its upstreams, and returns their directory.
    pub(crate) fn build(self, root: &Path) -> Result<PathBuf> {
        let mut cargo = cargo();
        cargo.arg("build").current_dir(root);
        let directory = match self {
            Self::Release => {
                cargo.args(["--release", "-p", "witgate", "-p", "witgate-tests"]);
                cargo.args(["--bin", "witgate", "--bin", "plain-upstream"]);
                "release"
            }
            // With the features of the whole workspace, so that this build and that of the tests share artifacts.
            Self::Dev => {
                cargo.args(["--workspace", "--bins", "--tests"]);
                "debug"
            }
        };
        eprintln!("building ({directory})");
        run(&mut cargo, BUILD)?;
        Ok(root.join("target").join(directory))
    }
}
