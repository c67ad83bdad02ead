//! The inputs of a generation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use witgate_plugin::Digest;

use witgate_base::digest::{digest_of, digest_text, sha256};

/// The inputs of a generation that somebody wrote or built: the configuration, and the digests of components. Key
/// stores, key sets and secrets are not part of it. A repeated recipe uses the current ones, so that no revoked key
/// becomes valid again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The content of the configuration file.
    config: String,
    /// Digests by component file.
    components: BTreeMap<PathBuf, String>,
}

impl Recipe {
    /// A recipe without components.
    pub fn new(config: &str) -> Self {
        Self { config: config.to_owned(), components: BTreeMap::new() }
    }

    /// Adds a component.
    pub fn add(&mut self, file: &Path, digest: &Digest) {
        self.components.insert(file.to_owned(), digest_text(digest));
    }

    /// The content of the configuration file.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The digest of the component in `file`.
    pub fn digest_at(&self, file: &Path) -> Option<Digest> {
        self.components.get(file).and_then(|text| digest_of(text))
    }

    /// A digest of all its parts.
    pub fn digest(&self) -> Digest {
        let mut text = sha256(self.config.as_bytes()).to_vec();
        for (file, component) in &self.components {
            text.extend(sha256(file.as_os_str().as_encoded_bytes()));
            text.extend(sha256(component.as_bytes()));
        }
        sha256(&text)
    }

    /// True if every part of it is in `other`, except the policies named `broken`.
    pub fn is_part_of(&self, other: &Self, broken: &[&str]) -> bool {
        let has = |(file, digest): (&PathBuf, &String)| other.components.get(file) == Some(digest);
        self.components.iter().all(has) && same_besides(&self.config, &other.config, broken)
    }

    /// All its components.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.components.values().filter_map(|text| digest_of(text))
    }
}

/// True if two configurations are equal, except for the policies named `broken`.
fn same_besides(one: &str, other: &str, broken: &[&str]) -> bool {
    let rest = |text: &str| {
        let mut document = text.parse::<toml::Table>().ok()?;
        if let Some(policies) = document.get_mut("policies").and_then(toml::Value::as_table_mut) {
            policies.retain(|name, _| !broken.contains(&name));
        }
        Some(document)
    };
    one == other || rest(one).is_some_and(|said| rest(other) == Some(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_broken_policies_add_nothing_to_a_recipe() {
        let recipe = |rules: &str, keys: &str| {
            Recipe::new(&format!("[policies.rules]\nconfig = {rules}\n[policies.keys]\nconfig = {keys}\n"))
        };
        let (before, after) = (recipe("1", "1"), recipe("2", "1"));
        assert!(after.is_part_of(&before, &["rules"]));
        assert!(!after.is_part_of(&before, &[]));
        assert!(!recipe("2", "2").is_part_of(&before, &["rules"]), "the keys say something new");
        let mut with_component = recipe("1", "1");
        with_component.add(Path::new("a.wasm"), &[1; 32]);
        assert!(before.is_part_of(&with_component, &[]), "one that cannot be had is missing");
        assert!(!with_component.is_part_of(&before, &[]));
    }
}
