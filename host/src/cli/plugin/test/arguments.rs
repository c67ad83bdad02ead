//! The options of `witgate plugin test`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Plugin projects or files of cases [default: the project in the current directory]
    #[arg(value_name = "DIR|FILE")]
    pub(super) paths: Vec<PathBuf>,

    /// Component to run the cases against [default: that of the project]
    #[arg(long, value_name = "FILE")]
    pub(super) component: Option<PathBuf>,

    /// Also run the cases against this component file, or `builtin`, and report differences
    #[arg(long, value_name = "builtin|FILE")]
    pub(super) against: Option<String>,

    /// Run only cases whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Option<String>,

    /// Keep running, and repeat whenever the component or the cases change
    #[arg(long, conflicts_with_all = ["update", "junit"])]
    pub(super) watch: bool,

    /// Write a JUnit report for CI systems to this file
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,

    /// Ask, then replace the expectations of failing cases with the actual answers
    #[arg(long)]
    pub(super) update: bool,

    /// Replace them without asking
    #[arg(long, requires = "update")]
    pub(super) yes: bool,

    /// Number of cases that run at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub(super) parallel: Option<NonZeroUsize>,

    /// Print the JSON Schema of case files and exit
    #[arg(long)]
    pub(super) schema: bool,
}

impl Arguments {
    /// The paths to search: those of the command line, else the current directory.
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
