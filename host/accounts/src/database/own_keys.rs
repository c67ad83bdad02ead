//! The keys that users make for themselves. A key never allows more than its owner may: it has their roles as they are
//! now, and the policy that judges it reads them from a file that is made anew with each change of a user.

mod key_origin;

use rusqlite::{Connection, Row, Transaction};
use secrecy::{ExposeSecret as _, SecretString};
use witgate_api_key::store::{KEY_PREFIX, Sha256, Store, StoredKey, Time};
use witgate_plugin::is_scope;

pub use self::key_origin::KeyOrigin;
use super::event_recorder::EventRecorder;
use super::grants::GrantId;
use super::users::{AccountUser, by_id};
use super::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent};
use crate::random;
use witgate_base::digest::sha256;

/// The most keys of one user that have not ended.
pub const MOST_OF_ONE: i64 = 20;

/// The most keys that a user may make in a day, so that the file of keys does not change all the time.
const MOST_OF_A_DAY: i64 = 50;

/// The most keys of all users, with those that have ended within a day.
const MOST_OF_ALL: i64 = 10_000;

/// The most bytes of the file with a new key. Users may get further roles later.
const MOST_BYTES: usize = 12 << 20;

/// The most bytes of the file: somewhat less than the 16 MiB that a policy reads.
const MOST_WRITTEN: usize = 15 << 20;

/// The bytes of an entry in the file, without its roles, scopes and resource.
const ENTRY_BYTES: usize = 640;

/// The bytes around a text in the file.
const AROUND_TEXT: usize = 8;

/// The time for which an ended or expired key is remembered, in milliseconds.
const REMEMBERED_MS: i64 = 86_400_000;

/// The longest name of a key, in bytes.
pub const LONGEST_NAME: usize = 64;

/// The most scopes of one key.
const MOST_SCOPES: usize = 32;

/// The latest end of a key, in milliseconds since 1970: the year 9999, the last one that a store of keys can express.
const LATEST_END: i64 = 253_370_764_800_000;

/// The properties of a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKeyTerms {
    /// The name, once for each user.
    pub name: String,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The end, in milliseconds since 1970.
    pub expires: Option<i64>,
}

/// A key that a user has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    /// The id in lists and logs.
    pub id: String,
    /// Its properties.
    pub terms: OwnKeyTerms,
    /// The time of creation, in milliseconds since 1970.
    pub created: i64,
    /// The only resource that it is for, if a program has made it.
    pub resource: Option<String>,
    /// True if the owner had shown a second factor, or an operator has made the key.
    pub is_strong: bool,
}

/// The reason why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum OwnKeyFault {
    /// The name is empty, too long, or has odd characters.
    #[error("a key has a name of 1 to {LONGEST_NAME} bytes, without control characters and blanks around it")]
    Name,
    /// The user has a key of that name.
    #[error("there is a key of this name already")]
    Taken,
    /// A text is not a scope, or there are too many.
    #[error("these are not scopes")]
    Scopes,
    /// The end has passed, or is after the year 9999.
    #[error("the end of a key has to be in the future")]
    End,
    /// The user has as many keys as possible, or has made as many today.
    #[error("there are {MOST_OF_ONE} keys already, or {MOST_OF_A_DAY} were made in the last day")]
    TooMany,
    /// All users together have as many keys as possible.
    #[error("the users of this server have as many keys together as possible")]
    Full,
    /// The program that wants a key has no access any more.
    #[error("this login has ended")]
    Login,
    /// The program that wants a key loses its access before the end of the key.
    #[error("a key of a program ends no later than its login")]
    AfterLogin,
    /// The user has rights that no key can have, such as too many roles.
    #[error("the roles of the user do not fit into a key")]
    Unfit,
    /// The user does not exist, or is disabled.
    #[error("the user is disabled or removed")]
    User,
    /// The accounts cannot be used.
    #[error(transparent)]
    Store(#[from] AccountsError),
}

