//! The grants of persons: access and refresh tokens in files, one for each credential, with each value sealed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::token_answer::AccessToken;
use crate::token_keeper::time_before_end;
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
    /// The grant of tokens that a provider has issued now. Scopes that it does not name are those that were `requested`.
    pub(crate) fn new(issued: AccessToken, requested: &[String], refresh_before: Duration) -> Self {
        let now = clock::since_epoch();
        let before = |lifetime| lifetime - time_before_end(refresh_before, lifetime);
        Self {
            account: issued.account,
            access: issued.access,
            refresh: issued.refresh,
            end: issued.lifetime.map(|lifetime| (now + lifetime).as_secs()),
            renewal: issued.lifetime.map(|lifetime| (now + before(lifetime)).as_secs()),
            scopes: issued.scopes.unwrap_or_else(|| requested.to_vec()),
            has_ended: false,
        }
    }

    /// The grant after a renewal. The refresh token stays if there is no new one.
    pub(crate) fn renewed(former: &Self, issued: AccessToken, refresh_before: Duration) -> Self {
        let new = Self::new(issued, &former.scopes, refresh_before);
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
    #[error("another process is renewing `{0}`")]
    Locked(String),
}

/// The files of grants.
#[derive(Clone, Debug)]
pub struct GrantStore {
    folder: PathBuf,
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
    /// The place of a value. The binding is part of it, so that a changed file does not give its tokens to others.
    fn place<'a>(&'a self, credential: &'a str, field: &'a str) -> [&'a str; 5] {
        let resource = self.resource.as_deref().unwrap_or_default();
        [credential, &self.token_url, &self.client_id, resource, field]
    }
}

/// The right to change a grant. It excludes other threads and processes.
#[derive(Debug)]
pub struct GrantLock {
    _held: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    version: u64,
    credential: String,
    binding: GrantBinding,
    values: BTreeMap<String, String>,
}

impl GrantStore {
    /// The store for a credential with these settings.
    pub fn of(settings: &GrantSettings) -> Self {
        let TokenSettings { token_url, client_id, resource, .. } = &settings.token;
        let (token_url, client_id) = (token_url.to_string(), client_id.to_string());
        let binding = GrantBinding { token_url, client_id, resource: resource.clone() };
        Self { folder: settings.state.join("credentials"), binding }
    }

