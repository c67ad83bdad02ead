//! The file into which a renewed grant is written first. Its room on the disk is taken before the provider is asked, so
//! that a full or unwritable disk costs no refresh token. One call of the system writes the answer, so that a kill has
//! hardly a moment in which it loses a token: the next holder of the lock finishes what a killed process has begun. An empty
//! journal says that the answer to a renewal was lost, until the provider answers another one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{GrantError, GrantLock, GrantStore, StoredGrant};
use crate::grant_key::GrantKey;
use witgate_base::seal::SealingKey;
use witgate_base::whole_file::{is_mount_point, sync_folder};

/// Room for a grant. The tokens of large providers have some kilobytes.
const ROOM: usize = 32 << 10;

/// The journal of one renewal. It is removed if the provider issues no tokens, and stays empty if its answer is lost.
#[derive(Debug)]
pub(crate) struct GrantJournal {
    path: PathBuf,
    file: File,
    /// Read in advance, so that nothing delays the write. None: values are in clear.
    sealing: Option<SealingKey>,
    content: JournalContent,
}

/// The content of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JournalContent {
    /// Room for the answer.
    Room,
    /// A new grant of this length.
    Grant(u64),
    /// Nothing: the answer is lost.
    LostAnswer,
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
    /// If it could not be written, or the file of the grant could not be replaced.
    pub(crate) fn prepare(&self, key: &GrantKey, _lock: &GrantLock) -> Result<GrantJournal, GrantError> {
        let (path, sealing) = (self.journal(key), self.own_key()?);
        let target = self.path(key);
        if is_mount_point(&target) {
            let error =
                io::Error::other("it is a mount point itself; mount its directory instead of the file");
            return Err(GrantError::Io { path: target, error });
        }
        // The first random number of a process may take a tenth of a second, which would lie between the answer and its
        // write.
        sealing.iter().for_each(|sealing| drop(sealing.seal(&[], "")));
        match room(&path) {
            Ok(file) => Ok(GrantJournal { path, file, sealing, content: JournalContent::Room }),
            Err(error) => {
                drop(remove(&path));
                Err(GrantError::Io { path, error })
            }
        }
    }

    /// Hands the new grant to the system, after which a kill does not lose it. It takes one call, which does not wait for
    /// the disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn note(
        &self,
        key: &GrantKey,
        grant: &StoredGrant,
        journal: &mut GrantJournal,
    ) -> Result<(), GrantError> {
        let text = self.text(key, grant, journal.sealing.as_ref())?;
        let written = journal.file.write_all_at(&text, 0);
        written.map_err(|error| GrantError::Io { path: journal.path.clone(), error })?;
        journal.content = JournalContent::Grant(text.len() as u64);
        Ok(())
    }

    /// Replaces the grant with this key by the one in the journal, also if the machine ends.
    ///
    /// # Errors
    /// If that cannot be done. Then the former one stays.
    pub(crate) fn finish(
        &self,
        key: &GrantKey,
        journal: &GrantJournal,
        _lock: &GrantLock,
    ) -> Result<(), GrantError> {
        let target = self.path(key);
        let synced = journal.sync().and_then(|()| fs::rename(&journal.path, &target));
        synced.map_err(|error| GrantError::Io { path: target.clone(), error })?;
        // On file systems that cannot sync directories, no more is possible. The new grant is in its place.
        drop(sync_folder(&target));
        Ok(())
    }

    /// Replaces the file with this key. The new one has a name that the next holder of the lock knows, so that a killed
    /// process leaves no tokens in files that nobody finds.
    pub(super) fn replace(&self, key: &GrantKey, text: &[u8]) -> Result<(), GrantError> {
        let (new, target) = (self.unfinished(key), self.path(key));
        let write = || {
            remove(&new)?;
            let mut file = private().create_new(true).open(&new)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&new, &target)
        };
        write().map_err(|error| {
            // An error of the removal would hide the first error.
            drop(remove(&new));
            GrantError::Io { path: target.clone(), error }
        })?;
        // On file systems that cannot sync directories, no more is possible. The new grant is in its place.
        drop(sync_folder(&target));
        Ok(())
    }

    /// Finishes a renewal that a killed process has left. Whoever has just taken the lock calls it. True if the answer to a
    /// renewal was lost, so that the provider may have used up the refresh token.
    pub(super) fn finish_left(&self, key: &GrantKey) -> Result<bool, GrantError> {
        let unfinished = self.unfinished(key);
        remove(&unfinished).map_err(|error| GrantError::Io { path: unfinished, error })?;
        let left = self.left(key)?;
        match left {
            None => {}
            Some(LeftRenewal::Finished) => {
                tracing::info!(grant = %key, "a renewal that was interrupted after its answer is finished");
            }
            Some(LeftRenewal::Interrupted) => tracing::warn!(
                grant = %key,
                "the answer to a renewal was lost; the former refresh token is tried again"
            ),
        }
        Ok(left == Some(LeftRenewal::Interrupted))
    }

    /// Finishes or empties the journal of this key. None: there is none. If it is unknown whether it is whole, it stays.
    fn left(&self, key: &GrantKey) -> Result<Option<LeftRenewal>, GrantError> {
        let (path, target) = (self.journal(key), self.path(key));
        let failed = |error| GrantError::Io { path: path.clone(), error };
        let Some((file, text)) = read(&path).map_err(failed)? else { return Ok(None) };
        if !self.is_whole(key, &text)? {
            // Half a grant is of no use, and might have a token in clear.
            file.set_len(0).map_err(failed)?;
            return Ok(Some(LeftRenewal::Interrupted));
        }
        let finish = || {
            file.set_len(text.len() as u64)?;
            file.sync_all()?;
            fs::rename(&path, &target)
        };
        finish().map_err(failed)?;
        drop(sync_folder(&target));
        Ok(Some(LeftRenewal::Finished))
    }

    /// Removes what a failed attempt to write has left.
    pub(super) fn remove_journal(&self, key: &GrantKey) -> Result<(), GrantError> {
        let path = self.journal(key);
        remove(&path).map_err(|error| GrantError::Io { path, error })
    }

    /// Removes what killed processes have left of a new grant.
    pub(super) fn remove_unfinished(&self, key: &GrantKey) -> Result<(), GrantError> {
        let unfinished = self.unfinished(key);
        remove(&unfinished).map_err(|error| GrantError::Io { path: unfinished, error })?;
        self.remove_journal(key)
    }

    /// True if a process was killed while it renewed the grant with this key, and nobody has finished that. Whoever has the
    /// lock asks.
    pub fn is_interrupted(&self, key: &GrantKey) -> bool {
        self.journal(key).symlink_metadata().is_ok()
    }

    fn journal(&self, key: &GrantKey) -> PathBuf {
        self.beside(key, "new")
    }

    /// The new file of a write that is no renewal.
    fn unfinished(&self, key: &GrantKey) -> PathBuf {
        self.beside(key, "part")
    }
}

