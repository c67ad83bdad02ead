//! The definitions of an upstream's tools, prompts and resources, as lists show them, in comparison with the approved
//! ones. One comparison decides whether an entry is listed and whether it can be called.

mod findings;
mod life;
mod place_set;
mod seen;
mod template;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use witgate_base::party::Party;
use witgate_config::pins::{ApprovedDefinitions, Definition, DefinitionVerdict, EntryKind, PinMode, Pins};
use witgate_plugin::TargetKind;
use witgate_runtime::metrics::Metrics;

use crate::definition_log::{DefinitionFinding, DefinitionLog};
use findings::{FindingCounters, FindingReports};
use life::LifeTable;
pub use life::{DefinitionAccess, DefinitionLife, LifeKey};
use seen::SeenDefinitions;
pub use seen::SeenEntry;

/// What is known about the definitions of one upstream.
#[derive(Debug)]
pub struct DefinitionWatch {
    upstream: Arc<str>,
    /// The number of signs that definitions may have changed. A comparison from before the last one does not count.
    changes: AtomicU64,
    lives: Mutex<LifeTable>,
    seen: Mutex<SeenDefinitions>,
    findings: Mutex<FindingReports>,
}

/// The watches of all upstreams, for operators.
#[derive(Debug, Default)]
pub struct DefinitionWatches(Mutex<Vec<Arc<DefinitionWatch>>>);

impl DefinitionWatches {
    /// Adds the watch of an upstream.
    pub fn add(&self, watch: &Arc<DefinitionWatch>) {
        self.0.lock().push(Arc::clone(watch));
    }

    /// The watches of the upstream of this name. There are several if a program that embeds Witgate protects several
    /// services with one configuration.
    pub fn of(&self, upstream: &str) -> Vec<Arc<DefinitionWatch>> {
        self.0.lock().iter().filter(|watch| &*watch.upstream == upstream).cloned().collect()
    }
}

impl DefinitionWatch {
    /// The watch of an upstream whose lists nobody has seen yet.
    pub fn new(upstream: &Arc<str>, metrics: &Metrics) -> Self {
        let (changes, lives, seen) = Default::default();
        let findings = Mutex::new(FindingReports::new(FindingCounters::new(metrics, upstream)));
        Self { upstream: Arc::clone(upstream), changes, lives, seen, findings }
    }

    /// Has findings recorded in a log.
    pub(super) fn record_in(&self, log: Arc<dyn DefinitionLog>) {
        self.findings.lock().record_in(log);
    }

    /// The life of the server that answers one caller: that of their session, or else that of their principal.
    pub(super) fn life(self: &Arc<Self>, key: LifeKey, party: Party) -> Arc<DefinitionLife> {
        self.lives.lock().get(key, party, || DefinitionLife::new(Arc::clone(self)))
    }

    /// Notes that the server has announced a change, so that each comparison is made anew.
    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The number of signs of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Compares the definition of an entry that a list has shown, and reports one that is not approved. None: it cannot
    /// be read. True: it is a sign of a change.
    fn note(
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

    /// The entries that lists have shown, and the kinds whose lists have been read to their ends.
    pub fn seen(&self) -> (Vec<SeenEntry>, Vec<EntryKind>) {
        self.seen.lock().all()
    }

    /// The number of listed entries whose definitions are not approved.
    pub fn unapproved(&self, approved: &ApprovedDefinitions) -> usize {
        self.seen.lock().unapproved(approved)
    }

    /// True if a list has shown a resource of this URI, or so many entries that not all are known.
    fn may_list_resource(&self, uri: &str) -> bool {
        self.seen.lock().may_have(EntryKind::Resource, uri)
    }
}

/// Compares an entry in a list that passes to a caller. True: the caller may see it, as far as definitions decide.
/// `life` is that of the server that has sent the list, if it is known.
pub(super) fn passes(
    pins: &Pins,
    life: Option<&DefinitionLife>,
    (kind, name, text): (EntryKind, &str, &str),
) -> bool {
    let definition = Definition::read(kind, text);
    match life {
        Some(life) => life.passes(pins, (kind, name), definition),
        None => {
            let digest = definition.map(|definition| definition.digest);
            let verdict = pins.approved.verdict(kind, name, digest.as_ref());
            pins.mode == PinMode::Warn || verdict == DefinitionVerdict::Approved
        }
    }
}

/// True if the definition of a target may be approved.
pub(super) fn may_be_approved(approved: &ApprovedDefinitions, kind: TargetKind, name: &str) -> bool {
    let has = |kind| approved.place(kind, name).is_some();
    match kind {
        TargetKind::Tool => has(EntryKind::Tool),
        TargetKind::Prompt => has(EntryKind::Prompt),
        TargetKind::Resource => {
            has(EntryKind::Resource) || template::covering(approved, name).next().is_some()
        }
        TargetKind::Method => true,
    }
}

#[cfg(test)]
mod tests;
