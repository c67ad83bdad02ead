//! Measures the cost of the whole gateway: the same calls to an upstream directly, through a proxy that
//! checks nothing, and through Witgate with its checks as components, in turns, so that what else the machine
//! does falls on all of them alike.

mod call;
mod measure;
mod median;
mod places;
mod report;
mod scene;
mod start;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use measure::{CONNECTIONS, Figures, measure};
use places::{Place, Places};
use report::Report;
use scene::Scene;
use witgate_build::apt;
use witgate_build::cargo::cargo;
use witgate_build::process::{run as run_to_end, works};

/// The release profile links everything as one piece.
const BUILD: Duration = Duration::from_secs(3600);

/// As many as make the median steady on a machine that has other things to do.
const ROUNDS: usize = 5;

/// Builds, measures, and prints the table. All of it stays on this machine.
pub(crate) fn run(root: &Path, rounds: Option<&str>) -> Result<()> {
    let rounds = rounds.map_or(Ok(ROUNDS), str::parse).context("ROUNDS is a number")?;
    need_wrk()?;
    build(root)?;
    let directory = tempfile::tempdir()?;
    let scene = Scene::set(root, directory.path())?;
    let start = start::measure(&scene)?;
    let mut report = Report::new(start);
    let places = Places::open(&scene)?;
    report.idle(places.gateway_memory()?);
    for place in places.all() {
        place.check()?;
    }
    for round in 1..=rounds {
        eprintln!("load: round {round} of {rounds}");
        for connections in CONNECTIONS {
            for place in places.all() {
                report.add(place.name, connections, one(place, connections)?);
                scene.forget_log()?;
            }
        }
    }
    report.under_load(places.gateway_memory()?);
    println!("{report}");
    Ok(())
}

/// A call in a hundred may fail where the machine is so busy that a hook overruns its time; it is
/// said, and more are a fault.
fn one(place: &Place, connections: u32) -> Result<Figures> {
    let figures = measure(place, connections).with_context(|| place.name.to_owned())?;
    let Figures { errors, requests, .. } = figures;
    let said = format!("{}: {errors} of {requests} calls failed", place.name.trim());
    if errors * 100 > requests {
        bail!(said);
    }
    if errors > 0 {
        eprintln!("load: {said}");
    }
    Ok(figures)
}

fn need_wrk() -> Result<()> {
    // It says no to every option, but it says it.
    let there = || works(Command::new("sh").args(["-c", "command -v wrk"]));
    if !there() {
        apt::install(&["wrk"]).context("`wrk` is missing: install Debian's package of that name")?;
    }
    Ok(())
}

fn build(root: &Path) -> Result<()> {
    eprintln!("load: building for release");
    let mut cargo = cargo();
    cargo.args(["build", "--release", "-p", "witgate", "-p", "witgate-tests", "--bins"]).current_dir(root);
    run_to_end(&mut cargo, BUILD)?;
    Ok(())
}
