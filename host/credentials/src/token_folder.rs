//! A directory for token files that only one gateway uses. It is removed at the end; what a killed gateway has left, the
//! next one removes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::OFlags;

use witgate_base::whole_file;

/// The end of the names of locks. A gateway holds the lock of its directory as long as it lives.
const LOCK: &str = "lock";

/// The directory of one gateway.
#[derive(Debug)]
pub(crate) struct TokenFolder {
    path: PathBuf,
    lock: PathBuf,
    held: Mutex<File>,
}

impl TokenFolder {
    /// Makes a directory within `parent`, and removes those of gateways that do not run any more.
    ///
    /// # Errors
    /// If it cannot be made, or others may use `parent`.
    pub(crate) fn make(parent: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        is_private(parent)?;
        // Under this lock, no other gateway makes or removes a directory.
        let _turn = whole_file::Lock::take(&parent.join("folders")).map_err(io::Error::other)?;
        remove_abandoned(parent)?;
        let path = parent.join(unique()?);
        let lock = path.with_extension(LOCK);
        let held = Mutex::new(held(&lock)?);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, lock, held })
    }

    /// Makes the directory again if somebody has removed it.
    ///
    /// # Errors
    /// If it cannot be made, or others may use the directory above it.
    pub(crate) fn restore(&self) -> io::Result<()> {
        let mut current = self.held.lock();
        let Some(parent) = self.path.parent().filter(|_| !self.path.exists()) else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        is_private(parent)?;
        let _turn = whole_file::Lock::take(&parent.join("folders")).map_err(io::Error::other)?;
        if !self.lock.exists() {
            *current = held(&self.lock)?;
        }
        DirBuilder::new().mode(0o700).create(&self.path)
    }

    /// The file with this name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes the directory. What cannot be removed now, the next gateway removes.
    pub(crate) fn remove(&self) {
        drop(fs::remove_dir_all(&self.path));
        drop(fs::remove_file(&self.lock));
    }
}

impl Drop for TokenFolder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A new lock, which this process holds.
fn held(lock: &Path) -> io::Result<File> {
    let held = private().create_new(true).open(lock)?;
    held.try_lock()?;
    Ok(held)
}

/// Removes the directories whose locks nobody holds.
fn remove_abandoned(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || path.extension().is_some() {
            continue;
        }
        let lock = path.with_extension(LOCK);
        let is_in_use = match private().open(&lock) {
            Ok(lock) => lock.try_lock().is_err(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_in_use {
            continue;
        }
        match fs::remove_dir_all(&path) {
            // Its owner has just removed it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => drop(fs::remove_file(&lock)),
        }
    }
    Ok(())
}

/// Refuses a directory of another user, or one that others may use. A link is no directory.
fn is_private(folder: &Path) -> io::Result<()> {
    let found = folder.symlink_metadata()?;
    let refusal = if !found.is_dir() {
        "it is not a directory"
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        "it belongs to another user"
    } else if found.mode() & 0o077 != 0 {
        "others may use it; `chmod 700` it"
    } else {
        return Ok(());
    };
    Err(io::Error::other(refusal))
}

/// Only the owner may use the file, and a link is no file.
fn private() -> OpenOptions {
    let mut options = File::options();
    // Flags of this target fit into its type.
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    options.write(true).mode(0o600).custom_flags(no_follow);
    options
}

/// A name that no other gateway has: 64 random bits.
fn unique() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(parent: &Path) -> Vec<String> {
        let names =
            fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    #[test]
    fn a_directory_is_private_and_ends_with_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let parent = base.path().join("tokens");
        let folder = TokenFolder::make(&parent).unwrap();
        for path in [&parent, &folder.path] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::write(folder.file("a"), "secret").unwrap();
        drop(folder);
        assert!(names(&parent).is_empty(), "{:?}", names(&parent));
    }

    #[test]
    fn a_directory_of_a_running_gateway_stays_and_others_go() {
        let base = tempfile::tempdir().unwrap();
        let parent = base.path().join("tokens");
        let running = TokenFolder::make(&parent).unwrap();
        fs::write(running.file("a"), "secret").unwrap();
        for abandoned in ["0000000000000001", "0000000000000002"] {
            fs::create_dir(parent.join(abandoned)).unwrap();
            fs::write(parent.join(abandoned).join("a"), "secret").unwrap();
        }
        fs::write(parent.join("0000000000000001.lock"), "").unwrap();
        let other = TokenFolder::make(&parent).unwrap();
        assert_eq!(names(&parent).len(), 4, "{:?}", names(&parent));
        assert!(running.file("a").exists() && other.path.exists());
    }

    #[test]
    fn a_directory_that_was_removed_is_made_again_and_is_in_use() {
        let base = tempfile::tempdir().unwrap();
        let parent = base.path().join("tokens");
        let folder = TokenFolder::make(&parent).unwrap();
        for removed in [&folder.path, &parent] {
            fs::remove_dir_all(removed).unwrap();
            folder.restore().unwrap();
            assert_eq!(folder.path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
            drop(TokenFolder::make(&parent).unwrap());
            assert!(folder.path.exists(), "the next gateway leaves it alone");
        }
    }

    #[test]
    fn a_directory_that_others_may_use_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let (open, link) = (base.path().join("open"), base.path().join("link"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(TokenFolder::make(&open).unwrap_err().to_string().contains("chmod 700"));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&open, &link).unwrap();
        assert!(TokenFolder::make(&link).is_err());
        assert!(TokenFolder::make(&open).is_ok());
    }
}
