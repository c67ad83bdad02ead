//! The development commands of the project: everything that needs more than cargo.

// Printing is half of this program's job.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for people")]

mod demo;
mod fuzz;
mod guests;
mod interference;
mod load;
mod price;
mod release;
mod servers;
mod soak;
mod stress;
mod swaps;
mod test;
mod tools;
mod wit;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

const USAGE: &str = "usage: cargo xtask COMMAND
  demo [--once]             show Witgate in front of a real server; --once ends by itself
  test                      set up, check and test everything
  fuzz [SECONDS]            build the fuzz targets and run each for SECONDS (10)
  load [ROUNDS]             measure the release build against a proxy that checks nothing
  load --against REV [ROUNDS]
                            compare it with the build of another commit, in alternation
  load --peer COMMAND [--peer-path PATH] [--peer-header 'NAME: VALUE'] [ROUNDS]
                            measure another gateway with the same calls; COMMAND serves the MCP server at the URL
                            $UPSTREAM on the address $LISTEN
  load --settings [ROUNDS]  measure the price of limits, lockout, audit log and traces, and wrong keys beside a caller
  load ... --gateway PROGRAM
                            measure this program in place of a build of this tree
  release                   build the program that ships, optimised with a profile of its calls
  price [--update]          count instructions and allocations of a request; --update makes them the bounds
  interference              measure a good policy together with all hostile ones, in the release build
  swaps [N] [--profile P]   replace policies N times under load; P is release or dev
  soak [--minutes N] [--profile P]
                            everything that can go wrong, all at once
  soak --starve [--minutes N | --seconds N] [--seed N] [--profile P]
                            descriptors, threads, memory, disk and notifications are taken away and given back
  guests                    build the components into target/plugins
  tools                     install the real clients, the conformance suite, the authorization servers
  wit [--check]             write the world types that the SDK embeds, or see that they are current
  encode MODULE COMPONENT   turn a core module into a component";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in the workspace")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["demo"] => demo::run(root, demo::End::OnSignal),
        ["demo", "--once"] => demo::run(root, demo::End::Once),
        ["test"] => test::all(root),
        ["fuzz"] => fuzz::all(root, None),
        ["fuzz", seconds] => fuzz::all(root, Some(seconds)),
        ["load", ref rest @ ..] => load::run(root, rest),
        ["release"] => release::run_all(root),
        ["price", ref rest @ ..] => price::run(root, rest),
        ["interference"] => interference::run(root),
        ["swaps", ref rest @ ..] => swaps::run(root, rest),
        ["soak", ref rest @ ..] => soak::run(root, rest),
        ["guests"] => guests::build_all(root),
        ["tools"] => {
            let tools = tools::install(root)?;
            println!("tools: ready in {}", tools.dir.display());
            Ok(())
        }
        ["wit"] => wit::write(root),
        ["wit", "--check"] => wit::check(root),
        ["encode", module, component] => guests::encode(Path::new(module), Path::new(component)).map(drop),
        _ => bail!(USAGE),
    }
}
