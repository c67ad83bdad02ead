//! The bounds of the figures, in a file beside the program that measures them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::measurement::{INSTRUCTIONS, Measurement};

/// Percentage by which a figure may be above or below its bound.
const TOLERANCE: u64 = 3;

/// The first lines of the file.
const HEAD: &str = "# The price of a request. `cargo xtask price --update` writes this file; docs/performance.md describes it.\n";

/// The bounds, and the compiler whose instructions they count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    compiler: String,
    figures: BTreeMap<String, u64>,
}

/// A figure that is outside its bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Above {
        figure: String,
        bound: u64,
        value: u64,
    },
    Below {
        figure: String,
        bound: u64,
        value: u64,
    },
    /// A figure has no bound.
    Missing {
        figure: String,
        value: u64,
    },
    /// A bound has no figure.
    Unknown {
        figure: String,
    },
}

impl Finding {
    pub(super) fn is_failure(&self) -> bool {
        !matches!(self, Self::Below { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above { figure, bound, value } => write!(
                f,
                "{figure}: the bound is {bound}, the value {value} ({}): make it cheaper, or raise the bound in the same commit (`cargo xtask price --update`) and say why",
                change(*bound, *value)
            ),
            Self::Below { figure, bound, value } => write!(
                f,
                "{figure}: the bound is {bound}, the value only {value} ({}): lower the bound (`cargo xtask price --update`)",
                change(*bound, *value)
            ),
            Self::Missing { figure, value } => {
                write!(
                    f,
                    "{figure}: the value is {value}, and there is no bound: `cargo xtask price --update`"
                )
            }
            Self::Unknown { figure } => {
                write!(f, "{figure}: there is a bound, and no such figure: `cargo xtask price --update`")
            }
        }
    }
}

impl Bounds {
    /// Bounds that are equal to the figures.
    pub(super) fn of(measurement: &Measurement) -> Self {
        Self { compiler: measurement.compiler.clone(), figures: measurement.figures.clone() }
    }

    pub(super) fn read(root: &Path) -> Result<Self> {
        let path = path(root);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} cannot be used", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut table: toml::Table = text.parse()?;
        let compiler = table.remove("compiler").context("it names no `compiler`")?.try_into()?;
        let figures = table.remove("figures").context("it has no `figures`")?.try_into()?;
        Ok(Self { compiler, figures })
    }

    /// Replaces the file.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        fs::write(path(root), self.text()).context("cannot write the bounds")
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}compiler = {:?}\n\n[figures]\n", self.compiler);
        for (figure, bound) in &self.figures {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{figure:?} = {bound}");
        }
        text
    }

    /// The figures outside their bounds, in the order of their names.
    pub(super) fn judge(&self, measurement: &Measurement) -> Vec<Finding> {
        let names: BTreeSet<_> = self.figures.keys().chain(measurement.figures.keys()).collect();
        let judged = names.into_iter().filter(|name| self.judges(name, measurement));
        judged
            .filter_map(|name| finding(name, self.figures.get(name), measurement.figures.get(name)))
            .collect()
    }

    /// False for instructions that were not counted, or that another compiler generated.
    fn judges(&self, figure: &str, measurement: &Measurement) -> bool {
        !figure.ends_with(INSTRUCTIONS) || self.unjudged(measurement).is_none()
    }

    /// The reason why instructions are not judged.
    pub(super) fn unjudged(&self, measurement: &Measurement) -> Option<String> {
        let other = || {
            (self.compiler != measurement.compiler).then(|| {
                format!(
                    "instructions are not judged, only allocations and sizes: the bounds are for {}, and this is {}",
                    self.compiler, measurement.compiler
                )
            })
        };
        measurement.uncounted.clone().or_else(other)
    }

    /// All figures with their bounds.
    pub(super) fn table(&self, measurement: &Measurement) -> String {
        let mut table = format!("{:<40}{:>12}{:>12}\n", "", "bound", "value");
        for (figure, value) in &measurement.figures {
            let bound = self.figures.get(figure);
            let (limit, change) = match bound {
                Some(bound) => (bound.to_string(), change(*bound, *value)),
                None => ("none".to_owned(), String::new()),
            };
            let _ = writeln!(table, "{figure:<40}{limit:>12}{value:>12}  {change}");
        }
        table
    }
}

fn finding(figure: &str, bound: Option<&u64>, value: Option<&u64>) -> Option<Finding> {
    let figure = figure.to_owned();
    match (bound, value) {
        (Some(&bound), Some(&value)) if value * 100 > bound * (100 + TOLERANCE) => {
            Some(Finding::Above { figure, bound, value })
        }
        (Some(&bound), Some(&value)) if value * 100 < bound * (100 - TOLERANCE) => {
            Some(Finding::Below { figure, bound, value })
        }
        (None, Some(&value)) => Some(Finding::Missing { figure, value }),
        (Some(_), None) => Some(Finding::Unknown { figure }),
        _ => None,
    }
}

/// The difference in percent of the bound.
fn change(bound: u64, value: u64) -> String {
    format!("{:+.1} %", (value as f64 / bound as f64 - 1.0) * 100.0)
}

fn path(root: &Path) -> PathBuf {
    root.join("host/benches/price/bounds.toml")
}
