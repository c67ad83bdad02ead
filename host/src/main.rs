//! The `witgate` command.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use witgate::cli::{self, Cli};
use witgate::config::Environment;

/// The C library's allocator takes locks that the worker threads wait for: a third of the cost of a call.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Wrong usage ends the process here, with exit code 2.
    let arguments = Cli::parse();
    cli::run(arguments, Environment::of_process()).code().into()
}
