//! The names that upstreams have listed, for comparing generations. Whoever filters a list notes them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use parking_lot::Mutex;
use witgate_plugin::TargetKind;

/// The most names of one upstream.
const MOST_NAMES: usize = 5_000;

/// The longest name, in bytes.
const LONGEST: usize = 1_024;

/// The most pages that are recognised without a look at their names.
const MOST_PAGES: usize = 256;

/// The lists of all upstreams, by their places: an upstream that replaces another one of its name has lists of its own.
#[derive(Debug, Default)]
pub struct UpstreamLists(Mutex<BTreeMap<usize, Arc<ListedNames>>>);

impl UpstreamLists {
    /// The names of the upstream at `place`.
    pub fn of(&self, place: usize) -> Arc<ListedNames> {
        Arc::clone(self.0.lock().entry(place).or_default())
    }

    /// Forgets the names of all upstreams but those at the places for which `is_served` is true.
    pub(crate) fn keep(&self, is_served: impl Fn(usize) -> bool) {
        self.0.lock().retain(|place, _| is_served(*place));
    }
}

/// The names that an upstream has listed since Witgate started.
#[derive(Debug, Default)]
pub struct ListedNames(Mutex<NoteBook>);

#[derive(Debug, Default)]
struct NoteBook {
    /// As patterns write them.
    names: BTreeSet<String>,
    /// Hashes of the pages that are noted already.
    pages: HashSet<u64>,
    is_cut: bool,
}

impl ListedNames {
    /// Notes the names on a page of a list.
    pub fn note(&self, kind: TargetKind, names: &[&str]) {
        let mut hasher = DefaultHasher::new();
        (kind, names).hash(&mut hasher);
        let mut book = self.0.lock();
        if book.pages.contains(&hasher.finish()) {
            return;
        }
        if book.pages.len() < MOST_PAGES {
            book.pages.insert(hasher.finish());
        }
        for name in names {
            if name.len() > LONGEST || book.names.len() >= MOST_NAMES {
                book.is_cut = true;
            } else {
                book.names.insert(format!("{}{name}", prefix(kind)));
            }
        }
    }

    /// The names as patterns write them, and whether there were more than there was room for. None: there was no list
    /// yet.
    pub fn all(&self) -> Option<(Vec<String>, bool)> {
        let book = self.0.lock();
        (!book.pages.is_empty()).then(|| (book.names.iter().cloned().collect(), book.is_cut))
    }
}

/// The prefix of this kind in patterns.
fn prefix(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Tool => "",
        TargetKind::Resource => "resource:",
        TargetKind::Prompt => "prompt:",
        TargetKind::Method => "method:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_noted_within_bounds() {
        let lists = UpstreamLists::default();
        let names = lists.of(0);
        assert_eq!(names.all(), None);
        names.note(TargetKind::Tool, &["b", "a"]);
        names.note(TargetKind::Tool, &["b", "a"]);
        names.note(TargetKind::Prompt, &["a"]);
        let (found, is_cut) = lists.of(0).all().unwrap();
        assert_eq!((found.as_slice(), is_cut), (["a", "b", "prompt:a"].map(String::from).as_slice(), false));
        let many: Vec<_> = (0..=MOST_NAMES).map(|number| number.to_string()).collect();
        names.note(TargetKind::Tool, &many.iter().map(String::as_str).collect::<Vec<_>>());
        let (found, is_cut) = names.all().unwrap();
        assert_eq!((found.len(), is_cut), (MOST_NAMES, true));
        assert_eq!(lists.of(1).all(), None);
        lists.keep(|place| place == 1);
        assert_eq!(lists.of(0).all(), None);
    }
}
