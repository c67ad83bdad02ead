//! A family of histograms, and its text in OpenMetrics. `prometheus-client` has no histogram that is observed without a
//! lock, and takes exemplars only from its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::histogram::{Exemplar, Histogram, HistogramState};
use witgate_base::clock;

/// Histograms with one name, by their labels.
#[derive(Debug)]
pub struct HistogramFamily {
    name: &'static str,
    help: &'static str,
    bounds: &'static [u64],
    /// The key is the text of the labels.
    all: Mutex<BTreeMap<String, Arc<Histogram>>>,
}

impl HistogramFamily {
    /// An empty family. `name` ends with the unit, `_seconds`.
    pub(super) fn new(name: &'static str, help: &'static str, bounds: &'static [u64]) -> Arc<Self> {
        Arc::new(Self { name, help, bounds, all: Mutex::default() })
    }

    /// The histogram with these labels. Callers keep it.
    pub fn with(&self, labels: &[(&str, &str)]) -> Arc<Histogram> {
        let mut all = self.all.lock();
        let histogram =
            all.entry(label_text(labels)).or_insert_with(|| Arc::new(Histogram::new(self.bounds)));
        Arc::clone(histogram)
    }

    /// Appends the family to `text`.
    pub(super) fn write(&self, text: &mut String) {
        let Self { name, help, .. } = self;
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} histogram\n# UNIT {name} seconds");
        for (labels, histogram) in &*self.all.lock() {
            let _ = write_histogram(text, name, labels, &histogram.state());
        }
    }
}

fn write_histogram(text: &mut String, name: &str, labels: &str, state: &HistogramState) -> std::fmt::Result {
    writeln!(text, "{name}_sum{{{labels}}} {}", number(state.sum))?;
    writeln!(text, "{name}_count{{{labels}}} {}", state.count)?;
    let separator = if labels.is_empty() { "" } else { "," };
    let mut count = 0;
    for ((bound, own), exemplar) in state.buckets.iter().zip(&state.exemplars) {
        let bound = if bound.is_finite() { number(*bound) } else { "+Inf".to_owned() };
        count += own;
        write!(text, "{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {count}")?;
        if let Some(exemplar) = exemplar {
            write_exemplar(text, exemplar)?;
        }
        text.push('\n');
    }
    Ok(())
}

fn write_exemplar(text: &mut String, exemplar: &Exemplar) -> std::fmt::Result {
    let Exemplar { decision, took, at } = exemplar;
    let at = clock::system_time() - Instant::now().saturating_duration_since(*at);
    let at = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    write!(text, " # {{decision=\"{decision:032x}\"}} {} {:.3}", number(took.as_secs_f64()), at.as_secs_f64())
}

/// A number as OpenMetrics writes floating point numbers: with a decimal point.
fn number(value: f64) -> String {
    let text = value.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

fn label_text(labels: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::OPERATION_BOUNDS;
    use super::*;

    #[test]
    fn the_text_has_buckets_sum_count_and_exemplars() {
        let family = HistogramFamily::new("a_seconds", "A", OPERATION_BOUNDS);
        let histogram = family.with(&[("upstream", "u\"\n\\"), ("error_type", "-32601")]);
        let took = Duration::from_millis(1500);
        histogram.observe_decision(Exemplar { decision: 0xab, took, at: Instant::now() });
        let mut text = String::new();
        family.write(&mut text);
        let labels = "upstream=\"u\\\"\\n\\\\\",error_type=\"-32601\"";
        for line in [
            "# TYPE a_seconds histogram\n",
            &format!("a_seconds_sum{{{labels}}} 1.5\n"),
            &format!("a_seconds_count{{{labels}}} 1\n"),
            &format!("a_seconds_bucket{{{labels},le=\"1.0\"}} 0\n"),
            &format!("a_seconds_bucket{{{labels},le=\"+Inf\"}} 1\n"),
            &format!("le=\"2.0\"}} 1 # {{decision=\"{:032x}\"}} 1.5 ", 0xab),
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(Arc::ptr_eq(&histogram, &family.with(&[("upstream", "u\"\n\\"), ("error_type", "-32601")])));
    }
}
