//! The `witgate` command.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use witgate::cli::{self, Cli};
use witgate::config::Environment;

/// The C library's allocator takes locks that the workers queue for: a third of what a call costs.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Wrong usage ends here, with 2.
    let arguments = Cli::parse();
    cli::run(arguments, Environment::of_process()).code().into()
}
