//! The metrics of this process, in the text format of Prometheus.

use parking_lot::Mutex;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    messages: Family<MessageLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MessageLabels {
    upstream: String,
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("witgate");
        let messages = Family::default();
        registry.register("messages", "Messages of clients by outcome", messages.clone());
        Self { registry: Mutex::new(registry), messages }
    }
}

impl Metrics {
    /// The counter of messages to one upstream with one outcome. Callers keep it, so that counting is one addition.
    pub fn messages(&self, upstream: &str, outcome: &'static str) -> Counter {
        self.messages.get_or_create_owned(&MessageLabels { upstream: upstream.to_owned(), outcome })
    }

    /// Adds further metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// The text with all metrics.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn a_label_value_cannot_escape_its_quotes() {
        let metrics = Metrics::default();
        metrics.messages("a\"} 1\nwitgate_forged{b=\"\\", "ok").inc();
        let text = metrics.render();
        let expected = r#"upstream="a\"} 1\nwitgate_forged{b=\"\\",outcome="ok"} 1"#;
        assert!(text.contains(expected) && !text.contains("\nwitgate_forged"), "{text}");
    }
}
