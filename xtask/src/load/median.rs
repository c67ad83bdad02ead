//! The median of measurements, and its confidence interval.

/// The median of the values.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The interval between two measurements that holds the true median with a probability of 95 % for any distribution:
/// the number of measurements below the median is binomial. With too few measurements, it is the interval of all.
pub(super) fn interval(values: &[f64]) -> (f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let outer = outside(values.len());
    let of = |place: Option<usize>| place.and_then(|place| values.get(place)).copied().unwrap_or(f64::NAN);
    (of(Some(outer)), of((values.len().checked_sub(1)).and_then(|last| last.checked_sub(outer))))
}

/// The number of measurements on each side that lie outside the interval.
fn outside(count: usize) -> usize {
    let mut probability = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut sum, mut outside) = (probability, 0);
    while outside < count {
        let (step, rest) = (as_number(outside + 1), as_number(count - outside));
        probability *= rest / step;
        if sum + probability > 0.025 {
            break;
        }
        sum += probability;
        outside += 1;
    }
    outside
}

fn as_number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use super::{interval, outside};

    /// The tables of the sign test have the smaller rank, less one, at 95 % on both sides.
    #[test]
    fn outer_measurements_are_those_of_the_sign_test() {
        assert_eq!([5, 6, 9, 12, 20, 25].map(outside), [0, 0, 1, 2, 5, 7]);
    }

    #[test]
    fn the_interval_lies_between_measurements() {
        let values: Vec<f64> = (1..=12).rev().map(f64::from).collect();
        assert_eq!(interval(&values), (3.0, 10.0));
        assert_eq!(interval(&[2.0]), (2.0, 2.0));
        assert!(interval(&[]).0.is_nan());
    }
}