impl From<rusqlite::Error> for OwnKeyFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl AccountDatabase {
    /// Makes a key of the user with this id, in force at once. Its text is stored nowhere. One that a program makes is
    /// for the resource of its grant alone, and ends with the grant.
    ///
    /// # Errors
    /// If the terms are invalid, or the accounts cannot be used. If only the file of keys cannot be written, the key is
    /// removed again.
    pub fn make_key(
        &mut self,
        user: &str,
        terms: OwnKeyTerms,
        origin: KeyOrigin<'_>,
        now: i64,
    ) -> Result<(OwnKey, SecretString), OwnKeyFault> {
        terms.check(now)?;
        let text = SecretString::from(format!("{KEY_PREFIX}{}", random::text()?));
        let id = random::hex(&random::bytes::<16>()?);
        let recorder = self.recorder.clone();
        let key = self.change(|transaction, _| {
            let limits = origin.limits(transaction, user, &terms)?;
            let (resource, is_strong) = (limits.resource(), limits.is_strong);
            let key = OwnKey { id, terms, created: now, resource, is_strong };
            let owner = add(transaction, user, (&key, &text), limits.grant())?;
            let event =
                AccountEvent { client: limits.client(), ..event(AccountAction::KeyMade, &owner, &key) };
            recorder.record(transaction, event)?;
            Ok::<_, OwnKeyFault>(key)
        })?;
        if let Err(error) = self.publish() {
            self.take_back(user, &key)?;
            return Err(error.into());
        }
        Ok((key, text))
    }

    /// Removes a new key that cannot be in force. Nobody gets to know its text.
    fn take_back(&mut self, user: &str, key: &OwnKey) -> Result<(), AccountsError> {
        let recorder = self.recorder.clone();
        self.change(|transaction, _| {
            transaction.execute("DELETE FROM own_keys WHERE id = ?1", [&key.id])?;
            let Some(owner) = by_id(transaction, user)? else { return Ok(()) };
            let event = event(AccountAction::KeyEnded, &owner, key).because("not-in-force");
            recorder.record(transaction, event)
        })
    }

    /// The keys of the user with this id that have neither ended nor expired a day ago, by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn keys_of(&self, user: &str) -> Result<Vec<OwnKey>, AccountsError> {
        live(&self.connection, user)
    }

    /// Ends a key of the user with this id, by its name or id, in force at once. None: there is no live one.
    ///
    /// # Errors
    /// If the database or the file of keys cannot be written.
    pub fn end_key(&mut self, user: &str, name: &str, now: i64) -> Result<Option<OwnKey>, AccountsError> {
        let recorder = self.recorder.clone();
        let ended = self.change(|transaction, _| {
            end(transaction, &recorder, user, now, |key, all| {
                let is_name = all.iter().any(|key| key.terms.name == name);
                key.terms.name == name || (!is_name && key.id == name)
            })
        })?;
        self.publish()?;
        Ok(ended.into_iter().next())
    }

    /// Ends all keys of the user with this id, in force at once. Returns their number.
    ///
    /// # Errors
    /// As [`Self::end_key`].
    pub fn end_keys(&mut self, user: &str, now: i64) -> Result<usize, AccountsError> {
        let recorder = self.recorder.clone();
        let ended = self.change(|transaction, _| end(transaction, &recorder, user, now, |_, _| true))?;
        self.publish()?;
        Ok(ended.len())
    }

    /// The number of keys that have neither ended nor expired, and of those that expire before `until`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn count_keys(&self, now: i64, until: i64) -> Result<(i64, i64), AccountsError> {
        let query = "SELECT count(*), count(CASE WHEN expires <= ?2 THEN 1 END) FROM own_keys
                     WHERE ended IS NULL AND (expires IS NULL OR expires > ?1)";
        let counts = self.connection.query_row(query, [now, until], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(counts)
    }

    /// The text of the file of keys, with the rights that their owners have now.
    pub(super) fn key_lines(&self) -> Result<String, AccountsError> {
        let StoredKeys { keys, faults, .. } = stored(&self.connection, now_ms())?.shortened();
        if let Some(fault) = faults.first() {
            let keys = faults.len();
            tracing::warn!(keys, fault, "keys of users are left out, because no policy would read them");
        }
        let text = Store { keys, ..Store::default() }.to_toml();
        text.map(|text| format!("{HEADING}{text}"))
            .map_err(|error| AccountsError::Unavailable(error.to_string()))
    }
}

const HEADING: &str =
    "# Keys that users have made. Written by Witgate from its accounts; changes are lost.\n\n";

