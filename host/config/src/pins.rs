//! The approved definitions of an upstream's tools, prompts and resources, which are in a file beside the configuration.

mod annotations;
mod definition;
mod difference;
mod hidden;
mod lock_file;
mod schema_difference;

use std::sync::Arc;

use serde_json::Value;
use witgate_base::digest::sha256;
use witgate_plugin::{Digest, TargetKind, ToolAnnotations};

pub use definition::{Definition, LARGEST_KEPT};
pub use difference::{DefinitionDifference, differences};
pub use hidden::{HiddenCharacters, shown};
pub use lock_file::{LOCK_FILE, LockFile, LockFileError, LockedDefinition, lock_path};

/// The settings of an upstream whose definitions are compared with the approved ones.
#[derive(Clone, Debug)]
pub struct Pins {
    /// The consequence of a definition that is not approved.
    pub mode: PinMode,
    /// The approved definitions.
    pub approved: Arc<ApprovedDefinitions>,
    /// True if the file of approved definitions cannot be used, so that `approved` is empty.
    pub is_damaged: bool,
}

/// The consequence of a definition that is not approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinMode {
    /// It is reported.
    Warn,
    /// It is reported, and the entry is neither listed nor callable.
    Hold,
}

impl PinMode {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Hold => "hold",
        }
    }
}

/// The kind of an entry with a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource.
    Resource,
    /// A template of resources.
    ResourceTemplate,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::ResourceTemplate];

    /// The kinds whose entries callers use by their names.
    pub const TARGETS: [Self; 3] = [Self::Tool, Self::Prompt, Self::Resource];

    /// The kind for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource template",
        }
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The method that lists such entries.
    pub fn method(self) -> &'static str {
        match self {
            Self::Tool => "tools/list",
            Self::Prompt => "prompts/list",
            Self::Resource => "resources/list",
            Self::ResourceTemplate => "resources/templates/list",
        }
    }

    /// The member of the answer that has the entries.
    pub fn list(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Prompt => "prompts",
            Self::Resource => "resources",
            Self::ResourceTemplate => "resourceTemplates",
        }
    }

    /// The member of an entry that has its name.
    pub fn name_member(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::ResourceTemplate => "uriTemplate",
        }
    }

    /// The name of an entry.
    pub fn name_of(self, entry: &Value) -> Option<&str> {
        entry.get(self.name_member())?.as_str()
    }

    /// The kind of target that an entry is.
    pub fn target_kind(self) -> TargetKind {
        match self {
            Self::Tool => TargetKind::Tool,
            Self::Prompt => TargetKind::Prompt,
            Self::Resource | Self::ResourceTemplate => TargetKind::Resource,
        }
    }

    /// The kind and the name as one text, as patterns write targets.
    pub fn target(self, name: &str) -> String {
        match self {
            Self::Tool => name.to_owned(),
            Self::Prompt => format!("prompt:{name}"),
            Self::Resource => format!("resource:{name}"),
            Self::ResourceTemplate => format!("template:{name}"),
        }
    }

    /// The kinds of entries on which the right to a target depends.
    pub fn of_target(kind: TargetKind) -> &'static [Self] {
        match kind {
            TargetKind::Tool => &[Self::Tool],
            TargetKind::Prompt => &[Self::Prompt],
            TargetKind::Resource => &[Self::Resource, Self::ResourceTemplate],
            TargetKind::Method => &[],
        }
    }
}

/// The approved definitions of an upstream, by their digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovedDefinitions {
    /// In order.
    entries: Vec<ApprovedEntry>,
    digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ApprovedEntry {
    kind: EntryKind,
    name: Box<str>,
    digest: Digest,
    /// Those of a tool, if its definition is known and they can be read.
    annotations: Option<ToolAnnotations>,
}

/// A definition in comparison with the approved one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionVerdict {
    /// It is the approved one.
    Approved,
    /// There is no approved one.
    New,
    /// It differs from the approved one.
    Changed,
    /// It cannot be read in only one way, so that nobody can approve it.
    Unreadable,
}

impl DefinitionVerdict {
    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
        }
    }
}

impl ApprovedDefinitions {
    /// The definitions with these digests, each with the kind and name of its entry.
    pub fn new(entries: impl IntoIterator<Item = (EntryKind, String, Digest)>) -> Self {
        let entry = |(kind, name, digest): (_, String, _)| ApprovedEntry {
            kind,
            name: name.into(),
            digest,
            annotations: None,
        };
        Self::of(entries.into_iter().map(entry).collect())
    }

