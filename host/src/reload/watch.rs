//! Finds changed files that are complete: by notifications, and, since these do not come for every change, by a check
//! every second.

mod unwatched_files;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use witgate_base::fingerprints::Fingerprints;
use witgate_base::path::absolute;

/// Time without a write after which a file that is written in place counts as complete.
const QUIET: Duration = Duration::from_millis(50);

/// Interval at which the files are checked, whether there are notifications or not. There are none for an edit through
/// another mount or on another machine, and none while the system has no watches left.
const LOOK: Duration = Duration::from_secs(1);

/// The most links on the path to a file, as in the kernel: more than this lead in a circle.
const LINKS: usize = 40;

/// A change that a notification reports.
#[derive(Debug)]
struct FileChange {
    paths: Vec<PathBuf>,
    /// True if the file was renamed, removed, or closed after writing; false while it is written in place.
    whole: bool,
}

/// Files whose changes may bring no notification, with the reason: a check finds their changes within a second. The
/// watchers of a process share the list with those who report it.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnwatchedFiles(Arc<Mutex<BTreeMap<PathBuf, String>>>);

impl UnwatchedFiles {
    /// The files, with the reason for each.
    pub(crate) fn all(&self) -> BTreeMap<PathBuf, String> {
        self.0.lock().clone()
    }

    /// Replaces the files `before`, which the same watcher reported, with `new`. Returns those that are new.
    fn replace(&self, before: &BTreeSet<PathBuf>, new: &BTreeMap<PathBuf, String>) {
        let mut all = self.0.lock();
        for (file, why) in new.iter().filter(|(file, why)| all.get(*file) != Some(*why)) {
            tracing::warn!("{} is checked every {LOOK:?}, because {why}", file.display());
        }
        all.retain(|file, _| !before.contains(file));
        all.extend(new.clone());
    }
}

/// Watches directories: a file that is replaced by renaming is another file, and the directory is what stays. For a
/// file behind symbolic links, the directories of the links are watched, too.
pub(crate) struct Watcher {
    /// None: the system gives no notifications just now. Each check of the files asks for them again.
    notify: Option<RecommendedWatcher>,
    sender: mpsc::UnboundedSender<FileChange>,
    changes: mpsc::UnboundedReceiver<FileChange>,
    /// Directories, each with its device and inode when its watch began.
    watched: BTreeMap<PathBuf, Option<(u64, u64)>>,
    /// The paths of the files, links resolved.
    files: BTreeSet<PathBuf>,
    /// The files, and the links and directories on the path to them. Other events in the same directories, such as a
    /// growing log, do not count.
    places: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// Files that are being written, and the time of the last write.
    writing: BTreeMap<PathBuf, Instant>,
    /// The list that reports the files below to others.
    unwatched: UnwatchedFiles,
    silent: BTreeSet<PathBuf>,
}

impl Watcher {
    /// A watcher that reports in `unwatched` those of its files whose changes bring no notification.
    pub(crate) fn new(unwatched: &UnwatchedFiles) -> Self {
        let (sender, changes) = mpsc::unbounded_channel();
        let (notify, watched, files, places, writing, silent) = Default::default();
        Self {
            notify,
            sender,
            changes,
            watched,
            files,
            places,
            writing,
            unwatched: unwatched.clone(),
            silent,
        }
    }

    /// Watches the directories of `files`, and no others. To be called before each wait: a link may lead elsewhere by
    /// now, and a directory that could not be watched the last time may be watched this time.
    pub(crate) fn watch(&mut self, files: &BTreeSet<PathBuf>) {
        let places: BTreeMap<_, _> = files.iter().map(|file| (file, places(file))).collect();
        *self.places.lock() =
            places.values().flatten().flat_map(|at| at.ancestors()).map(PathBuf::from).collect();
        self.files = places.values().filter_map(|places| places.last().cloned()).collect();
        let directories = places.values().flatten().filter_map(|place| existing_parent(place));
        let wanted: BTreeMap<_, _> = directories.map(|dir| (dir.clone(), identity(&dir))).collect();
        let failed = self.watch_directories(wanted);
        let why = |(file, places): (&PathBuf, &Vec<PathBuf>)| {
            let directories = places.iter().filter_map(|place| existing_parent(place));
            let why = directories.into_iter().find_map(|dir| failed.get(&dir).cloned());
            why.or_else(|| unwatched_files::why(file)).map(|why| (file.clone(), why))
        };
        let silent = places.iter().map(|(file, places)| (*file, places)).filter_map(why).collect();
        self.unwatched.replace(&self.silent, &silent);
        self.silent = silent.into_keys().collect();
    }

