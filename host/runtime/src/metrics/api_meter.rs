//! The requests of child processes to APIs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// The answers of APIs, by their status. `none`: there was none.
const OUTCOMES: [&str; 5] = ["none", "2xx", "3xx", "4xx", "5xx"];

/// The counters of the requests of one upstream's processes.
#[derive(Clone, Debug)]
pub struct ApiMeter {
    upstream: String,
    family: ApiFamily,
}

/// The counters of all upstreams.
pub(super) type ApiFamily = Family<ApiLabels, Counter>;

/// The labels of a counter. Their values come from the configuration, or from a short list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ApiLabels {
    upstream: String,
    api: String,
    outcome: &'static str,
}

impl ApiMeter {
    pub(super) fn new(upstream: &str, family: &ApiFamily) -> Self {
        Self { upstream: upstream.to_owned(), family: family.clone() }
    }

    /// Begins to count the requests to `api`, and those to no API, at zero.
    pub fn begin(&self, api: &str) {
        drop(self.unknown());
        OUTCOMES.iter().for_each(|outcome| drop(self.counter(api, outcome)));
    }

    /// Counts a request to `api`, and the status of the API's answer. None: Witgate has refused it, or the API has not
    /// answered.
    pub fn count(&self, api: &str, status: Option<u16>) {
        let outcome = match status {
            None => "none",
            Some(..300) => "2xx",
            Some(300..400) => "3xx",
            Some(400..500) => "4xx",
            Some(_) => "5xx",
        };
        self.counter(api, outcome).inc();
    }

    /// Counts a request without the secret of an API.
    pub fn count_unknown(&self) {
        self.unknown().inc();
    }

    fn unknown(&self) -> Counter {
        self.counter("", "unknown-path")
    }

    fn counter(&self, api: &str, outcome: &'static str) -> Counter {
        let labels = ApiLabels { upstream: self.upstream.clone(), api: api.to_owned(), outcome };
        self.family.get_or_create_owned(&labels)
    }
}
