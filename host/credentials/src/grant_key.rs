//! The key of a grant: the credential, and the principal whose grant it is.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use witgate_base::digest::sha256;
use witgate_base::party::Principal;

/// The key of a grant in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrantKey {
    credential: Arc<str>,
    owner: Option<Principal>,
}

/// The owner of a grant, as its file names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenOwner {
    policy: String,
    issuer: Option<String>,
    subject: String,
}

impl GrantKey {
    /// The grant that all callers share.
    pub fn shared(credential: &Arc<str>) -> Self {
        Self { credential: Arc::clone(credential), owner: None }
    }

    /// The grant of one principal.
    pub fn of(credential: &Arc<str>, owner: Principal) -> Self {
        Self { credential: Arc::clone(credential), owner: Some(owner) }
    }

    /// The name of the credential.
    pub fn credential(&self) -> &Arc<str> {
        &self.credential
    }

    /// The owner. None: all callers share the grant.
    pub fn owner(&self) -> Option<&Principal> {
        self.owner.as_ref()
    }

    pub(crate) fn written_owner(&self) -> Option<WrittenOwner> {
        self.owner.as_ref().map(WrittenOwner::of)
    }

    /// The parts that distinguish this key from all others, for the encryption of values.
    pub(crate) fn parts(&self) -> Vec<&str> {
        let owner = self.owner.iter().flat_map(|owner| {
            let has_issuer = if owner.issuer().is_some() { "issuer" } else { "" };
            [owner.proven_by(), has_issuer, owner.issuer().unwrap_or_default(), owner.subject()]
        });
        std::iter::once(&*self.credential).chain(owner).collect()
    }

    /// The name of the file, without its ending. It contains no text of a principal, and is different for each key.
    pub(crate) fn file_name(&self) -> String {
        match &self.owner {
            None => encoded(&self.credential),
            Some(_) => format!("{}.{}", encoded(&self.credential), self.digest()),
        }
    }

    /// The beginning of the names of all files for principals.
    pub(crate) fn file_prefix(credential: &str) -> String {
        format!("{}.", encoded(credential))
    }

    fn digest(&self) -> String {
        let mut bytes = Vec::new();
        for part in self.parts() {
            bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        sha256(&bytes).iter().fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    }
}

impl WrittenOwner {
    fn of(owner: &Principal) -> Self {
        let (policy, subject) = (owner.proven_by().to_owned(), owner.subject().to_owned());
        Self { policy, issuer: owner.issuer().map(str::to_owned), subject }
    }

    pub(crate) fn principal(&self) -> Principal {
        Principal::new(self.policy.as_str().into(), self.issuer.as_deref(), &self.subject)
    }
}

impl fmt::Display for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            None => write!(f, "`{}`", self.credential),
            Some(owner) => write!(f, "`{}` of {:?}", self.credential, owner.subject()),
        }
    }
}

/// The name of a file for a credential. Characters other than letters, digits, `-` and `_` are encoded, so that names
/// cannot leave the directory or collide.
fn encoded(credential: &str) -> String {
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
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_in_the_directory_and_apart() {
        let names = ["../x", "a/b", "a%2fb", ".", "..", "é", "A", "a"];
        let names = names.map(|name| GrantKey::shared(&name.into()).file_name());
        assert!(names.iter().all(|name| !name.contains(['/', '.'])), "{names:?}");
        let apart: BTreeSet<_> = names.iter().collect();
        assert_eq!(apart.len(), names.len());
    }

    fn key(credential: &str, owner: Option<(&str, Option<&str>, &str)>) -> GrantKey {
        let owner = owner.map(|(policy, issuer, subject)| Principal::new(policy.into(), issuer, subject));
        GrantKey { credential: credential.into(), owner }
    }

    proptest! {
        #[test]
        fn different_keys_have_different_files_and_places(
            keys in prop::collection::vec(
                ("[ab]{0,2}", prop::option::of(("[ab]{0,2}", prop::option::of("[ab]{0,2}"), "[ab]{0,2}"))), 2)
        ) {
            let keys: Vec<_> = keys.iter().map(|(credential, owner)| {
                let owner = owner.as_ref().map(|(policy, issuer, subject)| (&**policy, issuer.as_deref(), &**subject));
                key(credential, owner)
            }).collect();
            let [one, other] = &*keys else { unreachable!() };
            prop_assert_eq!(one == other, one.file_name() == other.file_name());
            prop_assert_eq!(one == other, one.parts() == other.parts());
            let written = one.written_owner().map(|owner| owner.principal());
            prop_assert_eq!(written.as_ref(), one.owner());
        }
    }
}
