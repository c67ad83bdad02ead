//! The database of accounts. Several processes may have it open: a running Witgate, and commands.

pub mod authenticators;
pub mod begun_logins;
mod derived;
mod endings;
mod event_recorder;
mod events;
pub mod grants;
pub mod identities;
mod keys;
pub mod links;
pub mod own_keys;
pub mod passkeys;
mod published_state;
mod recovery_codes;
mod remembered_browsers;
pub mod sessions;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod users;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tempfile::NamedTempFile;

use self::event_recorder::EventRecorder;
use self::published_state::PublishedState;
use crate::error::AccountsError;
use crate::event::Actor;
pub(crate) use crate::moment::ms;
pub use crate::moment::now_ms;
use crate::random::hex;
use witgate_base::seal::{MacKey, SealingKey};
use witgate_base::signing::{PublishedKeys, Signer};
use witgate_base::whole_file;
use witgate_config::accounts::AccountPlace;

/// Marks a file as a database of accounts: `WGac`.
const APPLICATION: i32 = 0x5747_6163;

/// The purpose of sealed values.
const SEALED: &str = "witgate accounts 1";

/// The longest wait of a command for another process, for the database and for each file beside it. A change takes
/// milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The same of a request, behind which others wait.
pub(crate) const REQUEST_PATIENCE: Duration = Duration::from_millis(250);

/// The statements that bring a database from each version to the next one.
const MIGRATIONS: [&str; 6] = [
    include_str!("database/1.sql"),
    include_str!("database/2.sql"),
    include_str!("database/3.sql"),
    include_str!("database/4.sql"),
    include_str!("database/5.sql"),
    include_str!("database/6.sql"),
];

/// An open database of accounts.
pub struct AccountDatabase {
    place: AccountPlace,
    connection: Connection,
    seal: SealingKey,
    /// Device and number of the open file.
    file: (u64, u64),
    /// The signing key that was used last.
    signer: Option<Arc<Signer>>,
    /// The state of the database that the files beside it show. None: a file may be older than the database.
    published: Option<PublishedState>,
    /// The published keys, for requests.
    keys: Arc<PublishedKeys>,
    recorder: EventRecorder,
    /// The longest wait for another process.
    patience: Duration,
}

impl std::fmt::Debug for AccountDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountDatabase").field("place", &self.place).finish_non_exhaustive()
    }
}

impl AccountDatabase {
    /// Opens the database at `place`, and makes what is missing. A file that exists is never replaced.
    ///
    /// # Errors
    /// If a file cannot be made, or is not usable.
    pub fn make(place: &AccountPlace) -> Result<Self, AccountsError> {
        let made = whole_file::create_folder_of(&place.sealing_key());
        made.map_err(|error| AccountsError::Io { path: place.folder.clone(), error })?;
        if !exists(&place.store)? {
            if exists(&place.database_id())? {
                return Err(AccountsError::Foreign {
                    path: place.store.clone(),
                    folder: place.folder.clone(),
                });
            }
            drop(SealingKey::at(&place.sealing_key(), SEALED)?);
            new_file(&place.store)?;
        }
        let mut database = Self::open(place)?;
        database.make_signing_key()?;
        database.publish()?;
        Ok(database)
    }

    /// Opens the database at `place`, which has to exist.
    ///
    /// # Errors
    /// If it is not usable.
    pub fn open(place: &AccountPlace) -> Result<Self, AccountsError> {
        let mut database = Self::open_within(place, PATIENCE)?;
        database.recorder.actor = Some(Actor::operator());
        Ok(database)
    }

