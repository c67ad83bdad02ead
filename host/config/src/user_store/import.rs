//! Imports users of other servers with the hashes of their passwords.

use std::collections::BTreeSet;
use std::fmt;

use witgate_basic::credential::composed;
use witgate_basic::hash::{HashFault, PasswordHash};
use witgate_basic::users::StoredUser;
use witgate_plugin::json::{self, Json, Object};
use witgate_stores::Time;

use super::{ExistingKeys, ImportChange, NewUser, UserStore, UserStoreError, entry, shows_itself};

/// Users of another server.
#[derive(Debug, Default)]
pub struct UserImport(Vec<ImportedUser>);

#[derive(Debug)]
struct ImportedUser {
    name: String,
    hash: PasswordHash,
    /// None: the file does not say.
    roles: Option<Vec<String>>,
}

/// The settings of an import.
#[derive(Clone, Debug)]
pub struct UserImportTerms {
    /// The roles of users for whom the file names none.
    pub roles: Vec<String>,
    /// Patterns of the calls that new users may make.
    pub allow: Vec<String>,
    /// The treatment of users whose names are in the store.
    pub existing: ExistingKeys,
    /// Nothing is written.
    pub dry_run: bool,
}

/// The faults of a file of users. It names the places, but never a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserImportError {
    /// It is neither a file of `htpasswd` nor JSON: the line, from 1, and the column if it is JSON.
    Form(usize, Option<usize>),
    /// A member of the JSON has another form: the name of the user.
    Member(String),
    /// A name occurs twice.
    Twice(String),
    /// Hashes that are not used: the name of each user, and the fault.
    Hashes(Vec<(String, HashFault)>),
}

impl fmt::Display for UserImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(line, None) => write!(f, "line {line}: not `NAME:HASH`, the form of htpasswd"),
            Self::Form(line, Some(column)) => {
                write!(f, "line {line}, column {column}: not {FORM}, each name once")
            }
            Self::Member(name) => write!(f, "the user `{name}` does not have the form {FORM}"),
            Self::Twice(name) => write!(f, "the name `{name}` occurs twice; leave one of the two"),
            Self::Hashes(faults) => {
                let lines: Vec<_> =
                    faults.iter().map(|(name, fault)| format!("`{name}` has {fault}")).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for UserImportError {}

const FORM: &str = r#"{"NAME": {"hash": "HASH", "roles": ["ROLE"]}}"#;

impl UserImport {
    /// Reads a file of `htpasswd`, or JSON.
    ///
    /// # Errors
    /// With all hashes that are not used, or with the first other fault.
    pub fn parse(text: &str) -> Result<Self, UserImportError> {
        let read = match text.trim_start().starts_with('{') {
            true => of_json(text)?,
            false => of_htpasswd(text)?,
        };
        let mut names = BTreeSet::new();
        let (mut users, mut faults) = (Vec::new(), Vec::new());
        for WrittenUser { name, hash, roles } in read {
            let name = composed(&name);
            if !names.insert(name.clone()) {
                return Err(UserImportError::Twice(name));
            }
            match hash.parse() {
                Ok(hash) => users.push(ImportedUser { name, hash, roles }),
                Err(fault) => faults.push((name, fault)),
            }
        }
        if faults.is_empty() { Ok(Self(users)) } else { Err(UserImportError::Hashes(faults)) }
    }

    /// True if the file has no users.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A user as a file has it.
struct WrittenUser {
    name: String,
    hash: String,
    roles: Option<Vec<String>>,
}

fn of_htpasswd(text: &str) -> Result<Vec<WrittenUser>, UserImportError> {
    let mut users = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').ok_or(UserImportError::Form(number, None))?;
        users.push(WrittenUser { name: name.to_owned(), hash: hash.to_owned(), roles: None });
    }
    Ok(users)
}

fn of_json(text: &str) -> Result<Vec<WrittenUser>, UserImportError> {
    let object = json::parse_object(text);
    let object = object.map_err(|error| UserImportError::Form(error.line(), Some(error.column())))?;
    let user = |(name, value): (&str, &Json<'_>)| {
        let written = value.as_object().and_then(written);
        let (hash, roles) = written.ok_or_else(|| UserImportError::Member(name.to_owned()))?;
        Ok(WrittenUser { name: name.to_owned(), hash, roles })
    };
    object.iter().map(user).collect()
}

fn written(user: &Object<'_>) -> Option<(String, Option<Vec<String>>)> {
    let text = |value: &Json<'_>| value.as_str().map(str::to_owned);
    let (mut hash, mut roles) = (None, None);
    for (name, value) in user.iter() {
        match (name, value) {
            ("hash", value) => hash = Some(text(value)?),
            ("roles", Json::Array(items)) => roles = Some(items.iter().map(text).collect::<Option<_>>()?),
            _ => return None,
        }
    }
    Some((hash?, roles))
}

impl UserStore {
    /// Imports users: all of them or none.
    ///
    /// # Errors
    /// If a name is in use, a user is invalid, or the store cannot be changed.
    pub fn import(
        &self,
        import: &UserImport,
        terms: &UserImportTerms,
        now: Time,
    ) -> Result<Vec<(ImportChange, StoredUser)>, UserStoreError> {
        self.change(terms.dry_run, |users| {
            let mut changes = Vec::with_capacity(import.0.len());
            for imported in &import.0 {
                let known = users.users.iter_mut().find(|user| user.name == imported.name);
                let change = match known {
                    Some(user) => update(user, imported, terms.existing)?,
                    None => {
                        let user = entry(users, imported.new_user(terms), now)?;
                        users.users.push(user.clone());
                        (ImportChange::Added, user)
                    }
                };
                changes.push(change);
            }
            Ok(changes)
        })
    }
}

impl ImportedUser {
    fn new_user(&self, terms: &UserImportTerms) -> NewUser {
        NewUser {
            name: self.name.clone(),
            hash: self.hash.clone(),
            roles: self.roles.clone().unwrap_or_else(|| terms.roles.clone()),
            scopes: Vec::new(),
            allow: terms.allow.clone(),
            deny: Vec::new(),
        }
    }
}

fn update(
    user: &mut StoredUser,
    imported: &ImportedUser,
    existing: ExistingKeys,
) -> Result<(ImportChange, StoredUser), UserStoreError> {
    let has_roles = imported.roles.as_ref().is_none_or(|roles| *roles == user.roles);
    let change = match existing {
        _ if user.hash == imported.hash && has_roles => ImportChange::Unchanged,
        ExistingKeys::Refuse => return Err(UserStoreError::TakenByAnother(user.name.clone())),
        ExistingKeys::Skip => ImportChange::Skipped,
        ExistingKeys::Update => {
            user.hash = imported.hash.clone();
            if let Some(roles) = &imported.roles {
                roles.iter().try_for_each(|role| shows_itself("role", role))?;
                user.roles.clone_from(roles);
            }
            ImportChange::Updated
        }
    };
    Ok((change, user.clone()))
}
