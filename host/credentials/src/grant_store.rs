//! The grants of persons: access and refresh tokens in files, one for each credential, or for each principal who uses
//! it, with each value sealed.

pub(crate) mod journal;
mod plain;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::grant_key::{GrantKey, WrittenOwner};
use crate::held_token::time_before_end;
use crate::login_id::LoginId;
use crate::token_answer::AccessToken;
use witgate_base::clock;
use witgate_base::seal::{SealError, SealingKey};
use witgate_base::whole_file;
use witgate_config::credentials::{GrantSettings, TokenSettings};

/// Maximum time to wait for the lock of a grant. The holder of the lock asks the provider for at most half a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(40);

/// The interval of attempts to take the lock.
const ATTEMPT: Duration = Duration::from_millis(20);

/// The purpose of sealed values.
const SEALED: &str = "witgate credential 1";

/// The version of the form of a file.
const VERSION: u64 = 1;

/// The permission of a person at a provider.
#[derive(Clone, Debug)]
pub struct StoredGrant {
    /// The login that its tokens come from. It stays the same through all renewals.
    pub login: LoginId,
    /// The name of the account at the provider, if it is known.
    pub account: Option<String>,
    /// The access token.
    pub access: SecretString,
    /// The refresh token, if there is one.
    pub refresh: Option<SecretString>,
    /// The end of the access token, in seconds since 1970. None: it has no end.
    pub end: Option<u64>,
    /// The time at which the access token is renewed, in seconds since 1970. None: it is not.
    pub renewal: Option<u64>,
    /// The scopes that the provider has granted.
    pub scopes: Vec<String>,
    /// True if the provider has ended the grant, so that the person has to log in again.
    pub has_ended: bool,
}

impl StoredGrant {
    /// The grant of tokens that a provider has issued now for `login`. Scopes that it does not name are those that were
    /// `requested`.
    pub(crate) fn new(
        login: LoginId,
        issued: AccessToken,
        requested: &[String],
        refresh_before: Duration,
    ) -> Self {
        let now = clock::since_epoch();
        // A token with a flaw has ended, so that only the refresh token is used.
        let lifetime = if issued.flaw.is_some() { Some(Duration::ZERO) } else { issued.lifetime };
        let before = |lifetime| lifetime - time_before_end(refresh_before, lifetime);
        Self {
            login,
            account: issued.account,
            access: issued.access,
            refresh: issued.refresh,
            end: lifetime.map(|lifetime| (now + lifetime).as_secs()),
            renewal: lifetime.map(|lifetime| (now + before(lifetime)).as_secs()),
            scopes: issued.scopes.unwrap_or_else(|| requested.to_vec()),
            has_ended: false,
        }
    }

    /// The grant of tokens that were issued elsewhere, which are the new `login`. If they can be renewed, and their lifetime
    /// is unknown, the access token counts as ended.
    pub fn imported(
        login: LoginId,
        access: SecretString,
        refresh: Option<SecretString>,
        lifetime: Option<Duration>,
        settings: &TokenSettings,
    ) -> Self {
        let lifetime = lifetime.or_else(|| refresh.is_some().then_some(Duration::ZERO));
        let issued = AccessToken { refresh, ..AccessToken::of(access, lifetime) };
        Self::new(login, issued, &settings.scopes, settings.refresh_before)
    }

    /// The grant after a renewal. The refresh token stays if there is no new one.
    pub(crate) fn renewed(former: &Self, issued: AccessToken, refresh_before: Duration) -> Self {
        let new = Self::new(former.login, issued, &former.scopes, refresh_before);
        let refresh = new.refresh.or_else(|| former.refresh.clone());
        Self { refresh, account: new.account.or_else(|| former.account.clone()), ..new }
    }
}

/// The error if a grant cannot be read or written. It contains no secret.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// A file or directory cannot be used.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// The content of a file is not a grant, or is damaged.
    #[error("`{}`: {why}; log in again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// Another process holds the lock for too long.
    #[error("another process is renewing {0}")]
    Locked(GrantKey),
}