    /// The definitions of these entries, with the annotations of tools.
    pub fn locked<'e>(entries: impl IntoIterator<Item = (EntryKind, &'e str, &'e LockedDefinition)>) -> Self {
        let entry = |(kind, name, locked): (EntryKind, &str, &LockedDefinition)| ApprovedEntry {
            kind,
            name: name.into(),
            digest: locked.digest,
            annotations: locked
                .definition
                .as_ref()
                .filter(|_| kind == EntryKind::Tool)
                .and_then(annotations::annotations),
        };
        Self::of(entries.into_iter().map(entry).collect())
    }

    fn of(mut entries: Vec<ApprovedEntry>) -> Self {
        entries.sort_unstable_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
        let text = entries.iter().fold(Vec::new(), |mut text, entry| {
            text.extend_from_slice(entry.kind.list().as_bytes());
            text.extend_from_slice(&sha256(entry.name.as_bytes()));
            text.extend_from_slice(&entry.digest);
            text
        });
        Self { entries, digest: sha256(&text) }
    }

    /// The digest of all of them.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if nothing is approved.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The place of an entry among all, if its definition is approved.
    pub fn place(&self, kind: EntryKind, name: &str) -> Option<usize> {
        self.entries.binary_search_by(|entry| (entry.kind, &*entry.name).cmp(&(kind, name))).ok()
    }

    /// The digest of the approved definition of an entry.
    pub fn digest_of(&self, kind: EntryKind, name: &str) -> Option<Digest> {
        self.entries.get(self.place(kind, name)?).map(|entry| entry.digest)
    }

    /// The annotations in the approved definition of a tool. None: there is none, only its digest is known, or they cannot
    /// be read.
    pub fn annotations(&self, tool: &str) -> Option<ToolAnnotations> {
        self.entries.get(self.place(EntryKind::Tool, tool)?)?.annotations
    }

    /// The names of the entries of this kind.
    pub fn names(&self, kind: EntryKind) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(move |entry| entry.kind == kind).map(|entry| &*entry.name)
    }

    /// Compares the definition of an entry with the approved one. None: it cannot be read. Whether an entry is listed and
    /// whether it can be called depends on this comparison alone.
    pub fn verdict(&self, kind: EntryKind, name: &str, digest: Option<&Digest>) -> DefinitionVerdict {
        let approved = self.place(kind, name).and_then(|place| self.entries.get(place));
        match (digest, approved) {
            (None, _) => DefinitionVerdict::Unreadable,
            (Some(_), None) => DefinitionVerdict::New,
            (Some(digest), Some(approved)) if *digest == approved.digest => DefinitionVerdict::Approved,
            (Some(_), Some(_)) => DefinitionVerdict::Changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_approved_under_its_kind_and_name_alone() {
        let digest = [7; 32];
        let approved = ApprovedDefinitions::new([
            (EntryKind::Tool, "search".to_owned(), digest),
            (EntryKind::Prompt, "ask".to_owned(), [8; 32]),
        ]);
        let verdict = |kind, name, digest| approved.verdict(kind, name, digest);
        assert_eq!(verdict(EntryKind::Tool, "search", Some(&digest)), DefinitionVerdict::Approved);
        assert_eq!(verdict(EntryKind::Tool, "search", Some(&[9; 32])), DefinitionVerdict::Changed);
        assert_eq!(verdict(EntryKind::Tool, "Search", Some(&digest)), DefinitionVerdict::New);
        assert_eq!(verdict(EntryKind::Prompt, "search", Some(&digest)), DefinitionVerdict::New);
        assert_eq!(verdict(EntryKind::Tool, "search", None), DefinitionVerdict::Unreadable);
    }

    #[test]
    fn the_digest_of_all_depends_on_each() {
        let of =
            |name: &str, digest| ApprovedDefinitions::new([(EntryKind::Tool, name.to_owned(), [digest; 32])]);
        assert_eq!(of("a", 1).digest(), of("a", 1).digest());
        assert_ne!(of("a", 1).digest(), of("a", 2).digest());
        assert_ne!(of("a", 1).digest(), of("b", 1).digest());
        assert_ne!(ApprovedDefinitions::default().digest(), of("a", 1).digest());
    }
}
