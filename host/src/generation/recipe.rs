//! What a generation was made from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use witgate_plugin::Digest;

use crate::digest::{digest_of, digest_text};

/// What a generation was made from, as far as somebody wrote or built it: the configuration, and which components.
/// Key stores, key sets and secrets do not belong to it: whoever repeats a recipe takes them as they are now, so
/// that no key that was revoked since comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The configuration file's content.
    config: String,
    /// Digests by component file.
    components: BTreeMap<PathBuf, String>,
}

impl Recipe {
    /// A recipe without components yet.
    pub fn new(config: &str) -> Self {
        Self { config: config.to_owned(), components: BTreeMap::new() }
    }

    /// Adds a component.
    pub fn add(&mut self, file: &Path, digest: &Digest) {
        self.components.insert(file.to_owned(), digest_text(digest));
    }

    /// The configuration file's content.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// Which component `file` was.
    pub fn digest_at(&self, file: &Path) -> Option<Digest> {
        self.components.get(file).and_then(|text| digest_of(text))
    }

    /// All its components.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.components.values().filter_map(|text| digest_of(text))
    }
}
