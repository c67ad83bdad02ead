//! The changes of an upstream's definitions, in comparison with `witgate.lock`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::shown_definitions::{ShownDefinition, ShownDefinitions};
use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use witgate_base::digest::{digest_text, sha256};
use witgate_config::pins::{
    Definition, DefinitionDifference, EntryKind, LockFile, LockFileError, LockedDefinition, differences,
    lock_path,
};
use witgate_config::resolve::Outline;

/// The file of approved definitions, with its content.
pub(super) struct ApprovedLock {
    pub(super) path: PathBuf,
    pub(super) file: LockFile,
}

impl ApprovedLock {
    /// Reads the file beside the configuration, which has to have the upstream `name`.
    pub(super) fn read(context: &Context, name: &str) -> Result<Self, CommandFailure> {
        let path = context.config_path().ok_or_else(|| {
            CommandFailure::new("there is no configuration file; name one with `--config FILE`")
        })?;
        let outline = Outline::recover(&path).map_err(CommandFailure::Config)?;
        if !outline.file.upstreams.contains_key(name) {
            let names: Vec<_> = outline.file.upstreams.keys().map(String::as_str).collect();
            let message = format!("there is no upstream `{name}`; there are: {}", names.join(", "));
            return Err(CommandFailure::new(message));
        }
        let path = lock_path(&outline.base);
        let file = LockFile::read(&path).map_err(failure)?.unwrap_or_default();
        Ok(Self { path, file })
    }
}

/// The error of the file, for a person.
pub(super) fn failure(error: LockFileError) -> CommandFailure {
    CommandFailure::new(format!("{error}. Restore a copy of it, such as the last one in git"))
}

/// A definition that is not the approved one.
pub(super) struct DefinitionChange {
    pub(super) kind: EntryKind,
    pub(super) name: String,
    pub(super) change: ChangeKind,
    pub(super) approved: Option<LockedDefinition>,
    /// The new definition. None: the entry is gone, or it cannot be read.
    pub(super) new: Option<LockedDefinition>,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    New,
    Changed,
    /// The server does not list it any more.
    Gone,
    /// It cannot be read in only one way.
    Unreadable,
}

impl ChangeKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Gone => "gone",
            Self::Unreadable => "unreadable",
        }
    }
}

impl DefinitionChange {
    /// The kind and name, as `approve` takes them.
    pub(super) fn target(&self) -> String {
        self.kind.target(&self.name)
    }

    /// The differences of the texts. Empty if one of them is too large to be kept.
    pub(super) fn differences(&self) -> Vec<DefinitionDifference> {
        let text =
            |locked: &Option<LockedDefinition>| locked.as_ref().and_then(|locked| locked.definition.clone());
        let is_cut = |locked: &Option<LockedDefinition>| {
            locked.as_ref().is_some_and(|locked| locked.definition.is_none())
        };
        match is_cut(&self.approved) || is_cut(&self.new) || self.new.is_none() {
            true => Vec::new(),
            false => differences(text(&self.approved).as_ref(), text(&self.new).as_ref()),
        }
    }

    /// The change for a program.
    pub(super) fn json(&self) -> Value {
        let digest =
            |locked: &Option<LockedDefinition>| locked.as_ref().map(|locked| digest_text(&locked.digest));
        json!({
            "target": self.target(),
            "kind": self.kind.name(),
            "change": self.change.name(),
            "approved": digest(&self.approved),
            "digest": digest(&self.new),
            "differences": self.differences().iter().map(difference_json).collect::<Vec<_>>(),
        })
    }
}

fn difference_json(difference: &DefinitionDifference) -> Value {
    match difference {
        DefinitionDifference::Wider { place, what } => json!({ "wider": what, "at": place }),
        DefinitionDifference::Hint { name, before, after } => {
            json!({ "annotation": name, "before": before, "after": after })
        }
        DefinitionDifference::Value { place, before, after, hidden } => json!({
            "at": place, "before": before, "after": after,
            "hidden": (!hidden.is_empty()).then(|| hidden.to_string()),
        }),
        DefinitionDifference::More => json!({ "more": true }),
    }
}

/// The length of the name of changes, in hexadecimal digits. No server makes others with the same name.
const NAME: usize = 32;

/// The name of these changes, by which somebody approves what they have seen.
pub(super) fn name_of(changes: &[DefinitionChange]) -> String {
    let mut text = Vec::new();
    for DefinitionChange { kind, name, change, approved, new } in changes {
        let digest = |locked: &Option<LockedDefinition>| locked.as_ref().map(|locked| locked.digest);
        for part in [kind.name().as_bytes(), name.as_bytes(), change.name().as_bytes()] {
            text.extend(sha256(part));
        }
        text.extend([digest(approved), digest(new)].map(Option::unwrap_or_default).concat());
    }
    digest_text(&sha256(&text)).trim_start_matches("sha256:").chars().take(NAME).collect()
}

