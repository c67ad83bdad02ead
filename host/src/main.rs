//! The `witgate` command.

use std::process::ExitCode;

use clap::Parser;
use witgate::cli::{self, Cli};
use witgate::config::environment::Environment;

fn main() -> ExitCode {
    // Wrong usage ends here, with 2.
    let arguments = Cli::parse();
    cli::run(arguments, Environment::of_process()).code().into()
}
