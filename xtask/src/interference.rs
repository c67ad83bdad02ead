//! Measures calls of a good policy while every hostile component is called as well. The measurement is an ignored test
//! in `tests/tests/it/hostile/interference.rs`; the gateway and the test are release builds.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::guests;
use witgate_build::cargo::cargo;
use witgate_build::process::run as run_program;

/// Time limit: everything is built for release, and calls run for two minutes and a half.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Builds, measures, and prints.
pub(crate) fn run(root: &Path) -> Result<()> {
    guests::build_all(root)?;
    let build = ["build", "--locked", "--release", "-p", "witgate", "--bin", "witgate"];
    run_program(cargo().args(build).current_dir(root), LONGEST)?;
    let measure = ["test", "--locked", "--release", "-p", "witgate-tests", "--test", "it", "--"];
    let only = ["--ignored", "--nocapture", "duration_of_good_calls_beside_hostile_policies"];
    let output = run_program(cargo().args(measure).args(only).current_dir(root), LONGEST)?;
    let figures = ["with", "alone", "beside", "against"];
    output
        .lines()
        .filter(|line| figures.iter().any(|word| line.starts_with(word)))
        .for_each(|line| println!("{line}"));
    Ok(())
}