    /// The grant of `credential`. None: nobody has logged in at this authorization server, with this client and for this
    /// resource.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub fn read(&self, credential: &str) -> Result<Option<StoredGrant>, GrantError> {
        let path = self.path(credential);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(GrantError::Io { path, error }),
        };
        let damaged = |why: String| GrantError::Damaged { path: path.clone(), why };
        let file: GrantFile = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if file.version != VERSION {
            return Err(damaged(format!("its version {} is unknown", file.version)));
        }
        if file.binding != self.binding {
            return Ok(None);
        }
        let key = self.key()?;
        self.opened(credential, &file, &key).map(Some).map_err(|error| damaged(error.to_string()))
    }

    fn opened(&self, credential: &str, file: &GrantFile, key: &SealingKey) -> Result<StoredGrant, SealError> {
        let value = |field: &str| match file.values.get(field) {
            Some(sealed) => key.open(&self.binding.place(credential, field), sealed).map(Some),
            None => Ok(None),
        };
        let secret = |field| value(field).map(|value| value.map(|value| SecretString::from(value.as_str())));
        let time = |field| value(field)?.map(|time| time.parse()).transpose().map_err(|_| SealError::Damaged);
        Ok(StoredGrant {
            account: value("account")?.map(|account| account.to_string()),
            access: secret("access")?.ok_or(SealError::Damaged)?,
            refresh: secret("refresh")?,
            end: time("end")?,
            renewal: time("renewal")?,
            scopes: value("scopes")?
                .map(|all| all.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            has_ended: value("ended")?.is_some(),
        })
    }

    /// Replaces the grant of `credential`. A reader sees the former grant or the new one, also after a crash.
    ///
    /// # Errors
    /// If it cannot be written. Then the former one stays.
    pub fn write(&self, credential: &str, grant: &StoredGrant, _lock: &GrantLock) -> Result<(), GrantError> {
        use std::io::Write as _;
        let path = self.path(credential);
        let damaged = |error: SealError| GrantError::Damaged { path: path.clone(), why: error.to_string() };
        let key = self.key()?;
        let mut values = BTreeMap::new();
        let mut put = |field: &str, value: Option<&str>| {
            if let Some(value) = value {
                values.insert(field.to_owned(), key.seal(&self.binding.place(credential, field), value)?);
            }
            Ok::<_, SealError>(())
        };
        let [end, renewal] = [grant.end, grant.renewal].map(|time| time.map(|time| time.to_string()));
        put("account", grant.account.as_deref()).map_err(damaged)?;
        put("access", Some(grant.access.expose_secret())).map_err(damaged)?;
        put("refresh", grant.refresh.as_ref().map(|refresh| refresh.expose_secret())).map_err(damaged)?;
        put("end", end.as_deref()).map_err(damaged)?;
        put("renewal", renewal.as_deref()).map_err(damaged)?;
        put("scopes", Some(&grant.scopes.join(" "))).map_err(damaged)?;
        put("ended", grant.has_ended.then_some("true")).map_err(damaged)?;
        let file = GrantFile {
            version: VERSION,
            credential: credential.to_owned(),
            binding: self.binding.clone(),
            values,
        };
        let text = serde_json::to_vec_pretty(&file)
            .map_err(|error| GrantError::Damaged { path: path.clone(), why: error.to_string() })?;
        let written = whole_file::replace(&path, |file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.map_err(|error| GrantError::Io { path: path.clone(), error })?;
        // On file systems that cannot sync directories, no more is possible. The new grant is in its place.
        drop(whole_file::sync_folder(&path));
        Ok(())
    }

    /// Removes the grant of `credential`. False: there was none.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, credential: &str, _lock: &GrantLock) -> Result<bool, GrantError> {
        let path = self.path(credential);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(GrantError::Io { path, error }),
        }
    }

    /// The lock of `credential`, as soon as no other thread or process has it. It blocks the thread.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn lock(&self, credential: &str) -> Result<GrantLock, GrantError> {
        self.make_folder()?;
        // The key of the store has the lock `.key.lock`.
        let path = self.folder.join(format!(".{}.json.lock", file_name(credential)));
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        let held = options.open(&path).map_err(|error| GrantError::Io { path: path.clone(), error })?;
        let begin = Instant::now();
        loop {
            match held.try_lock() {
                Ok(()) => return Ok(GrantLock { _held: held }),
                Err(TryLockError::WouldBlock) if begin.elapsed() < LONGEST_WAIT => {
                    std::thread::sleep(ATTEMPT)
                }
                Err(TryLockError::WouldBlock) => return Err(GrantError::Locked(credential.to_owned())),
                Err(TryLockError::Error(error)) => return Err(GrantError::Io { path, error }),
            }
        }
    }

    fn key(&self) -> Result<SealingKey, GrantError> {
        self.make_folder()?;
        let path = self.folder.join("key");
        SealingKey::at(&path, SEALED).map_err(|error| GrantError::Damaged { path, why: error.to_string() })
    }

    /// Only the owner may list the directory.
    fn make_folder(&self) -> Result<(), GrantError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| GrantError::Io { path: self.folder.clone(), error })
    }

    fn path(&self, credential: &str) -> PathBuf {
        self.folder.join(format!("{}.json", file_name(credential)))
    }
}

