//! Ratios of two places, round by round, with the confidence interval of their median.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::measure::Figures;
use super::median::{interval, median};
use super::places::{
    KEY_BEFORE, KEY_NOW, PROXY, RMCP, RMCP_KEY_BEFORE, RMCP_KEY_NOW, TOKEN_BEFORE, TOKEN_NOW,
};

/// The figures of all rounds.
#[derive(Default)]
pub(super) struct Comparison {
    runs: BTreeMap<(&'static str, u32), Vec<Figures>>,
}

/// A figure for comparisons, with its name.
type Measure = (&'static str, u32, fn(&Figures) -> f64);

const RATE: Measure = ("requests/s at 32", 32, |f| f.per_second);
const PROCESSOR: Measure = ("µs of processor a request at 32", 32, |f| f.cpu);
const P99: Measure = ("p99 at 32, µs", 32, |f| f.p99);
const P50: Measure = ("p50 at 1, µs", 1, |f| f.p50);

/// The pairs of places, and the figures by which they are compared.
const PAIRS: &[(&str, &str, &[Measure])] = &[
    (KEY_NOW, KEY_BEFORE, &[RATE, PROCESSOR, P99, P50]),
    (TOKEN_NOW, TOKEN_BEFORE, &[RATE, PROCESSOR, P99, P50]),
    (RMCP_KEY_NOW, RMCP_KEY_BEFORE, &[RATE, P50]),
    (KEY_BEFORE, PROXY, &[RATE, P99, P50]),
    (KEY_NOW, PROXY, &[RATE, PROCESSOR, P99, P50]),
    (TOKEN_NOW, PROXY, &[RATE, P50]),
    (RMCP_KEY_NOW, RMCP, &[RATE, P50]),
];

impl Comparison {
    pub(super) fn add(&mut self, place: &'static str, connections: u32, figures: Figures) {
        self.runs.entry((place, connections)).or_default().push(figures);
    }

    fn values(&self, place: &str, (_, connections, figure): Measure) -> Vec<f64> {
        let runs = self.runs.iter().filter(|((name, of), _)| *name == place && *of == connections);
        runs.flat_map(|(_, runs)| runs).map(figure).collect()
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| places | measure | second | first | first / second | 95 % interval |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for (first, second, measures) in PAIRS {
            for &measure in *measures {
                let (of, to) = (self.values(first, measure), self.values(second, measure));
                let ratios: Vec<f64> = of.iter().zip(&to).map(|(of, to)| of / to).collect();
                let (low, high) = interval(&ratios);
                let ratio = median(ratios.into_iter());
                let (of, to) = (median(of.into_iter()), median(to.into_iter()));
                let name = measure.0;
                let pair = format!("{} / {}", first.trim(), second.trim());
                writeln!(f, "| {pair} | {name} | {to:.1} | {of:.1} | {ratio:.3} | {low:.3} to {high:.3} |")?;
            }
        }
        Ok(())
    }
}
