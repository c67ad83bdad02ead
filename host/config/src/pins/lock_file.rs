//! `witgate.lock`: the approved definitions of all upstreams, in a form that people review.
//!
//! The text is what `witgate upstream approve` writes, byte for byte: sorted, with JSON's escapes for all characters that
//! nobody sees. A file in any other form is refused, so that a review sees what counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use witgate_base::digest::{digest_of, digest_text};
use witgate_base::printable;
use witgate_base::whole_file::{self, FileError};
use witgate_plugin::Digest;

use super::definition::{Definition, LARGEST_KEPT};
use super::{ApprovedDefinitions, EntryKind};

/// The name of the file, beside the configuration.
pub const LOCK_FILE: &str = "witgate.lock";

/// The version of the form.
const VERSION: u32 = 1;

/// The largest file, in bytes. A thousand tools have some MiB.
const LARGEST: usize = 64 << 20;

/// The path of the file for the configuration in the directory `base`.
pub fn lock_path(base: &Path) -> PathBuf {
    base.join(LOCK_FILE)
}

/// The approved definitions of all upstreams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LockFile {
    upstreams: BTreeMap<String, BTreeMap<(EntryKind, String), LockedDefinition>>,
}

/// An approved definition.
#[derive(Clone, Debug, PartialEq)]
pub struct LockedDefinition {
    /// Its digest.
    pub digest: Digest,
    /// Its text. None: it is larger than [`LARGEST_KEPT`].
    pub definition: Option<Value>,
}

impl From<&Definition> for LockedDefinition {
    fn from(definition: &Definition) -> Self {
        let is_kept = definition.value.to_string().len() <= LARGEST_KEPT;
        Self { digest: definition.digest, definition: is_kept.then(|| definition.value.clone()) }
    }
}

/// The error if the file cannot be read or changed. The file stays as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file has another form than that in which it is written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl LockFile {
    /// Reads the file at `path`. None: there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Option<Self>, LockFileError> {
        let damaged = |reason| LockFileError::Damaged { path: path.to_owned(), reason };
        match whole_file::read(path)? {
            Some(text) => Self::parse(&text).map(Some).map_err(damaged),
            None => Ok(None),
        }
    }

    /// Changes the file at `path` under its lock. Returns the new text.
    ///
    /// # Errors
    /// As [`LockFile::read`], or if it cannot be written.
    pub fn change(path: &Path, change: impl FnOnce(&mut Self)) -> Result<String, LockFileError> {
        let lock = whole_file::Lock::take(path)?;
        let mut file = Self::read(path)?.unwrap_or_default();
        change(&mut file);
        let text = file.render();
        lock.replace(&text)?;
        Ok(text)
    }

    /// The approved definitions of an upstream.
    pub fn approved(&self, upstream: &str) -> ApprovedDefinitions {
        ApprovedDefinitions::locked(self.entries(upstream))
    }

    /// The entries of an upstream, in order.
    pub fn entries(&self, upstream: &str) -> impl Iterator<Item = (EntryKind, &str, &LockedDefinition)> {
        let entries = self.upstreams.get(upstream).into_iter().flatten();
        entries.map(|((kind, name), locked)| (*kind, name.as_str(), locked))
    }

    /// An entry of an upstream.
    pub fn entry(&self, upstream: &str, kind: EntryKind, name: &str) -> Option<&LockedDefinition> {
        self.upstreams.get(upstream)?.get(&(kind, name.to_owned()))
    }

    /// Approves a definition in place of the former one.
    pub fn approve(&mut self, upstream: &str, kind: EntryKind, name: &str, locked: LockedDefinition) {
        self.upstreams.entry(upstream.to_owned()).or_default().insert((kind, name.to_owned()), locked);
    }

    /// Removes an entry.
    pub fn remove(&mut self, upstream: &str, kind: EntryKind, name: &str) {
        if let Some(entries) = self.upstreams.get_mut(upstream) {
            entries.remove(&(kind, name.to_owned()));
        }
        self.upstreams.retain(|_, entries| !entries.is_empty());
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("it has more than {} MiB", LARGEST >> 20));
        }
        let raw: RawLock = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if raw.version != VERSION {
            return Err(format!("its version is {}, and this Witgate knows version {VERSION}", raw.version));
        }
        let mut file = Self::default();
        for (upstream, lists) in raw.upstreams {
            for (kind, entries) in lists.into_kinds() {
                for (name, entry) in entries {
                    let locked = entry.checked(kind, &name).map_err(|reason| {
                        format!("`{}` of `{upstream}`: {reason}", printable::clean(&kind.target(&name)))
                    })?;
                    file.approve(&upstream, kind, &name, locked);
                }
            }
        }
        match file.render() == text {
            true => Ok(file),
            false => Err("it is not in the form in which `witgate upstream approve` writes it".to_owned()),
        }
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut upstreams = BTreeMap::new();
        for (name, entries) in &self.upstreams {
            let mut lists = RawLists::default();
            for ((kind, name), locked) in entries {
                let entry =
                    RawEntry { digest: digest_text(&locked.digest), definition: locked.definition.clone() };
                lists.of_kind(*kind).insert(name.clone(), entry);
            }
            upstreams.insert(name.clone(), lists);
        }
        let raw = RawLock { version: VERSION, upstreams };
        // A map with texts as keys can always be written.
        let text = serde_json::to_string_pretty(&raw).unwrap_or_default();
        printable::json(&text).into_owned() + "\n"
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    version: u32,
    upstreams: BTreeMap<String, RawLists>,
}