impl OwnKeyTerms {
    fn check(&self, now: i64) -> Result<(), OwnKeyFault> {
        let Self { name, scopes, expires } = self;
        if name.is_empty()
            || name.len() > LONGEST_NAME
            || name.trim() != name
            || name.chars().any(char::is_control)
        {
            return Err(OwnKeyFault::Name);
        }
        if scopes.len() > MOST_SCOPES || scopes.iter().any(|scope| scope.len() > 256 || !is_scope(scope)) {
            return Err(OwnKeyFault::Scopes);
        }
        match expires {
            Some(end) if *end <= now || *end > LATEST_END => Err(OwnKeyFault::End),
            _ => Ok(()),
        }
    }
}

fn add(
    transaction: &Transaction<'_>,
    user: &str,
    (key, text): (&OwnKey, &SecretString),
    grant: Option<GrantId>,
) -> Result<AccountUser, OwnKeyFault> {
    let OwnKey { id, terms, created, resource, is_strong } = key;
    transaction
        .execute("DELETE FROM own_keys WHERE coalesce(ended, expires) < ?1", [created - REMEMBERED_MS])?;
    let owner = by_id(transaction, user)?.filter(|user| user.disabled.is_none()).ok_or(OwnKeyFault::User)?;
    let all: i64 = transaction.query_row("SELECT count(*) FROM own_keys", [], |row| row.get(0))?;
    if all >= MOST_OF_ALL {
        return Err(OwnKeyFault::Full);
    }
    let query = "SELECT count(CASE WHEN ended IS NULL THEN 1 END), count(CASE WHEN created > ?2 THEN 1 END),
                        count(CASE WHEN ended IS NULL AND name = ?3 THEN 1 END) FROM own_keys WHERE user = ?1";
    let (live, of_a_day, same): (i64, i64, i64) =
        transaction.query_row(query, (user, created - REMEMBERED_MS, &terms.name), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    if same > 0 {
        return Err(OwnKeyFault::Taken);
    }
    if live >= MOST_OF_ONE || of_a_day >= MOST_OF_A_DAY {
        return Err(OwnKeyFault::TooMany);
    }
    let digest = sha256(text.expose_secret().as_bytes());
    if entry((owner.id.clone(), owner.roles.clone()), key.clone(), digest, None).is_err() {
        return Err(OwnKeyFault::Unfit);
    }
    transaction.execute(
        "INSERT INTO own_keys (id, user, name, digest, scopes, created, expires, strong, grant_id, resource)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            id,
            user,
            &terms.name,
            digest.as_slice(),
            terms.scopes.join(" "),
            created,
            terms.expires,
            is_strong,
            grant,
            resource,
        ),
    )?;
    match stored(transaction, *created)?.bytes > MOST_BYTES {
        true => Err(OwnKeyFault::Full),
        false => Ok(owner),
    }
}

/// Ends the live keys of a user that `is_meant` chooses. Returns them.
fn end(
    transaction: &Transaction<'_>,
    recorder: &EventRecorder,
    user: &str,
    now: i64,
    is_meant: impl Fn(&OwnKey, &[OwnKey]) -> bool,
) -> Result<Vec<OwnKey>, AccountsError> {
    let Some(owner) = by_id(transaction, user)? else { return Ok(Vec::new()) };
    let keys = live(transaction, user)?;
    let (meant, _): (Vec<_>, Vec<_>) = keys.iter().cloned().partition(|key| is_meant(key, &keys));
    for key in &meant {
        transaction.execute("UPDATE own_keys SET ended = ?2 WHERE id = ?1", (&key.id, now))?;
        recorder.record(transaction, event(AccountAction::KeyEnded, &owner, key))?;
    }
    Ok(meant)
}

fn event(action: AccountAction, owner: &AccountUser, key: &OwnKey) -> AccountEvent {
    let event = AccountEvent::now(action).about(&owner.id, &owner.name);
    let resource = key.resource.clone();
    AccountEvent { key: Some(key.id.clone()), scopes: key.terms.scopes.clone(), resource, ..event }
}

