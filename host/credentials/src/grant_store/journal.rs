//! The file into which a renewed grant is written first. Its room on the disk is taken before the provider is asked, so
//! that a full or unwritable disk costs no refresh token. One call of the system writes the answer, so that a kill has
//! hardly a moment in which it loses a token: the next holder of the lock finishes what a killed process has begun.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{GrantError, GrantLock, GrantStore, StoredGrant};
use crate::grant_key::GrantKey;
use witgate_base::seal::SealingKey;
use witgate_base::whole_file::sync_folder;

/// Room for a grant. The tokens of large providers have some kilobytes.
const ROOM: usize = 32 << 10;

/// The journal of one renewal. It is removed if the renewal fails.
#[derive(Debug)]
pub(crate) struct GrantJournal {
    path: PathBuf,
    file: File,
    /// Read in advance, so that nothing delays the write. None: values are in clear.
    sealing: Option<SealingKey>,
}

/// The end of a renewal that a process has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftRenewal {
    /// The new grant is whole, and now in its place.
    Finished,
    /// There is no new grant, though the provider may have issued one.
    Interrupted,
}

impl GrantStore {
    /// Takes the room for a new grant with this key.
    ///
    /// # Errors
    /// If it could not be written.
    pub(crate) fn prepare(&self, key: &GrantKey, _lock: &GrantLock) -> Result<GrantJournal, GrantError> {
        let (path, sealing) = (self.journal(key), self.own_key()?);
        match room(&path) {
            Ok(file) => Ok(GrantJournal { path, file, sealing }),
            Err(error) => {
                drop(remove(&path));
                Err(GrantError::Io { path, error })
            }
        }
    }

    /// Replaces the grant with this key by means of the journal.
    ///
    /// # Errors
    /// If it cannot be written. Then the former one stays.
    pub(crate) fn finish(
        &self,
        key: &GrantKey,
        grant: &StoredGrant,
        journal: GrantJournal,
        _lock: &GrantLock,
    ) -> Result<(), GrantError> {
        let text = self.text(key, grant, journal.sealing.as_ref())?;
        let target = self.path(key);
        let written = journal.write(&text).and_then(|()| fs::rename(&journal.path, &target));
        written.map_err(|error| GrantError::Io { path: target.clone(), error })?;
        // On file systems that cannot sync directories, no more is possible. The new grant is in its place.
        drop(sync_folder(&target));
        Ok(())
    }

    /// Finishes a renewal that a killed process has left. Whoever has just taken the lock calls it.
    pub(super) fn finish_left(&self, key: &GrantKey) -> Result<(), GrantError> {
        let (path, target) = (self.journal(key), self.path(key));
        let left = left(&path, &target, |text| self.is_whole(key, text));
        match left.map_err(|error| GrantError::Io { path, error })? {
            None => {}
            Some(LeftRenewal::Finished) => {
                tracing::info!(grant = %key, "a renewal that was interrupted after its answer is finished");
            }
            Some(LeftRenewal::Interrupted) => tracing::warn!(
                grant = %key,
                "a renewal was interrupted before its answer; if the provider accepts a refresh token only once, log in again"
            ),
        }
        Ok(())
    }

    /// Removes what a failed attempt to write has left.
    pub(super) fn remove_journal(&self, key: &GrantKey) -> Result<(), GrantError> {
        let path = self.journal(key);
        remove(&path).map_err(|error| GrantError::Io { path, error })
    }

    fn journal(&self, key: &GrantKey) -> PathBuf {
        self.beside(key, "new")
    }
}

impl GrantJournal {
    /// The text is in the hands of the system after the first call.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        self.file.write_all_at(text, 0)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()
    }
}

impl Drop for GrantJournal {
    fn drop(&mut self) {
        // After success, it has another name.
        drop(remove(&self.path));
    }
}

/// A file with zeros, whose room on the disk is taken.
fn room(path: &Path) -> io::Result<File> {
    remove(path)?;
    let file = private().create_new(true).open(path)?;
    file.write_all_at(&vec![0; ROOM], 0)?;
    Ok(file)
}

/// Finishes or removes the journal at `path`. None: there is none.
fn left(path: &Path, target: &Path, is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Option<LeftRenewal>> {
    let mut file = match private().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let length = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text.truncate(length);
    if !is_whole(&text) {
        remove(path)?;
        return Ok(Some(LeftRenewal::Interrupted));
    }
    file.set_len(length as u64)?;
    file.sync_all()?;
    fs::rename(path, target)?;
    drop(sync_folder(target));
    Ok(Some(LeftRenewal::Finished))
}

/// Only the owner may read it, and a link is no file.
fn private() -> OpenOptions {
    let mut options = File::options();
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    options.write(true).mode(0o600).custom_flags(no_follow);
    options
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
