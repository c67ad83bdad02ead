//! Comparisons of definitions in one life of a server, as one caller reaches it. A command has a process for each session
//! or principal, so the lists of one caller say nothing about the server of another one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use parking_lot::{Mutex, MutexGuard};
use witgate_base::party::{Party, Principal};
use witgate_config::pins::{ApprovedDefinitions, Definition, DefinitionVerdict, EntryKind, PinMode, Pins};
use witgate_plugin::{Digest, TargetKind};
use witgate_runtime::shares::{Capacity, Holdings};

use super::observed_definitions::ObservedDefinitions;
use super::place_set::PlaceSet;
use super::template::covering;

/// The lives that are known: as many as there may be sessions over HTTP. An unknown one costs its next call a list.
const LIVES: Capacity = Capacity { most: 10_000, most_of_one: 1_000 };

/// The time for which a list counts. A server can change its definitions without an announcement.
const LIST_LASTS: Duration = Duration::from_secs(60);

/// The time for which an entry stays withheld after its definition was another one, even if a later list shows the
/// approved one: a server may alternate.
const SUSPICION: Duration = Duration::from_secs(60);

/// The key of a life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LifeKey {
    principal: Principal,
    session: Option<Box<str>>,
}

impl LifeKey {
    /// The life that answers a principal in a session, or without one.
    pub fn new(principal: Principal, session: Option<&str>) -> Self {
        Self { principal, session: session.map(Box::from) }
    }
}

/// The right to a target, as far as definitions decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionAccess {
    /// The server shows the approved definition.
    Approved,
    /// It does not.
    Withheld,
    /// A list of these kinds has to be read first.
    Unknown,
}

/// The lives of one upstream.
#[derive(Debug, Default)]
pub(super) struct LifeTable {
    lives: HashMap<LifeKey, KnownLife, RandomState>,
    holdings: Holdings,
    uses: u64,
}

#[derive(Debug)]
struct KnownLife {
    life: Arc<DefinitionLife>,
    party: Party,
    /// The number of its last use.
    used: u64,
}

impl LifeTable {
    /// The life with this key, or a new one from `begin`.
    pub(super) fn get(
        &mut self,
        key: LifeKey,
        party: Party,
        begin: impl FnOnce() -> DefinitionLife,
    ) -> Arc<DefinitionLife> {
        self.uses += 1;
        if let Some(known) = self.lives.get_mut(&key) {
            known.used = self.uses;
            return Arc::clone(&known.life);
        }
        while let Some(other) = self.holdings.gives_way(&party, 1, LIVES) {
            if !self.forget_one(&other) {
                break;
            }
        }
        let life = Arc::new(begin());
        self.holdings.add(&party, 1);
        self.lives.insert(key, KnownLife { life: Arc::clone(&life), party, used: self.uses });
        life
    }

    /// Forgets the life of `party` that was not used for longest. False: it has none.
    fn forget_one(&mut self, party: &Party) -> bool {
        let of_party = self.lives.iter().filter(|(_, known)| known.party == *party);
        let Some(key) = of_party.min_by_key(|(_, known)| known.used).map(|(key, _)| key.clone()) else {
            return false;
        };
        self.lives.remove(&key);
        self.holdings.remove(party, 1);
        true
    }
}

/// The comparisons in one life.
#[derive(Debug)]
pub struct DefinitionLife {
    observed: Arc<ObservedDefinitions>,
    comparisons: Mutex<Comparisons>,
    /// The turn of whoever reads lists, so that calls that wait for the same list read it once.
    turn: tokio::sync::Mutex<()>,
}

/// The comparisons with one set of approved definitions.
#[derive(Debug, Default)]
struct Comparisons {
    /// The digest of the approved definitions.
    approved: Digest,
    lists: BTreeMap<EntryKind, ComparedList>,
    /// The approved entries that were shown with other definitions, by their places, with the time.
    suspects: HashMap<usize, Instant, RandomState>,
}

/// A list that was read to its end.
#[derive(Debug)]
struct ComparedList {
    began: Instant,
    /// The number of signs of changes when it began, and those that it has shown itself.
    changes: u64,
    /// The places of the entries that it shows with their approved definitions, and with no others.
    shown: PlaceSet,
}

/// The moment before a list is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListBegin {
    at: Instant,
    changes: u64,
}

