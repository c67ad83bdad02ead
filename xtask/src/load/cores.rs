//! The processor cores on which the processes of the benchmark run.

use std::fmt::{self, Display};
use std::path::Path;
use std::process::Command;

/// A way to share out the cores.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cores {
    /// All processes on all cores, as on a developer's machine.
    Shared,
    /// The gateway alone on the first core, everything else on the second.
    Apart,
}

impl Cores {
    /// The command that runs a gateway.
    pub(super) fn gateway(self, program: impl AsRef<Path>) -> Command {
        self.on("0", program.as_ref())
    }

    /// The command that runs another program.
    pub(super) fn rest(self, program: impl AsRef<Path>) -> Command {
        self.on("1", program.as_ref())
    }

    fn on(self, core: &str, program: &Path) -> Command {
        match self {
            Self::Shared => Command::new(program),
            Self::Apart => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", core]).arg(program);
                command
            }
        }
    }
}

impl Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "all on the same cores",
            Self::Apart => "the gateway alone on a core",
        })
    }
}