/// The name of a file for a credential. Characters other than letters, digits, `-` and `_` are encoded, so that names
/// cannot leave the directory or collide.
fn file_name(credential: &str) -> String {
    use std::fmt::Write as _;
    credential.bytes().fold(String::new(), |mut name, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => drop(write!(name, "%{byte:02x}")),
        }
        name
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn grant(access: &str) -> StoredGrant {
        StoredGrant {
            account: Some("octocat".to_owned()),
            access: access.into(),
            refresh: Some(format!("refresh-of-{access}").as_str().into()),
            end: Some(1_000),
            renewal: Some(900),
            scopes: vec!["repo".to_owned(), "read:user".to_owned()],
            has_ended: false,
        }
    }

    fn binding() -> GrantBinding {
        let (token_url, client_id) = ("https://a.example.com/token".to_owned(), "gate".to_owned());
        GrantBinding { token_url, client_id, resource: None }
    }

    fn store() -> (tempfile::TempDir, GrantStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = GrantStore { folder: folder.path().join("credentials"), binding: binding() };
        (folder, store)
    }

    #[test]
    fn a_grant_is_read_as_it_was_written_and_is_private() {
        let (_folder, store) = store();
        assert!(store.read("github").unwrap().is_none());
        let lock = store.lock("github").unwrap();
        store.write("github", &grant("token-0123456789"), &lock).unwrap();
        let read = store.read("github").unwrap().unwrap();
        assert_eq!(read.access.expose_secret(), "token-0123456789");
        assert_eq!(read.refresh.unwrap().expose_secret(), "refresh-of-token-0123456789");
        assert_eq!(
            (read.account.as_deref(), read.end, read.has_ended),
            (Some("octocat"), Some(1_000), false)
        );
        assert_eq!(read.scopes, ["repo", "read:user"]);
        let text = fs::read_to_string(store.path("github")).unwrap();
        assert!(!text.contains("0123456789") && !text.contains("octocat"), "{text}");
        for path in [store.path("github"), store.folder.join("key")] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        assert_eq!(store.folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(store.remove("github", &lock).unwrap() && !store.remove("github", &lock).unwrap());
    }

    #[test]
    fn a_file_in_the_place_of_another_is_damaged() {
        let (_folder, store) = store();
        let lock = store.lock("a").unwrap();
        store.write("a", &grant("t"), &lock).unwrap();
        fs::copy(store.path("a"), store.path("b")).unwrap();
        assert!(matches!(store.read("b"), Err(GrantError::Damaged { .. })));
        for text in [
            "",
            "{}",
            "[]",
            r#"{"version":2,"credential":"a","values":{}}"#,
            r#"{"version":1,"credential":"a","values":{}}"#,
            r#"{"version":1,"credential":"a","binding":{"token_url":"https://a.example.com/token","client_id":"gate","resource":null},"values":{}}"#,
        ] {
            fs::write(store.path("a"), text).unwrap();
            assert!(matches!(store.read("a"), Err(GrantError::Damaged { .. })), "{text}");
        }
    }

    #[test]
    fn a_grant_is_only_for_the_server_and_the_client_of_its_login() {
        let (_folder, store) = store();
        let lock = store.lock("a").unwrap();
        store.write("a", &grant("t"), &lock).unwrap();
        let others = [
            GrantBinding { token_url: "https://b.example.com/token".to_owned(), ..binding() },
            GrantBinding { client_id: "other".to_owned(), ..binding() },
            GrantBinding { resource: Some("https://c.example.com".to_owned()), ..binding() },
        ];
        let written = fs::read_to_string(store.path("a")).unwrap();
        for binding in others {
            let other = GrantStore { folder: store.folder.clone(), binding };
            assert!(other.read("a").unwrap().is_none(), "{other:?}");
            let mut file: GrantFile = serde_json::from_str(&written).unwrap();
            file.binding = other.binding.clone();
            fs::write(store.path("a"), serde_json::to_string(&file).unwrap()).unwrap();
            assert!(matches!(other.read("a"), Err(GrantError::Damaged { .. })), "{other:?}");
            fs::write(store.path("a"), &written).unwrap();
        }
        assert!(store.read("a").unwrap().is_some());
    }

    #[test]
    fn the_lock_of_a_credential_is_not_that_of_the_key() {
        let (_folder, store) = store();
        let lock = store.lock("key").unwrap();
        store.write("key", &grant("t"), &lock).unwrap();
        assert!(store.read("key").unwrap().is_some());
    }

    #[test]
    fn names_stay_in_the_directory_and_apart() {
        let names = ["../x", "a/b", "a%2fb", ".", "..", "é", "A", "a"].map(file_name);
        assert!(names.iter().all(|name| !name.contains(['/', '.'])), "{names:?}");
        let apart: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(apart.len(), names.len());
    }

    #[test]
    fn a_lock_excludes_others_until_it_is_dropped() {
        let (_folder, store) = store();
        let lock = store.lock("a").unwrap();
        let other = store.clone();
        let waiting = std::thread::spawn(move || other.lock("a").map(drop));
        store.lock("b").unwrap();
        assert!(!waiting.is_finished());
        drop(lock);
        waiting.join().unwrap().unwrap();
    }
}