impl DefinitionLife {
    pub(super) fn new(observed: Arc<ObservedDefinitions>) -> Self {
        Self { observed, comparisons: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Notes that the server has announced a change of its lists.
    pub(crate) fn note_change(&self) {
        self.observed.note_change();
    }

    /// The turn to read lists.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The moment before a list is read.
    pub(crate) fn begin_list(&self) -> ListBegin {
        ListBegin { at: Instant::now(), changes: self.observed.changes() }
    }

    /// Compares a list that has been read to its end, as names and definitions.
    pub(crate) fn take_list(
        &self,
        pins: &Pins,
        (kind, begin): (EntryKind, ListBegin),
        entries: &[(String, Option<Definition>)],
    ) {
        let (mut shown, mut others, mut changes) = (PlaceSet::default(), PlaceSet::default(), begin.changes);
        for (name, definition) in entries {
            let (verdict, is_news) = self.observed.note(pins, (kind, name), definition.clone());
            // Its own news do not make the list old.
            changes += u64::from(is_news);
            match (pins.approved.place(kind, name), verdict) {
                (None, _) => {}
                (Some(place), DefinitionVerdict::Approved) => shown.insert(place),
                (Some(place), _) => {
                    others.insert(place);
                    self.of(&pins.approved).suspects.insert(place, Instant::now());
                }
            }
        }
        shown.remove_all(&others);
        let names: BTreeSet<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
        self.observed.note_complete(kind, &names);
        let list = ComparedList { began: begin.at, changes, shown };
        self.of(&pins.approved).lists.insert(kind, list);
    }

    /// Compares an entry in a list that passes to the caller. True: they may see it.
    pub(super) fn passes(
        &self,
        pins: &Pins,
        (kind, name): (EntryKind, &str),
        definition: Option<Definition>,
    ) -> bool {
        let (verdict, _) = self.observed.note(pins, (kind, name), definition);
        let place = pins.approved.place(kind, name);
        let mut comparisons = self.of(&pins.approved);
        if let (Some(place), false) = (place, verdict == DefinitionVerdict::Approved) {
            comparisons.suspects.insert(place, Instant::now());
        }
        let is_suspect = place.is_some_and(|place| comparisons.is_suspect(place));
        pins.mode == PinMode::Warn || (verdict == DefinitionVerdict::Approved && !is_suspect)
    }

    /// The right to a target. With `at_once`, the last list counts, however old it is.
    pub(crate) fn access(
        &self,
        approved: &ApprovedDefinitions,
        (kind, name): (TargetKind, &str),
        at_once: bool,
    ) -> DefinitionAccess {
        let entry = |kind| self.entry(approved, (kind, name), at_once);
        match kind {
            TargetKind::Tool => entry(EntryKind::Tool),
            TargetKind::Prompt => entry(EntryKind::Prompt),
            TargetKind::Resource if approved.place(EntryKind::Resource, name).is_some() => {
                entry(EntryKind::Resource)
            }
            TargetKind::Resource => self.through_template(approved, name, at_once),
            TargetKind::Method => DefinitionAccess::Approved,
        }
    }

    fn entry(
        &self,
        approved: &ApprovedDefinitions,
        (kind, name): (EntryKind, &str),
        at_once: bool,
    ) -> DefinitionAccess {
        let Some(place) = approved.place(kind, name) else { return DefinitionAccess::Withheld };
        let comparisons = self.of(approved);
        if comparisons.is_suspect(place) {
            return DefinitionAccess::Withheld;
        }
        match comparisons.list(kind, self.needed_changes(at_once)) {
            None => DefinitionAccess::Unknown,
            Some(list) if list.shown.has(place) => DefinitionAccess::Approved,
            Some(_) => DefinitionAccess::Withheld,
        }
    }

    /// The right to a resource that has no approved definition of its own, but an approved template. One that is listed
    /// needs its own.
    fn through_template(&self, approved: &ApprovedDefinitions, uri: &str, at_once: bool) -> DefinitionAccess {
        let access = |template| self.entry(approved, (EntryKind::ResourceTemplate, template), at_once);
        let from: Vec<_> = covering(approved, uri).map(access).collect();
        if from.iter().all(|access| *access == DefinitionAccess::Withheld) {
            return DefinitionAccess::Withheld;
        }
        if !self.has_list(approved, EntryKind::Resource, at_once) {
            return DefinitionAccess::Unknown;
        }
        match from.contains(&DefinitionAccess::Approved) {
            _ if self.observed.may_list_resource(uri) => DefinitionAccess::Withheld,
            true => DefinitionAccess::Approved,
            false => DefinitionAccess::Unknown,
        }
    }

    /// True if a list of this kind counts now.
    pub(crate) fn has_list(&self, approved: &ApprovedDefinitions, kind: EntryKind, at_once: bool) -> bool {
        self.of(approved).list(kind, self.needed_changes(at_once)).is_some()
    }

    fn needed_changes(&self, at_once: bool) -> Option<u64> {
        (!at_once).then(|| self.observed.changes())
    }

    /// The comparisons with these approved definitions. Those with others are forgotten.
    fn of(&self, approved: &ApprovedDefinitions) -> MutexGuard<'_, Comparisons> {
        let mut comparisons = self.comparisons.lock();
        if comparisons.approved != *approved.digest() {
            *comparisons = Comparisons { approved: *approved.digest(), ..Comparisons::default() };
        }
        comparisons
    }
}

impl Comparisons {
    /// The last list of this kind, if it is recent and began after so many signs of changes. None as the number: however
    /// old it is.
    fn list(&self, kind: EntryKind, changes: Option<u64>) -> Option<&ComparedList> {
        let is_current = |list: &&ComparedList| match changes {
            None => true,
            Some(changes) => list.changes == changes && list.began.elapsed() < LIST_LASTS,
        };
        self.lists.get(&kind).filter(is_current)
    }

    fn is_suspect(&self, place: usize) -> bool {
        self.suspects.get(&place).is_some_and(|at| at.elapsed() < SUSPICION)
    }
}