    /// Reports which directories cannot be watched, and why.
    fn watch_directories(
        &mut self,
        wanted: BTreeMap<PathBuf, Option<(u64, u64)>>,
    ) -> BTreeMap<PathBuf, String> {
        let why = |error: notify::Error| format!("the system gives no notifications: {error}");
        if self.notify.is_none() {
            match notifications(&self.sender, &self.places) {
                Ok(notify) => self.notify = Some(notify),
                Err(error) => {
                    let why = why(error);
                    return wanted.into_keys().map(|dir| (dir, why.clone())).collect();
                }
            }
        }
        let Some(notify) = &mut self.notify else { return BTreeMap::new() };
        // A directory that was replaced by another is watched anew.
        let is_same = |dir: &PathBuf, which: &_| wanted.get(dir) == Some(which);
        for gone in self.watched.extract_if(.., |dir, which| !is_same(dir, which)) {
            let _ = notify.unwatch(&gone.0);
        }
        let mut failed = BTreeMap::new();
        for (dir, which) in wanted {
            if self.watched.contains_key(&dir) {
                continue;
            }
            match notify.watch(&dir, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(dir, which)),
                Err(error) => drop(failed.insert(dir, why(error))),
            }
        }
        failed
    }

    /// Handles files that differ from their state before a candidate was made. Mostly somebody is still changing them,
    /// and the watcher waits as for every other change. A change from before the watch began brings no notification.
    pub(super) async fn changed_meanwhile(&mut self) {
        // After this time the files are checked in any case.
        let _ = timeout_at(Instant::now() + QUIET, self.changed()).await;
    }

    /// Waits until the files are to be checked: after a notification, when nobody is writing any more, and at the
    /// latest after a second. [`Fingerprints`] tell whether a file has changed.
    pub(crate) async fn changed(&mut self) {
        match timeout(LOOK, self.changes.recv()).await {
            Ok(first) => first.into_iter().for_each(|change| self.note(change)),
            Err(_) => self.silent.iter().for_each(|file| unwatched_files::refresh(file)),
        }
        loop {
            while let Ok(change) = self.changes.try_recv() {
                self.note(change);
            }
            self.writing.retain(|_, last| last.elapsed() < QUIET);
            // One check of the files covers all notifications so far.
            let Some(last) = self.writing.values().max() else { return };
            if let Ok(Some(change)) = timeout_at(*last + QUIET, self.changes.recv()).await {
                self.note(change);
            }
        }
    }

    /// Watches the files of `seen` until one of them has changed.
    pub(crate) async fn differ(&mut self, seen: &Fingerprints) {
        self.watch(&seen.paths());
        while !seen.differ() {
            self.changed().await;
            self.watch(&seen.paths());
        }
    }

    fn note(&mut self, change: FileChange) {
        for path in change.paths {
            if change.whole {
                self.writing.remove(&path);
            } else if self.files.contains(&path) {
                self.writing.insert(path, Instant::now());
            }
        }
    }
}

