//! The definitions of an upstream's tools, prompts and resources, as lists show them, in comparison with the approved
//! ones. One comparison decides whether an entry is listed and whether it can be called.

mod findings;
mod life;
mod observed_definitions;
mod place_set;
mod seen_entries;
mod template;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use witgate_base::party::Party;
use witgate_config::pins::{ApprovedDefinitions, Definition, DefinitionVerdict, EntryKind, PinMode, Pins};
use witgate_plugin::TargetKind;
use witgate_runtime::metrics::Metrics;

use crate::definition_log::DefinitionLog;
use life::LifeTable;
pub use life::{DefinitionAccess, DefinitionLife, LifeKey};
use observed_definitions::ObservedDefinitions;
pub use seen_entries::SeenEntry;

/// The watch of the definitions of one upstream.
#[derive(Debug)]
pub struct DefinitionWatch {
    observed: Arc<ObservedDefinitions>,
    lives: Mutex<LifeTable>,
}

/// The watches of all upstreams that are served, for operators.
#[derive(Debug, Default)]
pub struct DefinitionWatches(Mutex<Vec<Weak<DefinitionWatch>>>);

impl DefinitionWatches {
    /// Adds the watch of an upstream.
    pub fn add(&self, watch: &Arc<DefinitionWatch>) {
        let mut watches = self.0.lock();
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(watch));
    }

    /// Removes the watch of an upstream that is not served any more, whose calls may still run.
    pub fn remove(&self, watch: &Arc<DefinitionWatch>) {
        self.0.lock().retain(|other| other.as_ptr() != Arc::as_ptr(watch));
    }

    /// The watches of the upstream of this name. There are several if a program that embeds Witgate protects several
    /// services with one configuration.
    pub fn of(&self, upstream: &str) -> Vec<Arc<DefinitionWatch>> {
        let watches = self.0.lock();
        let alive = watches.iter().filter_map(Weak::upgrade);
        alive.filter(|watch| watch.observed.upstream() == upstream).collect()
    }
}

impl DefinitionWatch {
    /// The watch of an upstream whose lists nobody has seen yet.
    pub fn new(upstream: &Arc<str>, metrics: &Metrics) -> Self {
        Self { observed: Arc::new(ObservedDefinitions::new(upstream, metrics)), lives: Mutex::default() }
    }

    /// Has findings recorded in a log.
    pub(super) fn record_in(&self, log: Arc<dyn DefinitionLog>) {
        self.observed.record_in(log);
    }

    /// The life of the server that answers one caller: that of their session, or else that of their principal.
    pub(super) fn life(&self, key: LifeKey, party: Party) -> Arc<DefinitionLife> {
        self.lives.lock().get(key, party, || DefinitionLife::new(Arc::clone(&self.observed)))
    }

    /// The entries that lists have shown, and the kinds whose lists have been read to their ends.
    pub fn seen(&self) -> (Vec<SeenEntry>, Vec<EntryKind>) {
        self.observed.seen()
    }

    /// The number of listed entries whose definitions are not approved.
    pub fn unapproved(&self, approved: &ApprovedDefinitions) -> usize {
        self.observed.unapproved(approved)
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