impl GrantJournal {
    /// Leaves word that there was no answer, for the next holder of the lock.
    pub(crate) fn leave_lost_answer(mut self) {
        // What is left of it is the room for an answer, which says the same.
        drop(self.file.set_len(0));
        self.content = JournalContent::LostAnswer;
    }

    fn sync(&self) -> io::Result<()> {
        let JournalContent::Grant(length) = self.content else {
            return Err(io::Error::other("there is no new grant"));
        };
        self.file.set_len(length)?;
        self.file.sync_all()
    }
}

impl Drop for GrantJournal {
    fn drop(&mut self) {
        // A new grant is never removed. In its place, it has another name; otherwise, the next holder of the lock finds it.
        if self.content == JournalContent::Room {
            drop(remove(&self.path));
        }
    }
}

/// A file with zeros, whose room on the disk is taken, as far as the file system takes room for zeros and for changes
/// ahead of them.
fn room(path: &Path) -> io::Result<File> {
    remove(path)?;
    let file = private().create_new(true).open(path)?;
    file.write_all_at(&vec![0; ROOM], 0)?;
    // Some file systems tell only now that they are full.
    file.sync_all()?;
    Ok(file)
}

/// The journal at `path`, and its text without the zeros at its end. None: there is none.
fn read(path: &Path) -> io::Result<Option<(File, Vec<u8>)>> {
    let mut file = match private().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let length = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text.truncate(length);
    Ok(Some((file, text)))
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
