//! The definitions that the lists of one upstream have shown, to any caller.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use witgate_config::pins::{ApprovedDefinitions, Definition, DefinitionVerdict, EntryKind, PinMode, Pins};
use witgate_runtime::metrics::Metrics;

use super::findings::{FindingCounters, FindingReports};
use super::seen_entries::{SeenDefinitions, SeenEntry};
use crate::definition_log::{DefinitionFinding, DefinitionLog};

/// The definitions of one upstream, as lists have shown them.
#[derive(Debug)]
pub(super) struct ObservedDefinitions {
    upstream: Arc<str>,
    /// The number of signs that definitions may have changed. A comparison from before the last one does not count.
    changes: AtomicU64,
    seen: Mutex<SeenDefinitions>,
    findings: Mutex<FindingReports>,
}

impl ObservedDefinitions {
    pub(super) fn new(upstream: &Arc<str>, metrics: &Metrics) -> Self {
        let (changes, seen) = Default::default();
        let findings = Mutex::new(FindingReports::new(FindingCounters::new(metrics, upstream)));
        Self { upstream: Arc::clone(upstream), changes, seen, findings }
    }

    /// The name of the upstream.
    pub(super) fn upstream(&self) -> &str {
        &self.upstream
    }

    pub(super) fn record_in(&self, log: Arc<dyn DefinitionLog>) {
        self.findings.lock().record_in(log);
    }

    /// Notes a sign of a change, so that each comparison is made anew.
    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The number of signs of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Compares the definition of an entry that a list has shown, and reports one that is not approved. None: it cannot
    /// be read. True: it is a sign of a change.
    pub(super) fn note(
        &self,
        pins: &Pins,
        (kind, name): (EntryKind, &str),
        definition: Option<Definition>,
    ) -> (DefinitionVerdict, bool) {
        let digest = definition.as_ref().map(|definition| definition.digest);
        let verdict = pins.approved.verdict(kind, name, digest.as_ref());
        self.seen.lock().note((kind, name), definition, verdict == DefinitionVerdict::Approved);
        if verdict == DefinitionVerdict::Approved {
            return (verdict, false);
        }
        let finding = DefinitionFinding {
            upstream: &self.upstream,
            kind,
            name,
            verdict,
            approved: pins.approved.digest_of(kind, name),
            digest,
            is_withheld: pins.mode == PinMode::Hold,
        };
        let is_news = self.findings.lock().note(&finding, &pins.approved);
        if is_news {
            self.note_change();
        }
        (verdict, is_news)
    }

    /// Notes the names in a list that has been read to its end.
    pub(super) fn note_complete(&self, kind: EntryKind, names: &BTreeSet<&str>) {
        self.seen.lock().note_complete(kind, names);
    }

    pub(super) fn seen(&self) -> (Vec<SeenEntry>, Vec<EntryKind>) {
        self.seen.lock().all()
    }

    pub(super) fn unapproved(&self, approved: &ApprovedDefinitions) -> usize {
        self.seen.lock().unapproved(approved)
    }

    /// True if a list has shown a resource of this URI, or so many entries that not all are known.
    pub(super) fn may_list_resource(&self, uri: &str) -> bool {
        self.seen.lock().may_have(EntryKind::Resource, uri)
    }
}
