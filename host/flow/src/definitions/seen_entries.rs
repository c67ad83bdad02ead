//! The latest definition of each entry that a list has shown, for operators.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use witgate_config::pins::{ApprovedDefinitions, Definition, DefinitionVerdict, EntryKind, LARGEST_KEPT};
use witgate_plugin::Digest;

/// The most entries of an upstream that are known.
const MOST: usize = 20_000;

/// The memory for the texts of definitions, in bytes.
const TEXTS: usize = 32 << 20;

/// The time for which a definition that is not approved stays, even if later lists show the approved one or none: one
/// process of a server may be newer than another.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// An entry that a list has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenEntry {
    /// Its kind.
    pub kind: EntryKind,
    /// Its name.
    pub name: String,
    /// The digest of its definition. None: it cannot be read.
    pub digest: Option<Digest>,
    /// Its definition. None: it cannot be read, or is too large to be kept.
    pub definition: Option<Value>,
    /// True if the last list that was read to its end has it, or if it is not approved and was shown in the last hour.
    pub is_listed: bool,
}

/// The entries that the lists of one upstream have shown.
#[derive(Debug, Default)]
pub(super) struct SeenDefinitions {
    entries: BTreeMap<(EntryKind, Box<str>), SeenDefinition>,
    /// The memory of the texts, in bytes.
    texts: usize,
    /// True if there were more entries.
    is_cut: bool,
    /// The kinds whose lists have been read to their ends.
    complete: BTreeSet<EntryKind>,
}

#[derive(Debug)]
struct SeenDefinition {
    digest: Option<Digest>,
    /// The definition, and its size.
    definition: Option<(Value, usize)>,
    is_listed: bool,
    is_approved: bool,
    /// The time at which it was last shown.
    at: Instant,
}

impl SeenDefinition {
    fn is_remembered(&self) -> bool {
        !self.is_approved && self.at.elapsed() < REMEMBERED
    }
}

impl SeenDefinitions {
    /// Notes the definition of an entry. None: it cannot be read.
    pub(super) fn note(
        &mut self,
        (kind, name): (EntryKind, &str),
        definition: Option<Definition>,
        is_approved: bool,
    ) {
        let digest = definition.as_ref().map(|definition| definition.digest);
        let (key, at) = ((kind, Box::from(name)), Instant::now());
        if let Some(seen) = self.entries.get_mut(&key) {
            seen.is_listed = true;
            if seen.digest == digest {
                (seen.is_approved, seen.at) = (is_approved, at);
                return;
            }
            if is_approved && seen.is_remembered() {
                return;
            }
        }
        if let Some(former) = self.entries.remove(&key) {
            self.texts -= former.definition.map_or(0, |(_, size)| size);
        }
        if self.entries.len() >= MOST {
            self.is_cut = true;
            return;
        }
        let kept = definition.and_then(|Definition { value, .. }| {
            let size = value.to_string().len();
            (size <= LARGEST_KEPT && self.texts + size <= TEXTS).then_some((value, size))
        });
        self.texts += kept.as_ref().map_or(0, |(_, size)| *size);
        let seen = SeenDefinition { digest, definition: kept, is_listed: true, is_approved, at };
        self.entries.insert(key, seen);
    }

    /// Notes the names in a list that has been read to its end.
    pub(super) fn note_complete(&mut self, kind: EntryKind, names: &BTreeSet<&str>) {
        self.complete.insert(kind);
        for ((of, name), seen) in &mut self.entries {
            if *of == kind && !seen.is_remembered() {
                seen.is_listed = names.contains(&**name);
            }
        }
    }

    /// True if an entry has been listed, or so many that not all are known.
    pub(super) fn may_have(&self, kind: EntryKind, name: &str) -> bool {
        self.is_cut || self.entries.contains_key(&(kind, Box::from(name)))
    }

    pub(super) fn unapproved(&self, approved: &ApprovedDefinitions) -> usize {
        let is_unapproved = |((kind, name), seen): &(&(EntryKind, Box<str>), &SeenDefinition)| {
            let verdict = approved.verdict(*kind, name, seen.digest.as_ref());
            seen.is_listed && verdict != DefinitionVerdict::Approved
        };
        self.entries.iter().filter(is_unapproved).count()
    }

    /// All entries, and the kinds whose lists have been read to their ends.
    pub(super) fn all(&self) -> (Vec<SeenEntry>, Vec<EntryKind>) {
        let entry = |((kind, name), seen): (&(EntryKind, Box<str>), &SeenDefinition)| SeenEntry {
            kind: *kind,
            name: name.to_string(),
            digest: seen.digest,
            definition: seen.definition.as_ref().map(|(value, _)| value.clone()),
            is_listed: seen.is_listed,
        };
        (self.entries.iter().map(entry).collect(), self.complete.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(text: &str) -> Option<Definition> {
        Definition::read(EntryKind::Tool, text)
    }

    #[test]
    fn the_latest_definition_counts() {
        let mut seen = SeenDefinitions::default();
        let a = (EntryKind::Tool, "a");
        seen.note(a, definition(r#"{"name":"a"}"#), true);
        seen.note(a, definition(r#"{"name":"a","title":"b"}"#), false);
        seen.note((EntryKind::Tool, "b"), None, false);
        let (all, complete) = seen.all();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].definition.as_ref().unwrap()["title"], "b");
        assert!(complete.is_empty());
        assert_eq!(seen.unapproved(&ApprovedDefinitions::default()), 2);
        assert_eq!(seen.texts, r#"{"name":"a","title":"b"}"#.len());
    }

    #[test]
    fn an_unapproved_definition_stays_while_another_process_shows_the_approved_one() {
        let mut seen = SeenDefinitions::default();
        let (a, b) = ((EntryKind::Tool, "a"), (EntryKind::Tool, "b"));
        seen.note(a, definition(r#"{"name":"a","title":"bad"}"#), false);
        seen.note(b, definition(r#"{"name":"b"}"#), true);
        seen.note(a, definition(r#"{"name":"a"}"#), true);
        seen.note_complete(EntryKind::Tool, &BTreeSet::new());
        let (all, _) = seen.all();
        assert_eq!(all[0].definition.as_ref().unwrap()["title"], "bad");
        assert_eq!((all[0].is_listed, all[1].is_listed), (true, false));
        seen.note(a, definition(r#"{"name":"a","title":"bad"}"#), true);
        seen.note(a, definition(r#"{"name":"a"}"#), true);
        assert!(
            seen.all().0[0].definition.as_ref().unwrap().get("title").is_none(),
            "it was approved meanwhile"
        );
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut seen = SeenDefinitions::default();
        let large = format!(r#"{{"name":"a","title":"{}"}}"#, "x".repeat(LARGEST_KEPT - 100));
        for number in 0..1_000 {
            seen.note((EntryKind::Tool, &number.to_string()), definition(&large), false);
        }
        assert!(seen.texts <= TEXTS);
        assert!(!seen.may_have(EntryKind::Resource, "x:/"));
        for number in 0..=MOST {
            seen.note((EntryKind::Prompt, &number.to_string()), None, false);
        }
        assert_eq!(seen.entries.len(), MOST);
        assert!(seen.may_have(EntryKind::Resource, "x:/"), "not all are known");
    }
}
