//! Files that commands change while others read them. They are read and replaced as a whole.

#[cfg(unix)]
use std::fs::DirBuilder;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// Maximum time to wait for the lock. A change takes milliseconds, so after this time the other process hangs.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The error if a file cannot be read or replaced. The file stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read or written.
    #[error("cannot {action} {}: {error}; the file is unchanged", path.display())]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file of the action.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// The file is a mount point, over which no file can be renamed.
    #[error(
        "cannot replace {}: it is a mount point itself, so it cannot be replaced; the file is unchanged. Mount its directory instead of the file",
        .0.display()
    )]
    Mounted(PathBuf),
    /// Another process holds the lock for longer than a change takes.
    #[error("another process is changing {}; try again when it has finished", .0.display())]
    Locked(PathBuf),
}

/// The text of the file at `path`, or none if there is no file.
pub fn read(path: &Path) -> Result<Option<String>, FileError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// Replaces the file at `path` with a new one. A reader sees either the former file, or all that `write` has written.
/// Only the owner may read the new file, unless `write` permits others. To survive a crash of the machine, `write` has
/// to sync the file, and [`sync_folder`] its directory.
///
/// # Errors
/// If it cannot be written. Then the file at `path` stays as it was.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    // The name is unique, even if two processes have the same number in their containers.
    let mut new = NamedTempFile::new_in(folder_of(path))?;
    write(new.as_file_mut())?;
    new.persist(path).map(drop).map_err(|error| error.error)
}

/// Creates the file at `path` with all that `write` has written, unless there is one. Only the owner may read it, who is
/// that of its directory. False: there is one, which stays.
///
/// # Errors
/// If it cannot be written. Then there is no new file.
pub fn create(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<bool> {
    let mut new = NamedTempFile::new_in(folder_of(path))?;
    give_to_owner(path, new.as_file())?;
    write(new.as_file_mut())?;
    match new.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

/// Creates the directory of the file at `path`, and those above it, unless they exist. Only its owner may use a new one,
/// who is that of the directory above it.
///
/// # Errors
/// If it cannot be created.
#[cfg(unix)]
pub fn create_folder_of(path: &Path) -> io::Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = folder_of(path).ancestors().take_while(is_missing).collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.and_then(|()| give_to_owner(folder_of(folder), &File::open(folder)?))?,
        }
    }
    Ok(())
}

/// Makes renames in the directory of the file at `path` survive a crash of the machine.
///
/// # Errors
/// If it cannot be opened or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// True if the file at `path` is a mount point itself, over which no file can be renamed. Systems that do not tell count
/// as no.
pub fn is_mount_point(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
            .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}

/// The lock for replacing a file. It excludes other threads and processes until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock {
    /// The file itself, with symbolic links resolved.
    target: PathBuf,
    _held: File,
}

impl Lock {
    /// Takes the lock beside the file at `path`, as soon as no other process has it.
    ///
    /// # Errors
    /// `Locked` after ten seconds, or if there can be no lock.
    pub fn take(path: &Path) -> Result<Self, FileError> {
        Self::take_within(path, LONGEST_WAIT)
    }

    /// The same, for somebody who waits no longer than `patience`.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_within(path: &Path, patience: Duration) -> Result<Self, FileError> {
        // If the path is a symbolic link, the target of the link is replaced, not the link.
        let target = match path.canonicalize() {
            Ok(target) => target,
            // A link without a target is replaced itself.
            Err(error) if path.is_symlink() => return Err(failed("follow the link", path, error)),
            Err(_) => path.to_owned(),
        };
        // The lock is a separate file: the replaced file cannot be the locked one, because after a rename two
        // processes would hold locks on two files. The lock file stays, because removing it would race.
        let sibling = sibling(&target, ".lock");
        let held =
            open_lock(&sibling, &target).map_err(|error| failed("open the lock file", &sibling, error))?;
        let begin = Instant::now();
        loop {
            match held.try_lock() {
                Ok(()) => return Ok(Self { target, _held: held }),
                Err(TryLockError::WouldBlock) if begin.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(FileError::Locked(target)),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &sibling, error)),
            }
        }
    }

    /// Replaces the locked file with a file that contains `text`.
    pub fn replace(&self, text: &str) -> Result<(), FileError> {
        self.replace_by(text, |from, to| std::fs::rename(from, to))
    }

    /// The change takes effect with `rename`, at one moment.
    pub fn replace_by(
        &self,
        text: &str,
        rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let new = sibling(&self.target, ".new");
        let write = || {
            // Removes a temporary file of a killed process, or of somebody else.
            remove(&new)?;
            let mut file = private().create_new(true).open(&new)?;
            keep_access(&self.target, &file)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        let done = write().map_err(|error| failed("write", &new, error)).and_then(|()| {
            rename(&new, &self.target).map_err(|error| match error.kind() {
                io::ErrorKind::ResourceBusy => FileError::Mounted(self.target.clone()),
                _ => failed("replace", &self.target, error),
            })
        });
        if done.is_err() {
            // An error of the removal would hide the first error.
            drop(remove(&new));
            return done;
        }
        // On file systems that cannot sync directories, no more is possible.
        drop(sync_folder(&self.target));
        Ok(())
    }
}