type RawEntries = BTreeMap<String, RawEntry>;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct RawLists {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tools: RawEntries,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    prompts: RawEntries,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resources: RawEntries,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resource_templates: RawEntries,
}

impl RawLists {
    fn of_kind(&mut self, kind: EntryKind) -> &mut RawEntries {
        match kind {
            EntryKind::Tool => &mut self.tools,
            EntryKind::Prompt => &mut self.prompts,
            EntryKind::Resource => &mut self.resources,
            EntryKind::ResourceTemplate => &mut self.resource_templates,
        }
    }

    fn into_kinds(self) -> [(EntryKind, RawEntries); 4] {
        let Self { tools, prompts, resources, resource_templates } = self;
        [
            (EntryKind::Tool, tools),
            (EntryKind::Prompt, prompts),
            (EntryKind::Resource, resources),
            (EntryKind::ResourceTemplate, resource_templates),
        ]
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition: Option<Value>,
}

impl RawEntry {
    /// The entry, if its digest is that of its definition.
    fn checked(self, kind: EntryKind, name: &str) -> Result<LockedDefinition, &'static str> {
        let digest = digest_of(&self.digest).ok_or("its digest is none")?;
        let Some(value) = self.definition else { return Ok(LockedDefinition { digest, definition: None }) };
        let definition = Definition::of(kind, value).ok_or("its definition is no object")?;
        if definition.digest != digest {
            return Err("its digest is not that of its definition");
        }
        if definition.name(kind) != Some(name) {
            return Err("its definition has another name");
        }
        Ok(LockedDefinition { digest, definition: Some(definition.value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(kind: EntryKind, text: &str) -> LockedDefinition {
        (&Definition::read(kind, text).unwrap()).into()
    }

    fn file() -> LockFile {
        let mut file = LockFile::default();
        let tool = locked(EntryKind::Tool, "{\"name\":\"add\",\"description\":\"Adds.\u{200b}\"}");
        file.approve("files", EntryKind::Tool, "add", tool);
        let template = locked(EntryKind::ResourceTemplate, r#"{"uriTemplate":"x:/{a}"}"#);
        file.approve("files", EntryKind::ResourceTemplate, "x:/{a}", template);
        file
    }

    #[test]
    fn the_text_can_be_read_again_and_shows_what_is_hidden() {
        let text = file().render();
        assert!(text.contains(r#""description": "Adds.\u200b""#), "{text}");
        assert_eq!(LockFile::parse(&text), Ok(file()));
        assert_eq!(LockFile::parse(&text).unwrap().render(), text);
        assert_eq!(file().approved("files").len(), 2);
        assert!(file().approved("others").is_empty());
    }

    #[test]
    fn a_file_in_another_form_is_damaged() {
        let text = file().render();
        for (from, to) in [
            ("Adds.", "Adds!"),
            (r"\u200b", "\u{200b}"),
            ("\"version\": 1", "\"version\": 2"),
            ("  \"version\"", "\"version\""),
            ("\"add\": {", "\"del\": {"),
            ("\"tools\": {", "\"tools\": {}, \"tools\": {"),
            ("sha256:", "sha256:0"),
            ("\"upstreams\"", "\"upstream\""),
            ("\n}\n", "\n}"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            assert!(LockFile::parse(&changed).is_err(), "{from} → {to}");
        }
        for text in ["", "{}", "<<<<<<< HEAD\n"] {
            assert!(LockFile::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_text_of_a_large_definition_is_left_out() {
        let mut file = LockFile::default();
        let text = format!(r#"{{"name":"a","description":"{}"}}"#, "x".repeat(LARGEST_KEPT));
        file.approve("files", EntryKind::Tool, "a", locked(EntryKind::Tool, &text));
        let written = file.render();
        assert!(written.len() < 1_000, "{written}");
        assert_eq!(LockFile::parse(&written), Ok(file));
    }

    #[test]
    fn a_change_is_written_and_a_damaged_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = lock_path(dir.path());
        assert!(LockFile::read(&path).unwrap().is_none());
        let entry = locked(EntryKind::Tool, r#"{"name":"a"}"#);
        LockFile::change(&path, |file| file.approve("u", EntryKind::Tool, "a", entry)).unwrap();
        assert_eq!(LockFile::read(&path).unwrap().unwrap().approved("u").len(), 1);
        LockFile::change(&path, |file| file.remove("u", EntryKind::Tool, "a")).unwrap();
        assert!(LockFile::read(&path).unwrap().unwrap().approved("u").is_empty());
        std::fs::write(&path, "no").unwrap();
        assert!(LockFile::change(&path, |_| {}).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "no");
    }
}