/// The changes of the upstream `name`, in the order of the entries. An entry that is there several times has its first
/// definition that is not approved.
pub(super) fn changes(lock: &LockFile, name: &str, shown: &ShownDefinitions) -> Vec<DefinitionChange> {
    let mut all: Vec<_> = shown.entries.iter().filter_map(|entry| change(lock, name, entry)).collect();
    let listed: BTreeSet<_> = shown.entries.iter().map(|entry| (entry.kind, entry.name.as_str())).collect();
    for (kind, entry, locked) in lock.entries(name) {
        if shown.complete.contains(&kind) && !listed.contains(&(kind, entry)) {
            let (name, approved) = (entry.to_owned(), Some(locked.clone()));
            all.push(DefinitionChange { kind, name, change: ChangeKind::Gone, approved, new: None });
        }
    }
    all.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    all.dedup_by(|one, other| (one.kind, &one.name) == (other.kind, &other.name));
    all
}

fn change(lock: &LockFile, upstream: &str, entry: &ShownDefinition) -> Option<DefinitionChange> {
    let ShownDefinition { kind, name, digest, value } = entry;
    let approved = lock.entry(upstream, *kind, name).cloned();
    let new = digest.map(|digest| match value {
        Some(value) => LockedDefinition::from(&Definition { value: value.clone(), digest }),
        None => LockedDefinition { digest, definition: None },
    });
    let change = match (&approved, &new) {
        (_, None) => ChangeKind::Unreadable,
        (None, Some(_)) => ChangeKind::New,
        (Some(approved), Some(new)) if approved.digest == new.digest => return None,
        (Some(_), Some(_)) => ChangeKind::Changed,
    };
    Some(DefinitionChange { kind: *kind, name: name.clone(), change, approved, new })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> ShownDefinition {
        let definition = Definition::read(EntryKind::Tool, text).unwrap();
        let name = definition.name(EntryKind::Tool).unwrap().to_owned();
        ShownDefinition {
            kind: EntryKind::Tool,
            name,
            digest: Some(definition.digest),
            value: Some(definition.value),
        }
    }

    fn found(lock: &LockFile, entries: Vec<ShownDefinition>, complete: Vec<EntryKind>) -> Vec<String> {
        let shown = ShownDefinitions { entries, complete };
        let all = changes(lock, "u", &shown);
        all.iter().map(|change| format!("{} {}", change.target(), change.change.name())).collect()
    }

    #[test]
    fn changes_are_those_from_the_approved_definitions() {
        let mut lock = LockFile::default();
        for text in [r#"{"name":"same"}"#, r#"{"name":"other"}"#, r#"{"name":"gone"}"#] {
            let definition = Definition::read(EntryKind::Tool, text).unwrap();
            let name = definition.name(EntryKind::Tool).unwrap().to_owned();
            lock.approve("u", EntryKind::Tool, &name, (&definition).into());
        }
        let entries = || {
            let unreadable =
                ShownDefinition { kind: EntryKind::Tool, name: "x".to_owned(), digest: None, value: None };
            let texts = [r#"{"name":"same"}"#, r#"{"name":"other","title":"a"}"#, r#"{"name":"new"}"#];
            texts.into_iter().map(entry).chain([unreadable]).collect::<Vec<_>>()
        };
        let expected = ["gone gone", "new new", "other changed", "x unreadable"];
        assert_eq!(found(&lock, entries(), vec![EntryKind::Tool]), expected);
        assert_eq!(found(&lock, entries(), Vec::new()), expected[1..]);
    }

    #[test]
    fn changes_have_another_name_if_anything_differs() {
        let name = |texts: &[&str]| {
            let entries = texts.iter().map(|text| entry(text)).collect();
            name_of(&changes(&LockFile::default(), "u", &ShownDefinitions { entries, complete: Vec::new() }))
        };
        let seen = name(&[r#"{"name":"a"}"#]);
        assert_eq!(name(&[r#"{ "name": "a" }"#]), seen);
        for other in [
            &[r#"{"name":"b"}"#][..],
            &[r#"{"name":"a","title":""}"#],
            &[r#"{"name":"a"}"#, r#"{"name":"b"}"#],
            &[],
        ] {
            assert_ne!(name(other), seen, "{other:?}");
        }
    }

    #[test]
    fn a_duplicate_with_another_definition_is_a_change() {
        let mut lock = LockFile::default();
        let definition = Definition::read(EntryKind::Tool, r#"{"name":"a"}"#).unwrap();
        lock.approve("u", EntryKind::Tool, "a", (&definition).into());
        let entries = vec![entry(r#"{"name":"a"}"#), entry(r#"{"name":"a","title":"b"}"#)];
        assert_eq!(found(&lock, entries, vec![EntryKind::Tool]), ["a changed"]);
    }
}
