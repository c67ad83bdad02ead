//! The result of a measurement.

use std::collections::BTreeMap;

/// The end of the name of a figure that callgrind counts.
pub(super) const INSTRUCTIONS: &str = ": instructions";

/// The figures of one run.
#[derive(Debug, Default)]
pub(super) struct Measurement {
    /// Figures by name; the values are whole numbers, and smaller is better.
    pub(super) figures: BTreeMap<String, u64>,
    /// The compiler and its platform: instructions depend on them.
    pub(super) compiler: String,
    /// The reason why no instructions were counted.
    pub(super) uncounted: Option<String>,
}
