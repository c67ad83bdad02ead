//! Samples of one measurement, with the confidence interval of their median.

use serde_json::{Value, json};

/// Number of resamples for the confidence interval.
const DRAWS: usize = 500;
/// Largest size of a resample. From more samples, an even selection is taken.
const MOST: usize = 1000;

/// Repeated measurements of one thing.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The quantile: this share of all samples is not greater.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        quantile(&self.sorted(), share)
    }

    /// The 95 % confidence interval of the median: the middle 95 % of the medians of resamples.
    pub(super) fn interval(&self) -> (f64, f64) {
        let sorted = self.sorted();
        let step = sorted.len().div_ceil(MOST).max(1);
        let from: Vec<f64> = sorted.into_iter().step_by(step).collect();
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut medians: Vec<f64> = (0..DRAWS)
            .map(|_| {
                let mut drawn: Vec<f64> =
                    from.iter().filter_map(|_| from.get(dice.below(from.len())).copied()).collect();
                drawn.sort_unstable_by(f64::total_cmp);
                quantile(&drawn, 0.5)
            })
            .collect();
        medians.sort_unstable_by(f64::total_cmp);
        (quantile(&medians, 0.025), quantile(&medians, 0.975))
    }

    pub(super) fn json(&self) -> Value {
        let (from, to) = self.interval();
        json!({
            "samples": self.len(),
            "p50": self.quantile(0.5),
            "p50_from": from,
            "p50_to": to,
            "p99": self.quantile(0.99),
        })
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index"
)]
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// Pseudo-random numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or_default().checked_rem(most).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_contains_the_median_and_is_narrow_for_equal_samples() {
        let (mut wide, mut narrow) = (Samples::default(), Samples::default());
        for number in 0..200 {
            wide.add(f64::from(number % 50));
            narrow.add(10.0 + f64::from(number % 2) / 100.0);
        }
        for samples in [&wide, &narrow] {
            let (from, to) = samples.interval();
            let median = samples.quantile(0.5);
            assert!(from <= median && median <= to, "{from} {median} {to}");
        }
        let width = |samples: &Samples| samples.interval().1 - samples.interval().0;
        assert!(width(&narrow) < 0.02 && width(&wide) > 1.0, "{} {}", width(&narrow), width(&wide));
        assert!((wide.quantile(0.99) - 49.0).abs() < 1.1);
    }
}
