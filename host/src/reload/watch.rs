//! File notifications, and what files look like from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::directories;

/// What a notification tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Something is whole: renamed, made, removed, or closed after writing.
    Whole,
    /// Somebody is writing in place.
    Unfinished,
}

/// Watches directories: a file that is replaced by renaming is another file, and the directory is
/// what stays.
pub(super) struct Watcher {
    notify: RecommendedWatcher,
    changes: mpsc::UnboundedReceiver<Change>,
    watched: BTreeSet<PathBuf>,
}

impl Watcher {
    pub(super) fn new() -> notify::Result<Self> {
        let (sender, changes) = mpsc::unbounded_channel();
        let notify = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may stand for events that were lost: look at the files.
            let change = event.map_or(Some(Change::Whole), |event| classify(event.kind));
            if let Some(change) = change {
                // The receiver is gone only when nobody watches any more.
                let _ = sender.send(change);
            }
        })?;
        Ok(Self { notify, changes, watched: BTreeSet::new() })
    }

    /// Watches the directories of `files`, and no others.
    pub(super) fn watch(&mut self, files: &BTreeSet<PathBuf>) {
        let wanted = directories(files);
        for gone in self.watched.difference(&wanted) {
            let _ = self.notify.unwatch(gone);
        }
        for new in wanted.difference(&self.watched) {
            if let Err(error) = self.notify.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!("changes in {} will not be seen: {error}", new.display());
            }
        }
        self.watched = wanted;
    }

    /// The next change. None: notifications have ended.
    pub(super) async fn next(&mut self) -> Option<Change> {
        self.changes.recv().await
    }

    /// Passes over what has piled up: one look at the files covers it all.
    pub(super) fn drain(&mut self) {
        while self.changes.try_recv().is_ok() {}
    }
}

fn classify(kind: EventKind) -> Option<Change> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Create(_)
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(_)) => Some(Change::Whole),
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Some(Change::Unfinished),
        EventKind::Access(_) => None,
    }
}

/// What files look like from outside: enough to tell that one is another or was written to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprints(BTreeMap<PathBuf, Option<Fingerprint>>);

#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprints {
    pub(super) fn of(files: &BTreeSet<PathBuf>) -> Self {
        Self(files.iter().map(|file| (file.clone(), fingerprint(file))).collect())
    }

    /// Whether a file has changed since.
    pub(super) fn differ(&self, files: &BTreeSet<PathBuf>) -> bool {
        files.iter().any(|file| self.0.get(file) != Some(&fingerprint(file)))
    }

    /// Takes note of files that it does not know yet.
    pub(super) fn extend(&mut self, files: &BTreeSet<PathBuf>) {
        for file in files {
            self.0.entry(file.clone()).or_insert_with(|| fingerprint(file));
        }
    }
}

/// Follows symbolic links, so that a flipped one is seen.
fn fingerprint(file: &PathBuf) -> Option<Fingerprint> {
    let metadata = fs::metadata(file).ok()?;
    Some(Fingerprint {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
