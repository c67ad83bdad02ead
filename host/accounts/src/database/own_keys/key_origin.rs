//! The origin of a key, and its consequences.

use rusqlite::{OptionalExtension as _, Transaction};

use super::{OwnKeyFault, OwnKeyTerms};
use crate::database::grants::GrantId;
use crate::database::{AccountDatabase, ms};
use crate::error::AccountsError;
use crate::login_method::LoginMethod;
use witgate_config::accounts::AccountSettings;

/// The origin of a key.
#[derive(Clone, Copy, Debug)]
pub enum KeyOrigin<'a> {
    /// By an operator, at the command line.
    Operator,
    /// By the owner, who has logged in like this in a browser.
    Owner(LoginMethod),
    /// By a program that has this grant.
    Program(GrantId, &'a AccountSettings),
}

/// The consequences of the origin of a key.
pub(super) struct KeyLimits {
    /// True if the owner had shown a second factor, or an operator makes the key.
    pub(super) is_strong: bool,
    /// The program that makes it.
    program: Option<KeyProgram>,
}

/// A program that makes a key.
struct KeyProgram {
    grant: GrantId,
    client: String,
    /// The resource of its tokens.
    resource: String,
}

impl KeyLimits {
    /// The grant with which the key ends.
    pub(super) fn grant(&self) -> Option<GrantId> {
        self.program.as_ref().map(|program| program.grant)
    }

    /// The id of the client that makes it.
    pub(super) fn client(&self) -> Option<String> {
        self.program.as_ref().map(|program| program.client.clone())
    }

    /// The only resource that the key is for.
    pub(super) fn resource(&self) -> Option<String> {
        self.program.as_ref().map(|program| program.resource.clone())
    }
}

impl AccountDatabase {
    /// The time at which a grant of this user ends at the latest if it is not used again, in milliseconds since 1970.
    /// None: there is no live one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn grant_end(
        &self,
        user: &str,
        id: GrantId,
        settings: &AccountSettings,
    ) -> Result<Option<i64>, AccountsError> {
        let query = "SELECT created, used FROM grants WHERE id = ?1 AND user = ?2 AND ended IS NULL";
        let ends = |created: i64, used: i64| end(created, used, settings);
        let row = self.connection.query_row(query, (id, user), |row| Ok(ends(row.get(0)?, row.get(1)?)));
        Ok(row.optional()?)
    }
}

impl KeyOrigin<'_> {
    /// The limits of a new key with these terms. A program gets no key that lives longer than its grant.
    pub(super) fn limits(
        self,
        transaction: &Transaction<'_>,
        user: &str,
        terms: &OwnKeyTerms,
    ) -> Result<KeyLimits, OwnKeyFault> {
        let (grant, settings) = match self {
            Self::Operator => return Ok(KeyLimits { is_strong: true, program: None }),
            Self::Owner(method) => {
                return Ok(KeyLimits { is_strong: method.is_strong(), program: None });
            }
            Self::Program(grant, settings) => (grant, settings),
        };
        let query = "SELECT client, resource, method, created, used FROM grants
                     WHERE id = ?1 AND user = ?2 AND ended IS NULL";
        let row = transaction.query_row(query, (grant, user), |row| {
            let method: String = row.get(2)?;
            let program = KeyProgram { grant, client: row.get(0)?, resource: row.get(1)? };
            Ok((program, LoginMethod::of_word(&method), end(row.get(3)?, row.get(4)?, settings)))
        });
        let (program, method, end) = row.optional()?.ok_or(OwnKeyFault::Login)?;
        match terms.expires {
            Some(expires) if expires <= end => {
                Ok(KeyLimits { is_strong: method.is_strong(), program: Some(program) })
            }
            _ => Err(OwnKeyFault::AfterLogin),
        }
    }
}

fn end(created: i64, used: i64, settings: &AccountSettings) -> i64 {
    (created + ms(settings.refresh_ttl)).min(used + ms(settings.refresh_idle))
}
