//! Fingerprints of files, taken just before the files are read. They tell whether a file has been replaced or written
//! to since.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::BuildHasher as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use foldhash::quality::RandomState;

use crate::clock;

/// The time after a change in which the content is compared as well. Two writes within one tick of the kernel's clock
/// leave the same times, and a tick has up to ten milliseconds.
const TICK: Duration = Duration::from_millis(20);

/// The size up to which the content is compared. Writing a larger file takes longer than a tick.
const LARGEST: u64 = 64 << 20;

/// The fingerprints of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints(BTreeMap<PathBuf, Option<Fingerprint>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// The digest of the content, if the times are not sufficient.
    content: Option<Content>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// A hash that is valid only in this process.
    Hash(u64),
    /// The file could not be read, so it counts as changed.
    Unknown,
}

impl Fingerprints {
    /// Takes the fingerprint of a file. Call this before reading the file, so that a change in between is noticed. The
    /// first fingerprint of a file stays.
    pub fn note(&mut self, file: &Path) {
        self.0.entry(file.to_owned()).or_insert_with(|| fingerprint(file));
    }

    /// Adds the fingerprints of another set.
    pub fn extend(&mut self, others: Self) {
        for (file, seen) in others.0 {
            self.0.entry(file).or_insert(seen);
        }
    }

    /// True if the set has a fingerprint of the file.
    pub fn has(&self, file: &Path) -> bool {
        self.0.contains_key(file)
    }

    /// The files.
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// True if the file existed at both times and its metadata is equal; false if the metadata is not sufficient.
    pub fn agree(&self, earlier: &Self, file: &Path) -> bool {
        let seen = |looks: &Self| looks.0.get(file).cloned().flatten().filter(|seen| seen.content.is_none());
        seen(self).is_some_and(|now| seen(earlier) == Some(now))
    }

    /// True if any file has changed since.
    pub fn differ(&self) -> bool {
        self.0.iter().any(|(file, seen)| differs(file, seen.as_ref()))
    }

    /// True if a file other than `besides` has changed since.
    pub fn differ_besides(&self, besides: &BTreeSet<PathBuf>) -> bool {
        let others = self.0.iter().filter(|(file, _)| !besides.contains(*file));
        others.into_iter().any(|(file, seen)| differs(file, seen.as_ref()))
    }

    /// The same files as they are now.
    pub fn renewed(&self) -> Self {
        Self(self.0.keys().map(|file| (file.clone(), fingerprint(file))).collect())
    }
}

/// True if a file has changed since its fingerprint.
fn differs(file: &Path, seen: Option<&Fingerprint>) -> bool {
    let now = outside(file);
    let Some(seen) = seen else { return now.is_some() };
    let outside_of_seen = Fingerprint { content: None, ..seen.clone() };
    now != Some(outside_of_seen)
        || seen.content == Some(Content::Unknown)
        || (seen.content.is_some() && seen.content != content(file))
}

fn fingerprint(file: &Path) -> Option<Fingerprint> {
    let outside = outside(file)?;
    let (seconds, nanoseconds) = outside.changed;
    let since = clock::since_epoch();
    let changed = Duration::new(seconds.try_into().unwrap_or(0), nanoseconds.try_into().unwrap_or(0));
    let settled = since.saturating_sub(changed) > TICK || outside.size > LARGEST;
    Some(Fingerprint { content: if settled { None } else { content(file) }, ..outside })
}

/// Follows symbolic links, so that the change of a link is noticed.
fn outside(file: &Path) -> Option<Fingerprint> {
    let metadata = fs::metadata(file).ok()?;
    Some(Fingerprint {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        content: None,
    })
}

/// The hash of the content. None: there is nothing to read.
fn content(file: &Path) -> Option<Content> {
    // This hash only decides whether to read the file again. The digest of a component decides whether it may run.
    static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    // Reading a pipe in place of a file would never end.
    fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    Some(fs::read(file).map_or(Content::Unknown, |bytes| Content::Hash(HASH.hash_one(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state as if both had been written within one tick.
    fn with_the_times_of(seen: &Fingerprints, file: &Path) -> Fingerprints {
        let mut same = seen.clone();
        if let (Some(Some(seen)), Some(now)) = (same.0.get_mut(file), outside(file)) {
            *seen = Fingerprint { content: seen.content, ..now };
        }
        same
    }

    #[test]
    fn two_writes_within_one_tick_are_distinguished() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "one").unwrap();
        let mut seen = Fingerprints::default();
        seen.note(&file);
        assert!(!seen.differ());
        fs::write(&file, "two").unwrap();
        assert!(with_the_times_of(&seen, &file).differ(), "the content is another");
        fs::write(&file, "one").unwrap();
        assert!(!with_the_times_of(&seen, &file).differ());
    }

    #[test]
    fn an_unreadable_file_is_checked_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "one").unwrap();
        let mut seen = Fingerprints::default();
        seen.note(&file);
        for seen in seen.0.values_mut().flatten() {
            // The state without a descriptor to read the file with.
            seen.content = Some(Content::Unknown);
        }
        assert!(seen.differ() && !seen.agree(&seen, &file));
    }

    #[test]
    fn an_old_file_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "one").unwrap();
        std::thread::sleep(2 * TICK);
        assert_eq!(fingerprint(&file).unwrap().content, None);
        let mut seen = Fingerprints::default();
        seen.note(&file);
        assert!(!seen.differ());
        fs::remove_file(&file).unwrap();
        assert!(seen.differ());
        assert!(!seen.renewed().differ(), "gone, and known to be");
    }

    #[test]
    fn files_are_equal_only_if_their_metadata_prove_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let look = || {
            let mut seen = Fingerprints::default();
            seen.note(&file);
            seen
        };
        assert!(!look().agree(&look(), &file), "it is not there");
        fs::write(&file, "one").unwrap();
        assert!(!look().agree(&look(), &file), "another write may look the same");
        std::thread::sleep(2 * TICK);
        let earlier = look();
        assert!(look().agree(&earlier, &file));
        fs::write(&file, "two").unwrap();
        assert!(!look().agree(&earlier, &file));
        std::thread::sleep(2 * TICK);
        assert!(!look().agree(&earlier, &file));
        assert!(!look().agree(&Fingerprints::default(), &file), "nobody has looked");
    }
}
