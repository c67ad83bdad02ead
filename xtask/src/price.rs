//! The price of one request: allocations, instructions, sizes of futures, bytes of a connection, each with a bound.

mod bounds;
mod measurement;
mod program;

use std::path::Path;

use anyhow::{Result, bail};

use bounds::{Bounds, Finding};
use measurement::Measurement;
use program::measure;

/// Measures and prints the table; `--update` makes the figures the new bounds.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let update = match arguments {
        [] => false,
        ["--update"] => true,
        other => bail!("`{}` is no option of `price`", other.join(" ")),
    };
    let measurement = measure(root)?;
    let bounds = Bounds::read(root)?;
    print!("{}", bounds.table(&measurement));
    match (update, &measurement.uncounted) {
        (true, Some(reason)) => bail!("the bounds stay as they are: {reason}"),
        (true, None) => Bounds::of(&measurement).write(root),
        (false, _) => judge(&bounds, &measurement),
    }
}

/// Measures, and fails for figures above their bounds.
pub(crate) fn check(root: &Path) -> Result<()> {
    let measurement = measure(root)?;
    judge(&Bounds::read(root)?, &measurement)
}

/// Prints the findings that need no action, and fails for the others.
fn judge(bounds: &Bounds, measurement: &Measurement) -> Result<()> {
    let (failures, notes): (Vec<_>, Vec<_>) =
        bounds.judge(measurement).into_iter().partition(Finding::is_failure);
    for note in bounds.unjudged(measurement).into_iter().chain(notes.iter().map(Finding::to_string)) {
        println!("\nprice: {note}");
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!(failures.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"))
}
