//! File notifications: when something has changed, and nobody is in the middle of writing it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// How long a file that is written in place has to be quiet before it is taken for whole.
const QUIET: Duration = Duration::from_millis(50);

/// As the kernel's: more links than this on the way to a file lead in a circle.
const LINKS: usize = 40;

/// What a notification tells of.
#[derive(Debug)]
struct Change {
    paths: Vec<PathBuf>,
    /// Renamed, removed, or closed after writing; not, while somebody is writing in place.
    whole: bool,
}

/// Watches directories: a file that is replaced by renaming is another file, and the directory is
/// what stays. Of a file behind symbolic links, those of the links are watched, too.
pub(crate) struct Watcher {
    notify: RecommendedWatcher,
    changes: mpsc::UnboundedReceiver<Change>,
    /// Directories, and which they were when their watch began.
    watched: BTreeMap<PathBuf, Option<(u64, u64)>>,
    /// Where the files are, links resolved.
    files: BTreeSet<PathBuf>,
    /// The files, and the links and directories on the way to them: what happens beside them is nothing to
    /// look at, such as a log that grows in the same directory.
    places: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// Files that somebody is writing, and when he was last seen doing so.
    writing: BTreeMap<PathBuf, Instant>,
}

impl Watcher {
    pub(crate) fn new() -> notify::Result<Self> {
        let (sender, changes) = mpsc::unbounded_channel();
        let places = Arc::new(Mutex::new(BTreeSet::new()));
        let of_interest = Arc::clone(&places);
        let notify = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error, or an event of no place, may stand for events that were lost: look at the files.
            let change = match event {
                Ok(event) => is_whole(event.kind)
                    .filter(|_| event.paths.is_empty() || concerns(&event.paths, &lock(&of_interest)))
                    .map(|whole| Change { paths: event.paths, whole }),
                Err(_) => Some(Change { paths: Vec::new(), whole: true }),
            };
            if let Some(change) = change {
                // The receiver is gone only when nobody watches any more.
                let _ = sender.send(change);
            }
        })?;
        let (watched, files, writing) = Default::default();
        Ok(Self { notify, changes, watched, files, places, writing })
    }

    /// Watches the directories of `files`, and no others.
    pub(crate) fn watch(&mut self, files: &BTreeSet<PathBuf>) {
        let places: Vec<_> = files.iter().map(|file| places(file)).collect();
        *lock(&self.places) =
            places.iter().flatten().flat_map(|at| at.ancestors()).map(PathBuf::from).collect();
        self.files = places.iter().filter_map(|places| places.last().cloned()).collect();
        let directories = places.iter().flatten().filter_map(|place| existing_parent(place));
        let wanted: BTreeMap<_, _> = directories.map(|dir| (dir.clone(), identity(&dir))).collect();
        // One that another has taken the place of is watched anew.
        for (gone, _) in self.watched.iter().filter(|(dir, which)| wanted.get(*dir) != Some(*which)) {
            let _ = self.notify.unwatch(gone);
        }
        for (new, _) in wanted.iter().filter(|(dir, which)| self.watched.get(*dir) != Some(*which)) {
            if let Err(error) = self.notify.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!("changes in {} will not be seen: {error}", new.display());
            }
        }
        self.watched = wanted;
    }

    /// Files differ from what they were before a candidate was made. Mostly somebody is changing them just now, and is
    /// waited for as for every other change; what has changed before it was watched brings no notification.
    pub(super) async fn changed_meanwhile(&mut self) -> Option<()> {
        timeout_at(Instant::now() + QUIET, self.changed()).await.unwrap_or(Some(()))
    }

    /// Waits for a change, and until nobody is writing. None: notifications have ended.
    pub(crate) async fn changed(&mut self) -> Option<()> {
        let first = self.changes.recv().await?;
        self.note(first);
        loop {
            while let Ok(change) = self.changes.try_recv() {
                self.note(change);
            }
            self.writing.retain(|_, last| last.elapsed() < QUIET);
            // One look at the files covers all that has piled up.
            let Some(last) = self.writing.values().max() else { return Some(()) };
            match timeout_at(*last + QUIET, self.changes.recv()).await {
                Ok(Some(change)) => self.note(change),
                Ok(None) => return None,
                Err(_) => {}
            }
        }
    }

    fn note(&mut self, change: Change) {
        for path in change.paths {
            if change.whole {
                self.writing.remove(&path);
            } else if self.files.contains(&path) {
                self.writing.insert(path, Instant::now());
            }
        }
    }
}

/// Whether something happened to one of `places`.
fn concerns(paths: &[PathBuf], places: &BTreeSet<PathBuf>) -> bool {
    paths.iter().any(|path| places.contains(path))
}

fn lock(places: &Mutex<BTreeSet<PathBuf>>) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether what a notification tells of is whole. None: nothing has changed.
fn is_whole(kind: EventKind) -> Option<bool> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(_)) => Some(true),
        // Who makes a file is about to write it; what is linked in has a name already.
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => Some(false),
        EventKind::Access(_) => None,
    }
}

/// Where a change makes `file` another one: the links on the way to it, and, last, where it is.
fn places(file: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let steps = |path: &Path| path.components().map(|step| step.as_os_str().to_owned()).collect::<Vec<_>>();
    let mut rest: VecDeque<OsString> = steps(&absolute).into();
    let (mut places, mut at) = (Vec::new(), PathBuf::new());
    while let Some(step) = rest.pop_front() {
        match step.to_str() {
            Some(".") => continue,
            Some("..") => drop(at.pop()),
            // The root takes the place of what was before.
            _ => at.push(step),
        }
        let Ok(target) = fs::read_link(&at) else { continue };
        places.push(at.clone());
        if places.len() > LINKS {
            break;
        }
        at.pop();
        steps(&target).into_iter().rev().for_each(|step| rest.push_front(step));
    }
    places.push(at);
    places
}

/// The directory that holds `place`, or the nearest one in which it could come to be.
fn existing_parent(place: &Path) -> Option<PathBuf> {
    place.ancestors().skip(1).find(|dir| dir.is_dir()).map(Path::to_owned)
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
