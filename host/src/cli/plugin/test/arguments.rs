//! The options of `witgate plugin test`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Plugin projects or files of cases [default: the project in the current directory]
    #[arg(value_name = "DIR|FILE")]
    pub(super) paths: Vec<PathBuf>,

    /// Component to run the cases against, in place of the project's own
    #[arg(long, value_name = "FILE")]
    pub(super) component: Option<PathBuf>,

    /// Also run the cases against this component file, or `builtin`, and report differences
    #[arg(long, value_name = "builtin|FILE")]
    pub(super) against: Option<String>,

    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Option<String>,

    /// Keep running, and repeat whenever the component or the cases change
    #[arg(long, conflicts_with_all = ["update", "junit"])]
    pub(super) watch: bool,

    /// Write a report for CI systems
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,

    /// Ask, and update the expectations of failing cases to the actual answers
    #[arg(long)]
    pub(super) update: bool,

    /// Update without asking
    #[arg(long, requires = "update")]
    pub(super) yes: bool,

    /// Number of cases that run at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub(super) parallel: Option<NonZeroUsize>,

    /// Print the JSON Schema of files of cases, and do nothing else
    #[arg(long)]
    pub(super) schema: bool,
}

impl Arguments {
    /// The places to search: those that were named, else the current directory.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        match self.paths.is_empty() {
            true => vec![PathBuf::from(".")],
            false => self.paths.clone(),
        }
    }

    pub(super) fn at_once(&self) -> usize {
        self.parallel.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}
