//! Users: their store, files to import, hashes, and the credentials of HTTP Basic.
//!
//! The input is read as each of them. What is read is written and read again, a name is one that a request can carry,
//! and no error has a word of a hash or a password.

use std::fmt::{Debug, Display};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use witgate_basic::credential::{LONGEST_PASSWORD, UserPassword};
use witgate_basic::hash::PasswordHash;
use witgate_basic::users::Users;
use witgate_config::user_store::{UserImport, UserImportError};

/// A part of a hash or a password in the seeds.
const MARK: &str = "SECRETSECRETSECRET";

/// Reads an input as each of the forms.
///
/// # Panics
/// Where something does not hold.
pub fn check(data: &[u8]) {
    credential(&STANDARD.encode(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    credential(text);
    store(text);
    hash(text.trim_end());
    if let Err(error @ UserImportError::Form(..)) = UserImport::parse(text) {
        silent(&error);
    }
}

fn store(text: &str) {
    match Users::parse(text) {
        Ok(users) => {
            for user in &users.users {
                assert!(!user.name.contains(':') && !user.name.chars().any(char::is_control));
                let sent = UserPassword::parse(&STANDARD.encode(format!("{}:x", user.name))).unwrap();
                assert_eq!(sent.name, user.name, "a name that is stored can be sent");
            }
            // The time of a user may be one that TOML cannot write.
            if let Ok(written) = users.to_toml() {
                assert_eq!(Users::parse(&written).unwrap(), users);
            }
        }
        // A secret may be in the place of a key, which is told.
        Err(error) => {
            let values = text.matches(&format!("= \"{MARK}")).count();
            if values == text.matches(MARK).count() {
                silent(&error);
            }
        }
    }
}

fn hash(text: &str) {
    match text.parse::<PasswordHash>() {
        Ok(hash) => {
            assert_eq!(hash.as_str(), text);
            let decoy = hash.decoy();
            assert_eq!((decoy.kind(), decoy.as_str().len()), (hash.kind(), text.len()));
            assert_eq!(decoy.as_str().parse::<PasswordHash>().unwrap(), decoy);
            assert!(!format!("{hash:?}").contains(MARK));
        }
        Err(error) => silent(&error),
    }
}

fn credential(text: &str) {
    match UserPassword::parse(text) {
        Ok(shown) => {
            assert!(!shown.name.contains(':') && !shown.name.chars().any(char::is_control));
            assert!(shown.password.len() <= 3 * LONGEST_PASSWORD);
            let again = format!("{}:{}", shown.name, *shown.password);
            let again = UserPassword::parse(&STANDARD.encode(again));
            // The composed form may be longer than permitted.
            if let Ok(again) = again {
                assert_eq!((again.name, again.password), (shown.name, shown.password));
            }
        }
        Err(error) => silent(&error),
    }
}

/// Checks that an error has no part of a secret.
fn silent(error: &(impl Display + Debug)) {
    let said = format!("{error} {error:?}");
    assert!(!said.contains(MARK), "{said}");
}