    /// Opens the database at `place` for requests, each of which is of the user whose account it is. None of them waits
    /// for another process longer than `patience`.
    pub(crate) fn open_within(place: &AccountPlace, patience: Duration) -> Result<Self, AccountsError> {
        let path = &place.store;
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => AccountsError::Missing(path.clone()),
            _ => AccountsError::Io { path: path.clone(), error },
        })?;
        if metadata.mode() & 0o077 != 0 {
            return Err(AccountsError::Open(path.clone()));
        }
        let damaged = |why: String| AccountsError::Damaged { path: path.clone(), why };
        if metadata.len() == 0 {
            return Err(damaged("it is empty".to_owned()));
        }
        let seal = SealingKey::existing(&place.sealing_key(), SEALED)?;
        let connection = connected(path, PATIENCE).and_then(checked).map_err(|fault| match fault {
            OpenFault::Damaged(why) => damaged(why),
            OpenFault::Newer(version) => AccountsError::Newer { path: path.clone(), version },
            OpenFault::Sqlite(error) => AccountsError::from(error),
        })?;
        connection.busy_timeout(patience)?;
        is_of_folder(&connection, place)?;
        let file = (metadata.dev(), metadata.ino());
        let (keys, recorder) = Default::default();
        let place = place.clone();
        Ok(Self { place, connection, seal, file, signer: None, published: None, keys, recorder, patience })
    }

    /// Waits for another process no longer than `patience` from now on.
    ///
    /// # Errors
    /// If the database cannot be used.
    pub(crate) fn wait_within(&mut self, patience: Duration) -> Result<(), AccountsError> {
        self.connection.busy_timeout(patience)?;
        self.patience = patience;
        Ok(())
    }

    /// Opens the database again if another file is in its place.
    ///
    /// # Errors
    /// If there is no usable one.
    pub(crate) fn follow(&mut self) -> Result<(), AccountsError> {
        match fs::metadata(&self.place.store) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == self.file => Ok(()),
            _ => {
                let opened = Self::open_within(&self.place, self.patience)?;
                let (keys, recorder) = (Arc::clone(&self.keys), std::mem::take(&mut self.recorder));
                *self = Self { keys, recorder, ..opened };
                self.publish()
            }
        }
    }

    /// Writes a copy to `path`, which must not exist.
    ///
    /// # Errors
    /// If it exists, or cannot be written.
    pub fn back_up(&self, path: &Path) -> Result<(), AccountsError> {
        let failed = |error| AccountsError::Io { path: path.to_owned(), error };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // SQLite writes into an empty file that exists, so that the copy is private from its beginning.
        let copy = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        let name = copy.path().to_str().ok_or(AccountsError::Invalid("the path is not UTF-8".to_owned()))?;
        self.connection.execute("VACUUM INTO ?1", [name])?;
        copy.as_file().sync_all().map_err(failed)?;
        copy.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => AccountsError::Exists(path.to_owned()),
            _ => AccountsError::Io { path: path.to_owned(), error: error.error },
        })
    }

    /// The key for codes about `label`.
    pub fn mac_key(&self, label: &str) -> MacKey {
        self.seal.mac_key(label)
    }

    /// The published keys, which follow the database.
    pub(crate) fn published_keys(&self) -> Arc<PublishedKeys> {
        Arc::clone(&self.keys)
    }

    /// The files.
    pub fn place(&self) -> &AccountPlace {
        &self.place
    }

    /// Runs `work` in one transaction, which excludes other writers from its beginning.
    fn change<T, E: From<rusqlite::Error>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &SealingKey) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction, &self.seal)?;
        transaction.commit()?;
        Ok(done)
    }
}

enum OpenFault {
    Damaged(String),
    Newer(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenFault {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}

fn exists(path: &Path) -> Result<bool, AccountsError> {
    path.try_exists().map_err(|error| AccountsError::Io { path: path.to_owned(), error })
}

/// Makes a new database, which belongs to the owner of its directory. A reader sees either none or a whole one.
fn new_file(path: &Path) -> Result<(), AccountsError> {
    let failed = |error| AccountsError::Io { path: path.to_owned(), error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let new = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut connection = Connection::open(new.path())?;
    migrate(&mut connection, &MIGRATIONS).map_err(|fault| match fault {
        OpenFault::Sqlite(error) => AccountsError::from(error),
        OpenFault::Damaged(why) => AccountsError::Unavailable(why),
        OpenFault::Newer(version) => AccountsError::Newer { path: path.to_owned(), version },
    })?;
    connection.close().map_err(|(_, error)| AccountsError::from(error))?;
    let bytes = fs::read(new.path()).map_err(failed)?;
    // If another process has made one at the same time, that one stays.
    let made = whole_file::create(path, |file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    made.map(drop).map_err(failed)
}

/// Checks that the files beside the database are its own: those of another one would lose its ended logins.
fn is_of_folder(connection: &Connection, place: &AccountPlace) -> Result<(), AccountsError> {
    let id: Vec<u8> = connection.query_row("SELECT id FROM identity", [], |row| row.get(0))?;
    let (id, path) = (hex(&id), place.database_id());
    let known = whole_file::read(&path).map_err(|error| AccountsError::Unavailable(error.to_string()))?;
    match known {
        Some(known) if known.trim() == id => Ok(()),
        Some(_) => Err(AccountsError::Foreign { path: place.store.clone(), folder: place.folder.clone() }),
        None => {
            let made = whole_file::create(&path, |file| {
                file.write_all(id.as_bytes())?;
                file.sync_all()
            });
            made.map(drop).map_err(|error| AccountsError::Io { path, error })
        }
    }
}

fn connected(path: &Path, patience: Duration) -> Result<Connection, OpenFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION {
        return Err(OpenFault::Damaged("it is not a database of accounts".to_owned()));
    }
    let journal: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !journal.eq_ignore_ascii_case("wal") {
        return Err(OpenFault::Damaged(format!(
            "its file system does not support several processes (journal mode {journal})"
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    Ok(connection)
}

/// The connection, after a check of the whole file.
fn checked(mut connection: Connection) -> Result<Connection, OpenFault> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(OpenFault::Damaged(verdict));
    }
    migrate(&mut connection, &MIGRATIONS)?;
    Ok(connection)
}

/// Brings a database to the version after the last of `migrations`, in one step.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenFault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > migrations.len() {
        return Err(OpenFault::Newer(version));
    }
    for statements in migrations.iter().skip(done) {
        transaction.execute_batch(statements)?;
    }
    if done < migrations.len() {
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        let latest = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
        transaction.pragma_update(None, "user_version", latest)?;
    }
    Ok(transaction.commit()?)
}
