//! What files looked like from outside just before they were read: enough to tell whether one is
//! another or was written to since.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Files, and what they looked like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints(BTreeMap<PathBuf, Option<Fingerprint>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprints {
    /// Takes note of a file. To be called before it is read: what changes in between then counts as
    /// a change. The first look stands.
    pub fn note(&mut self, file: &Path) {
        self.0.entry(file.to_owned()).or_insert_with(|| fingerprint(file));
    }

    /// Takes over what others have noted.
    pub fn extend(&mut self, others: Self) {
        for (file, seen) in others.0 {
            self.0.entry(file).or_insert(seen);
        }
    }

    /// Whether a file is among them.
    pub fn has(&self, file: &Path) -> bool {
        self.0.contains_key(file)
    }

    /// The files.
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// Whether a file has changed since.
    pub(crate) fn differ(&self) -> bool {
        self.0.iter().any(|(file, seen)| *seen != fingerprint(file))
    }

    /// Whether a file other than `besides` has changed since.
    pub(crate) fn differ_besides(&self, besides: &BTreeSet<PathBuf>) -> bool {
        let others = self.0.iter().filter(|(file, _)| !besides.contains(*file));
        others.into_iter().any(|(file, seen)| *seen != fingerprint(file))
    }

    /// The same files as they are now.
    pub(crate) fn renewed(&self) -> Self {
        Self(self.0.keys().map(|file| (file.clone(), fingerprint(file))).collect())
    }
}

/// Follows symbolic links, so that a flipped one is seen.
fn fingerprint(file: &Path) -> Option<Fingerprint> {
    let metadata = fs::metadata(file).ok()?;
    Some(Fingerprint {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