/// The grants of principals for one credential.
#[derive(Debug, Default)]
pub struct ListedGrants {
    /// Their keys.
    pub keys: Vec<GrantKey>,
    /// The files that do not tell whose grant they have. They take nothing from the others.
    pub unreadable: Vec<GrantError>,
}

/// The files of grants.
#[derive(Clone, Debug)]
pub struct GrantStore {
    folder: PathBuf,
    /// The file of the only grant, in clear. None: each credential has a file with sealed values.
    plain: Option<PathBuf>,
    binding: GrantBinding,
}

/// The client and the server that a grant belongs to. With other settings, it is no grant: its tokens are not for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantBinding {
    token_url: String,
    client_id: String,
    resource: Option<String>,
}

impl GrantBinding {
    /// The place of a value. Owner and binding are part of it, so that a changed or moved file does not give its tokens
    /// to others.
    fn place<'a>(&'a self, key: &'a GrantKey, field: &'a str) -> Vec<&'a str> {
        let resource = self.resource.as_deref().unwrap_or_default();
        let mut place = key.parts();
        place.extend([&*self.token_url, &*self.client_id, resource, field]);
        place
    }
}

/// The right to change a grant. It excludes other threads and processes.
#[derive(Debug)]
pub struct GrantLock {
    _held: File,
    follows_lost_answer: bool,
}

impl GrantLock {
    /// True if there was no answer to the last renewal, because its process was killed or the provider was away. Then the
    /// provider may have used up the refresh token.
    pub(crate) fn follows_lost_answer(&self) -> bool {
        self.follows_lost_answer
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    version: u64,
    credential: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<WrittenOwner>,
    binding: GrantBinding,
    values: BTreeMap<String, String>,
}

impl GrantStore {
    /// The store for a credential with these settings.
    pub fn of(settings: &GrantSettings) -> Self {
        let TokenSettings { token_url, client_id, resource, .. } = &settings.token;
        let (token_url, client_id) = (token_url.to_string(), client_id.to_string());
        let binding = GrantBinding { token_url, client_id, resource: resource.clone() };
        let plain = settings.file.clone();
        let folder = plain.as_ref().and_then(|file| file.parent()).map(Path::to_owned);
        let folder = folder.unwrap_or_else(|| settings.state.join("credentials"));
        Self { folder, plain, binding }
    }