/// The live keys of a user, by name.
fn live(connection: &Connection, user: &str) -> Result<Vec<OwnKey>, AccountsError> {
    let query = "SELECT id, name, scopes, created, expires, resource, strong FROM own_keys
                 WHERE user = ?1 AND ended IS NULL ORDER BY name";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map([user], key_of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The id and the roles of the owner of a key.
type KeyOwner = (String, Vec<String>);

/// The entries of the file.
#[derive(Debug, Default)]
struct StoredKeys {
    keys: Vec<StoredKey>,
    /// The most bytes that they take.
    bytes: usize,
    /// The reasons why the policy would not read others.
    faults: Vec<String>,
}

impl StoredKeys {
    fn add(&mut self, key: Result<StoredKey, String>) {
        match key {
            Ok(key) => {
                self.bytes += bytes_of(&key);
                self.keys.push(key);
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    /// The same, without the last keys that are too many for a policy.
    fn shortened(self) -> Self {
        if self.bytes <= MOST_WRITTEN {
            return self;
        }
        let mut shortened = Self { faults: self.faults, ..Self::default() };
        for key in self.keys {
            let fits = shortened.bytes + bytes_of(&key) <= MOST_WRITTEN;
            shortened.add(if fits { Ok(key) } else { Err("all keys together are too long".to_owned()) });
        }
        shortened
    }
}

/// The most bytes of an entry in the file.
fn bytes_of(key: &StoredKey) -> usize {
    let texts = key.roles.iter().chain(&key.scopes).chain(&key.resource);
    let escaped = |text: &String| text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    ENTRY_BYTES + texts.map(|text| text.len() + escaped(text) + AROUND_TEXT).sum::<usize>()
}

/// The entries of the file, first those of keys that have not ended, and older ones before newer ones. Those that the
/// policy would not read are left out, so that they cost nobody else their keys.
fn stored(connection: &Connection, now: i64) -> Result<StoredKeys, AccountsError> {
    let query = "SELECT own_keys.id, own_keys.name, scopes, own_keys.created, expires, resource, strong, users.id, digest,
                        coalesce(ended, disabled),
                        (SELECT json_group_array(role) FROM roles WHERE roles.user = users.id)
                 FROM own_keys JOIN users ON users.id = own_keys.user
                 WHERE coalesce(ended, expires, ?1) >= ?1 - ?2
                 ORDER BY coalesce(ended, disabled) IS NOT NULL, own_keys.created, own_keys.id";
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([now, REMEMBERED_MS])?;
    let mut keys = StoredKeys::default();
    while let Some(row) = rows.next()? {
        let key = key_of(row)?;
        let digest = <[u8; 32]>::try_from(row.get::<_, Vec<u8>>(8)?).map_err(|_| damaged("digest", &key))?;
        let roles: Vec<String> =
            serde_json::from_str(&row.get::<_, String>(10)?).map_err(|_| damaged("owner", &key))?;
        keys.add(entry((row.get(7)?, roles), key, digest, row.get(9)?));
    }
    Ok(keys)
}

fn damaged(part: &str, key: &OwnKey) -> AccountsError {
    AccountsError::Unavailable(format!("the {part} of the key `{}` is damaged", key.id))
}

/// The key in the first seven columns.
fn key_of(row: &Row<'_>) -> rusqlite::Result<OwnKey> {
    let (name, scopes) = (row.get(1)?, scopes(&row.get::<_, String>(2)?));
    let terms = OwnKeyTerms { name, scopes, expires: row.get(4)? };
    let (resource, is_strong) = (row.get(5)?, row.get(6)?);
    Ok(OwnKey { id: row.get(0)?, terms, created: row.get(3)?, resource, is_strong })
}

/// The entry of a key.
///
/// # Errors
/// With the reason why the policy would not read it.
fn entry(
    (owner, mut roles): KeyOwner,
    key: OwnKey,
    digest: [u8; 32],
    ended: Option<i64>,
) -> Result<StoredKey, String> {
    let OwnKey { id, terms, created, resource, is_strong } = key;
    roles.sort_unstable();
    let key = StoredKey {
        // The name of a user may be as long as that of an entry.
        name: format!("{owner}/{id}"),
        id,
        sha256: Sha256(digest),
        created: time(created),
        expires: terms.expires.map(time),
        revoked: ended.map(time),
        roles,
        scopes: terms.scopes,
        allow: Vec::new(),
        deny: Vec::new(),
        previous: None,
        owner: Some(owner),
        resource,
        single_factor: !is_strong,
    };
    let alone = Store { keys: vec![key.clone()], ..Store::default() };
    alone.check().map(|()| key).map_err(|error| error.to_string())
}

/// Whole seconds, of a time in milliseconds.
fn time(ms: i64) -> Time {
    Time(u64::try_from(ms / 1_000).unwrap_or_default())
}

fn scopes(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