/// Notifications of what happens to `places`. They come from a thread, which the system may refuse as well.
fn notifications(
    sender: &mpsc::UnboundedSender<FileChange>,
    places: &Arc<Mutex<BTreeSet<PathBuf>>>,
) -> notify::Result<RecommendedWatcher> {
    // `notify` does not report that it got no thread, and panics later.
    std::thread::Builder::new().spawn(|| {})?.join().map_err(|_| notify::Error::generic("a thread died"))?;
    let (sender, of_interest) = (sender.clone(), Arc::clone(places));
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error, or an event without a path, may stand for lost events: check the files.
        let change = match event {
            Ok(event) => is_whole(event.kind)
                .filter(|_| event.paths.is_empty() || concerns(&event.paths, &of_interest.lock()))
                .map(|whole| FileChange { paths: event.paths, whole }),
            Err(_) => Some(FileChange { paths: Vec::new(), whole: true }),
        };
        if let Some(change) = change {
            // The receiver is gone only when nobody watches any more.
            let _ = sender.send(change);
        }
    })
}

/// True if something happened to one of `places`.
fn concerns(paths: &[PathBuf], places: &BTreeSet<PathBuf>) -> bool {
    paths.iter().any(|path| places.contains(path))
}

/// True if the change that a notification reports is complete. None: nothing has changed.
fn is_whole(kind: EventKind) -> Option<bool> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(_)) => Some(true),
        // A file that was just created is about to be written; one that was linked has a name already.
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => Some(false),
        EventKind::Access(_) => None,
    }
}

/// The paths at which a change replaces `file`: the links on the way to it, and, last, the file itself.
fn places(file: &Path) -> Vec<PathBuf> {
    let steps = |path: &Path| path.components().map(|step| step.as_os_str().to_owned()).collect::<Vec<_>>();
    let mut rest: VecDeque<OsString> = steps(&absolute(file)).into();
    let (mut places, mut at) = (Vec::new(), PathBuf::new());
    while let Some(step) = rest.pop_front() {
        match step.to_str() {
            Some(".") => continue,
            Some("..") => drop(at.pop()),
            // The root replaces the path so far.
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

/// The directory that holds `place`, or the nearest existing one above it.
fn existing_parent(place: &Path) -> Option<PathBuf> {
    place.ancestors().skip(1).find(|dir| dir.is_dir()).map(Path::to_owned)
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(files: &[&Path]) -> Fingerprints {
        let mut seen = Fingerprints::default();
        files.iter().for_each(|file| seen.note(file));
        seen
    }

    #[tokio::test]
    async fn an_edit_without_a_notification_is_found() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (file, other) = (dir.path().join("file"), elsewhere.path().join("other"));
        fs::write(&file, "one").unwrap();
        fs::hard_link(&file, &other).unwrap();
        let seen = seen(&[&file]);
        let mut watcher = Watcher::new(&UnwatchedFiles::default());
        let edit = async {
            tokio::time::sleep(LOOK / 4).await;
            // The kernel notifies the watcher of the directory that the file was opened in.
            fs::write(&other, "another").unwrap();
        };
        timeout(4 * LOOK, async { tokio::join!(watcher.differ(&seen), edit) }).await.unwrap();
    }

    #[tokio::test]
    async fn files_are_watched_without_notifications_of_the_system() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "one").unwrap();
        let seen = seen(&[&file]);
        let mut watcher = Watcher::new(&UnwatchedFiles::default());
        // The state after `notifications` failed.
        watcher.files = seen.paths();
        fs::write(&file, "another").unwrap();
        timeout(2 * LOOK, watcher.changed()).await.unwrap();
        assert!(seen.differ());
    }

    #[test]
    fn files_of_an_unwatchable_directory_are_reported() {
        let (dir, unwatched) = (tempfile::tempdir().unwrap(), UnwatchedFiles::default());
        let (file, other) = (dir.path().join("file"), dir.path().join("other"));
        let why = BTreeMap::from([(file.clone(), "no watches".to_owned())]);
        unwatched.replace(&BTreeSet::new(), &why);
        unwatched.replace(&BTreeSet::new(), &BTreeMap::from([(other.clone(), "none".to_owned())]));
        assert_eq!(unwatched.all().keys().collect::<Vec<_>>(), [&file, &other]);
        unwatched.replace(&why.into_keys().collect(), &BTreeMap::new());
        assert_eq!(unwatched.all().keys().collect::<Vec<_>>(), [&other]);
    }
}