    /// The grant with this key. None: nobody has logged in at this authorization server, with this client and for this
    /// resource.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub fn read(&self, key: &GrantKey) -> Result<Option<StoredGrant>, GrantError> {
        if let Some(path) = &self.plain {
            return self.read_plain(path);
        }
        let path = self.path(key);
        let Some(file) = read_file(&path)? else { return Ok(None) };
        let damaged = |why: String| GrantError::Damaged { path: path.clone(), why };
        if file.owner != key.written_owner() {
            return Err(damaged("it belongs to somebody else".to_owned()));
        }
        if file.binding != self.binding {
            return Ok(None);
        }
        let opened = self.opened(key, &file, &self.sealing_key()?);
        opened.map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// The grants of all principals for `credential`, in the order of their names.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn of_principals(&self, credential: &Arc<str>) -> Result<ListedGrants, GrantError> {
        let failed = |error| GrantError::Io { path: self.folder.clone(), error };
        let mut listed = ListedGrants::default();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listed),
            Err(error) => return Err(failed(error)),
        };
        let prefix = GrantKey::file_prefix(credential);
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_one = name.strip_prefix(&*prefix).is_some_and(|rest| rest.ends_with(".json"));
            match if is_one { read_file(&path) } else { Ok(None) } {
                Ok(file) => {
                    let owner = file.and_then(|file| file.owner);
                    listed.keys.extend(owner.map(|owner| GrantKey::of(credential, owner.principal())));
                }
                Err(error) => listed.unreadable.push(error),
            }
        }
        listed.keys.sort_by(|one, other| one.owner().cmp(&other.owner()));
        Ok(listed)
    }

    fn opened(
        &self,
        key: &GrantKey,
        file: &GrantFile,
        sealing: &SealingKey,
    ) -> Result<StoredGrant, SealError> {
        let value = |field: &str| match file.values.get(field) {
            Some(sealed) => sealing.open(&self.binding.place(key, field), sealed).map(Some),
            None => Ok(None),
        };
        let secret = |field| value(field).map(|value| value.map(|value| SecretString::from(value.as_str())));
        let time = |field| value(field)?.map(|time| time.parse()).transpose().map_err(|_| SealError::Damaged);
        let (access, refresh) = (secret("access")?.ok_or(SealError::Damaged)?, secret("refresh")?);
        let login = match value("login")? {
            Some(text) => LoginId::parse(&text).ok_or(SealError::Damaged)?,
            None => login_without_id(self.binding.place(key, "login"), &access, refresh.as_ref()),
        };
        Ok(StoredGrant {
            login,
            account: value("account")?.map(|account| account.to_string()),
            access,
            refresh,
            end: time("end")?,
            renewal: time("renewal")?,
            scopes: value("scopes")?
                .map(|all| all.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            has_ended: value("ended")?.is_some(),
        })
    }

    /// Replaces the grant with this key. A reader sees the former grant or the new one, also after a crash.
    ///
    /// # Errors
    /// If it cannot be written. Then the former one stays.
    pub fn write(&self, key: &GrantKey, grant: &StoredGrant, _lock: &GrantLock) -> Result<(), GrantError> {
        let text = self.text(key, grant, self.own_key()?.as_ref())?;
        self.replace(key, &text)?;
        self.remove_journal(key)
    }

    /// The text of a file, with each value sealed if there is a key for that, `sealing`.
    fn text(
        &self,
        key: &GrantKey,
        grant: &StoredGrant,
        sealing: Option<&SealingKey>,
    ) -> Result<Vec<u8>, GrantError> {
        let Some(sealing) = sealing else { return Ok(self.plain_text(grant)) };
        let path = self.path(key);
        let damaged = |error: SealError| GrantError::Damaged { path: path.clone(), why: error.to_string() };
        let mut values = BTreeMap::new();
        let mut put = |field: &str, value: Option<&str>| {
            if let Some(value) = value {
                values.insert(field.to_owned(), sealing.seal(&self.binding.place(key, field), value)?);
            }
            Ok::<_, SealError>(())
        };
        let [end, renewal] = [grant.end, grant.renewal].map(|time| time.map(|time| time.to_string()));
        put("login", Some(&grant.login.text())).map_err(damaged)?;
        put("account", grant.account.as_deref()).map_err(damaged)?;
        put("access", Some(grant.access.expose_secret())).map_err(damaged)?;
        put("refresh", grant.refresh.as_ref().map(|refresh| refresh.expose_secret())).map_err(damaged)?;
        put("end", end.as_deref()).map_err(damaged)?;
        put("renewal", renewal.as_deref()).map_err(damaged)?;
        put("scopes", Some(&grant.scopes.join(" "))).map_err(damaged)?;
        put("ended", grant.has_ended.then_some("true")).map_err(damaged)?;
        let file = GrantFile {
            version: VERSION,
            credential: key.credential().to_string(),
            owner: key.written_owner(),
            binding: self.binding.clone(),
            values,
        };
        serde_json::to_vec_pretty(&file)
            .map_err(|error| GrantError::Damaged { path: path.clone(), why: error.to_string() })
    }

    /// True if `text` is a whole file with this key, whatever it is bound to.
    ///
    /// # Errors
    /// If the key that seals values cannot be used now.
    fn is_whole(&self, key: &GrantKey, text: &[u8]) -> Result<bool, GrantError> {
        if self.plain.is_some() {
            return Ok(Self::is_whole_plain(text));
        }
        let Ok(file) = serde_json::from_slice::<GrantFile>(text) else { return Ok(false) };
        let of_file = Self { binding: file.binding.clone(), ..self.clone() };
        if file.version != VERSION || file.owner != key.written_owner() {
            return Ok(false);
        }
        Ok(of_file.opened(key, &file, &self.sealing_key()?).is_ok())
    }

    /// Removes the grant with this key, and what a killed process has left of a new one. False: there was no grant.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, key: &GrantKey, _lock: &GrantLock) -> Result<bool, GrantError> {
        // Otherwise, the next holder of the lock would finish it.
        self.remove_unfinished(key)?;
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => {
                // Otherwise, a crash of the machine might bring it back.
                drop(whole_file::sync_folder(&path));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(GrantError::Io { path, error }),
        }
    }

    /// The lock of the grant with this key, as soon as no other thread or process has it. It blocks the thread. A renewal
    /// that a killed process has left is finished.
    ///
    /// # Errors
    /// If that takes too long, or the renewal cannot be finished.
    pub fn lock(&self, key: &GrantKey) -> Result<GrantLock, GrantError> {
        let lock = self.lock_for_removal(key)?;
        let follows_lost_answer = self.finish_left(key)?;
        Ok(GrantLock { follows_lost_answer, ..lock })
    }

    /// The same for a removal, to which it does not matter what a killed process has left.
    ///
    /// # Errors
    /// If it takes too long.
    pub fn lock_for_removal(&self, key: &GrantKey) -> Result<GrantLock, GrantError> {
        self.make_folder()?;
        // The key of the store has the lock `.key.lock`.
        let path = self.beside(key, "lock");
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        let held = options.open(&path).map_err(|error| GrantError::Io { path: path.clone(), error })?;
        let begin = Instant::now();
        loop {
            match held.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begin.elapsed() < LONGEST_WAIT => {
                    std::thread::sleep(ATTEMPT)
                }
                Err(TryLockError::WouldBlock) => return Err(GrantError::Locked(key.clone())),
                Err(TryLockError::Error(error)) => return Err(GrantError::Io { path, error }),
            }
        }
        Ok(GrantLock { _held: held, follows_lost_answer: false })
    }

    /// The key that seals values. None: they are in clear.
    fn own_key(&self) -> Result<Option<SealingKey>, GrantError> {
        self.plain.is_none().then(|| self.sealing_key()).transpose()
    }

    fn sealing_key(&self) -> Result<SealingKey, GrantError> {
        self.make_folder()?;
        let path = self.folder.join("key");
        SealingKey::at(&path, SEALED).map_err(|error| GrantError::Damaged { path, why: error.to_string() })
    }

    /// Only the owner may list a new directory, and nobody else may write into one.
    fn make_folder(&self) -> Result<(), GrantError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).and_then(|()| {
            let folder = self.folder.metadata()?;
            if folder.mode() & 0o022 != 0 {
                return Err(io::Error::other("others may write into it; `chmod go-w` it"));
            }
            // Its owner may replace the files in it, and the administrator may do so everywhere.
            if ![0, rustix::process::geteuid().as_raw()].contains(&folder.uid()) {
                return Err(io::Error::other("it belongs to another user"));
            }
            Ok(())
        });
        made.map_err(|error| GrantError::Io { path: self.folder.clone(), error })
    }

    fn path(&self, key: &GrantKey) -> PathBuf {
        let sealed = || self.folder.join(format!("{}.json", key.file_name()));
        self.plain.clone().unwrap_or_else(sealed)
    }

    /// A hidden file beside that with this key.
    fn beside(&self, key: &GrantKey, suffix: &str) -> PathBuf {
        let path = self.path(key);
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        path.with_file_name(format!(".{name}.{suffix}"))
    }
}

/// The id of a login that a former version of Witgate, or another program, has stored. It is that of its tokens at `place`
/// until the next renewal writes it.
fn login_without_id(place: Vec<&str>, access: &SecretString, refresh: Option<&SecretString>) -> LoginId {
    let token = refresh.unwrap_or(access).expose_secret();
    LoginId::of_parts(place.into_iter().chain([token]))
}

/// The content of the file of a grant. None: there is no file.
fn read_file(path: &Path) -> Result<Option<GrantFile>, GrantError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(GrantError::Io { path: path.to_owned(), error }),
    };
    let damaged = |why: String| GrantError::Damaged { path: path.to_owned(), why };
    let file: GrantFile = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    match file.version {
        VERSION => Ok(Some(file)),
        other => Err(damaged(format!("its version {other} is unknown"))),
    }
}

#[cfg(test)]
mod tests;