/// Opens a lock file. A new lock file belongs to the owner of the locked file, so that a key made by root does not
/// lock out the service.
fn open_lock(lock: &Path, target: &Path) -> io::Result<File> {
    match private().create_new(true).open(lock) {
        Ok(new) => {
            give_to_owner(target, &new)?;
            Ok(new)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => private().open(lock),
        Err(error) => Err(error),
    }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    path.with_file_name(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path, error: io::Error) -> FileError {
    FileError::Io { action, path: path.to_owned(), error }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Only the owner reads it.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// The owner and the group of the old file may read the new one, so that a key made by root does not lock out the
/// service. Others never may.
#[cfg(unix)]
fn keep_access(old: &Path, new: &File) -> io::Result<()> {
    give_to_owner(old, new)?;
    let Ok(old) = old.metadata() else { return Ok(()) };
    let group_reads = old.mode() & 0o040;
    new.set_permissions(std::fs::Permissions::from_mode(0o600 | group_reads))
}

/// Gives a new file to the owner of the file at `of`, or to the owner of its directory if that file does not exist.
#[cfg(unix)]
fn give_to_owner(of: &Path, new: &File) -> io::Result<()> {
    let Ok(owner) = of.metadata().or_else(|_| folder_of(of).metadata()) else { return Ok(()) };
    let own = new.metadata()?;
    if (owner.uid(), owner.gid()) != (own.uid(), own.gid()) {
        // Only root can do this. Others keep the new file.
        drop(fchown(new, Some(owner.uid()), Some(owner.gid())));
    }
    Ok(())
}

#[cfg(not(unix))]
fn give_to_owner(_of: &Path, _new: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn keep_access(_old: &Path, _new: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, chown};

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_mount_point_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(folder.path()) && !is_mount_point(&file));
        assert!(!is_mount_point(&folder.path().join("absent")));
    }

    #[test]
    fn a_file_written_by_root_belongs_to_the_owner_of_the_file_or_directory() {
        const SERVICE: u32 = 1234;
        let folder = tempfile::tempdir().unwrap();
        if chown(folder.path(), Some(SERVICE), Some(SERVICE)).is_err() {
            eprintln!("not shown: this needs to be root");
            return;
        }
        let owner = |path: &Path| path.metadata().map(|file| (file.uid(), file.gid())).unwrap();
        let (store, lock) = (folder.path().join("keys.toml"), folder.path().join(".keys.toml.lock"));
        Lock::take(&store).unwrap().replace("text").unwrap();
        assert_eq!((owner(&store), owner(&lock)), ((SERVICE, SERVICE), (SERVICE, SERVICE)));
        std::fs::remove_file(&lock).unwrap();
        chown(&store, Some(4321), Some(4321)).unwrap();
        Lock::take(&store).unwrap().replace("text").unwrap();
        assert_eq!((owner(&store), owner(&lock)), ((4321, 4321), (4321, 4321)));
        let inner = folder.path().join("a/b/file");
        create_folder_of(&inner).unwrap();
        assert!(create(&inner, |file| file.write_all(b"first")).unwrap());
        assert!(!create(&inner, |file| file.write_all(b"second")).unwrap());
        assert_eq!(std::fs::read(&inner).unwrap(), b"first");
        for (path, mode) in [("a", 0o700), ("a/b", 0o700), ("a/b/file", 0o600)] {
            let path = folder.path().join(path);
            assert_eq!((owner(&path), path.metadata().unwrap().mode() & 0o777), ((SERVICE, SERVICE), mode));
        }
    }
}
