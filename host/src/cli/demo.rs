//! `witgate demo`.

use super::{Context, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End after the show, in place of serving on
    #[arg(long)]
    once: bool,
}

pub(super) fn run(_context: &Context, arguments: &Arguments) -> Result<Exit, Failure> {
    // Seam: the show itself; `cargo xtask demo` builds the components for it.
    let once = if arguments.once { " --once" } else { "" };
    Err(Failure::new(format!(
        "this build has no demo of its own; from a clone, run `cargo xtask demo{once}`"
    )))
}
