//! The comparison of two runs, check by check.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Check, Expected, Outcome};

/// A difference that the baseline does not explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A check has another outcome, and not the one in the baseline.
    Unexpected {
        /// The scenario of the check.
        scenario: String,
        /// The check.
        check: String,
        /// The outcome without Witgate.
        direct: Outcome,
        /// The outcome through Witgate.
        through: Outcome,
    },
    /// An entry of the baseline about a check with the same outcome in both runs.
    Stale(Expected),
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { scenario, check, direct, through } => {
                write!(formatter, "{scenario}: {check}: {direct} directly, {through} through")
            }
            Self::Stale(entry) => write!(
                formatter,
                "{}: {}: no longer differs, remove it from the baseline ({})",
                entry.scenario, entry.check, entry.reason
            ),
        }
    }
}

/// Every difference between the runs that the baseline does not expect, better or worse, and every entry of the
/// baseline without its difference.
pub fn compare(direct: &[Check], through: &[Check], baseline: &[Expected]) -> Vec<Difference> {
    let (direct, through) = (by_name(direct), by_name(through));
    let mut expected: BTreeMap<Name<'_>, &Expected> =
        baseline.iter().map(|entry| ((entry.scenario.as_str(), entry.check.as_str()), entry)).collect();
    let names: BTreeSet<Name<'_>> = direct.keys().chain(through.keys()).copied().collect();

    let mut differences = Vec::new();
    for name in names {
        let (direct, through) = (outcome(&direct, name), outcome(&through, name));
        if direct == through {
            continue;
        }
        let known = expected.remove(&name);
        if known.is_none_or(|entry| entry.through != through) {
            differences.push(Difference::Unexpected {
                scenario: name.0.to_owned(),
                check: name.1.to_owned(),
                direct,
                through,
            });
        }
    }
    differences.extend(expected.into_values().cloned().map(Difference::Stale));
    differences
}

/// Scenario and check.
type Name<'a> = (&'a str, &'a str);

fn by_name(run: &[Check]) -> BTreeMap<Name<'_>, Outcome> {
    run.iter()
        .map(|check| {
            let name = (check.scenario.as_str(), check.id.as_str());
            (name, Outcome::Ran(check.status))
        })
        .collect()
}

fn outcome(run: &BTreeMap<Name<'_>, Outcome>, name: Name<'_>) -> Outcome {
    run.get(&name).copied().unwrap_or(Outcome::Missing)
}

#[cfg(test)]
mod tests;
