//! Reports of definitions that are not approved, each once, and not too many of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use prometheus_client::metrics::counter::Counter;
use witgate_base::digest::sha256;
use witgate_base::printable::clean;
use witgate_config::pins::{ApprovedDefinitions, DefinitionVerdict};
use witgate_plugin::Digest;
use witgate_runtime::metrics::Metrics;

use crate::definition_log::{DefinitionFinding, DefinitionLog};

/// The findings that are remembered, so that they are reported once. A server that shows more gets all reported again.
const REMEMBERED: usize = 10_000;

/// The findings in [`PERIOD`] that are logged. Others are counted.
const MOST_LOGGED: u32 = 100;

/// The time for which findings are counted.
const PERIOD: Duration = Duration::from_secs(60);

/// The counters of findings.
#[derive(Debug)]
pub(super) struct FindingCounters {
    new: Counter,
    changed: Counter,
    unreadable: Counter,
}

impl FindingCounters {
    pub(super) fn new(metrics: &Metrics, upstream: &str) -> Self {
        let of = |verdict: DefinitionVerdict| metrics.definition_findings(upstream, verdict.name());
        Self {
            new: of(DefinitionVerdict::New),
            changed: of(DefinitionVerdict::Changed),
            unreadable: of(DefinitionVerdict::Unreadable),
        }
    }

    fn count(&self, verdict: DefinitionVerdict) {
        match verdict {
            DefinitionVerdict::Approved => {}
            DefinitionVerdict::New => {
                self.new.inc();
            }
            DefinitionVerdict::Changed => {
                self.changed.inc();
            }
            DefinitionVerdict::Unreadable => {
                self.unreadable.inc();
            }
        }
    }
}

/// The findings about one upstream so far.
#[derive(Debug)]
pub(super) struct FindingReports {
    counters: FindingCounters,
    log: Option<Arc<dyn DefinitionLog>>,
    known: HashSet<Digest, RandomState>,
    period: Option<Instant>,
    logged: u32,
    others: u64,
}

impl FindingReports {
    pub(super) fn new(counters: FindingCounters) -> Self {
        let (log, known, period, logged, others) = Default::default();
        Self { counters, log, known, period, logged, others }
    }

    pub(super) fn record_in(&mut self, log: Arc<dyn DefinitionLog>) {
        self.log = Some(log);
    }

    /// Reports a finding. False: it is known already, and nothing new is approved since.
    pub(super) fn note(&mut self, finding: &DefinitionFinding<'_>, approved: &ApprovedDefinitions) -> bool {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        if !self.known.insert(key(finding, approved)) {
            return false;
        }
        self.counters.count(finding.verdict);
        if self.may_log() {
            self.log(finding);
        }
        true
    }

    fn may_log(&mut self) -> bool {
        if self.period.is_none_or(|began| began.elapsed() >= PERIOD) {
            (self.period, self.logged) = (Some(Instant::now()), 0);
        }
        let may_log = self.logged < MOST_LOGGED;
        match may_log {
            true => self.logged += 1,
            false => self.others += 1,
        }
        may_log
    }

    fn log(&mut self, finding: &DefinitionFinding<'_>) {
        let others = std::mem::take(&mut self.others);
        let DefinitionFinding { upstream, kind, name, verdict, is_withheld, .. } = finding;
        let consequence = match is_withheld {
            true => "it is neither listed nor callable",
            false => "it is listed all the same",
        };
        tracing::warn!(
            upstream,
            entry = clean(&kind.target(name)),
            change = verdict.name(),
            others,
            "the definition of a {} is not approved, so {consequence}: `witgate upstream diff {upstream}`",
            kind.name(),
        );
        if let Some(log) = &self.log {
            log.record(finding, others);
        }
    }
}

fn key(finding: &DefinitionFinding<'_>, approved: &ApprovedDefinitions) -> Digest {
    let mut text = finding.kind.list().as_bytes().to_vec();
    text.extend(sha256(finding.name.as_bytes()));
    text.extend(finding.digest.unwrap_or_default());
    text.extend(approved.digest());
    sha256(&text)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use witgate_config::pins::EntryKind;

    use super::*;

    #[derive(Debug, Default)]
    struct Recorded(Mutex<Vec<(String, u64)>>);

    impl DefinitionLog for Recorded {
        fn record(&self, finding: &DefinitionFinding<'_>, others: u64) {
            self.0.lock().push((finding.name.to_owned(), others));
        }
    }

    fn finding(name: &str, digest: u8) -> DefinitionFinding<'_> {
        DefinitionFinding {
            upstream: "u",
            kind: EntryKind::Tool,
            name,
            verdict: DefinitionVerdict::New,
            approved: None,
            digest: Some([digest; 32]),
            is_withheld: true,
        }
    }

    #[test]
    fn a_finding_is_reported_once_until_something_else_is_approved() {
        let mut reports = FindingReports::new(FindingCounters::new(&Metrics::default(), "u"));
        let none = ApprovedDefinitions::default();
        assert!(reports.note(&finding("a", 1), &none) && !reports.note(&finding("a", 1), &none));
        assert!(reports.note(&finding("a", 2), &none) && reports.note(&finding("b", 1), &none));
        let some = ApprovedDefinitions::new([(EntryKind::Tool, "b".to_owned(), [1; 32])]);
        assert!(reports.note(&finding("a", 1), &some));
        assert_eq!(reports.counters.new.get(), 4);
    }

    #[test]
    fn a_flood_of_findings_is_counted_and_not_logged() {
        let mut reports = FindingReports::new(FindingCounters::new(&Metrics::default(), "u"));
        let recorded = Arc::new(Recorded::default());
        reports.record_in(Arc::<Recorded>::clone(&recorded));
        let names: Vec<_> = (0..25_000).map(|number| number.to_string()).collect();
        for name in &names {
            assert!(reports.note(&finding(name, 1), &ApprovedDefinitions::default()));
        }
        assert_eq!(recorded.0.lock().len(), 100);
        assert!(reports.known.len() <= REMEMBERED);
        assert_eq!((reports.counters.new.get(), reports.others), (25_000, 24_900));
    }
}
