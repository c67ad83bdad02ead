//! Accounts in a temporary directory.

use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;
use witgate_basic::hash::{PasswordHash, RECOMMENDED};

use crate::database::AccountDatabase;
use crate::database::sessions::SessionStart;
use crate::database::users::AccountUser;
use crate::login_method::LoginMethod;
use witgate_config::accounts::{AccountPlace, AccountResource, AccountSettings, SecondFactorRule};
use witgate_services::passwords::algorithm::hash_of;

pub(crate) const ISSUER: &str = "https://mcp.example.com";
pub(crate) const RESOURCE: &str = "https://mcp.example.com/mcp";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The beginning of a session with a password alone.
pub(crate) fn password_start() -> SessionStart {
    SessionStart::here(LoginMethod::Password, "Firefox on Linux")
}

/// The accounts, with the user `ada`.
pub(crate) struct TestAccounts {
    pub(crate) folder: TempDir,
    pub(crate) settings: AccountSettings,
    pub(crate) ada: AccountUser,
}

impl TestAccounts {
    pub(crate) fn new() -> Self {
        Self::with_hash(&PasswordHash::nobody())
    }

    /// With the password [`PASSWORD`].
    pub(crate) fn with_password() -> Self {
        Self::with_hash(&hash_of(PASSWORD, RECOMMENDED).unwrap())
    }

    fn with_hash(hash: &PasswordHash) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = AccountPlace::new(folder.path().join("accounts.db"), &folder.path().join("state"));
        let mut database = AccountDatabase::make(&place).unwrap();
        let ada = database.add_user("ada", hash, &["ops".to_owned()]).unwrap();
        let day = Duration::from_secs(86_400);
        let settings = AccountSettings {
            place,
            issuer: ISSUER.to_owned(),
            access_ttl: Duration::from_secs(3_600),
            refresh_ttl: 30 * day,
            refresh_idle: 14 * day,
            session_ttl: day / 2,
            session_idle: Duration::from_secs(1_800),
            takes_documents: true,
            takes_registrations: true,
            scopes: BTreeMap::from([("mcp:read".to_owned(), "Read your notes".to_owned())]),
            password_cost: RECOMMENDED,
            service_names: vec!["mcp.example.com".to_owned()],
            second_factor: SecondFactorRule::Roles(Vec::new()),
            second_factor_remembered: 30 * day,
            resources: vec![AccountResource {
                url: RESOURCE.to_owned(),
                path: "/mcp".to_owned(),
                name: "Notes".to_owned(),
            }],
            providers: Vec::new(),
        };
        Self { folder, settings, ada }
    }

    pub(crate) fn place(&self) -> &AccountPlace {
        &self.settings.place
    }

    pub(crate) fn open(&self) -> AccountDatabase {
        AccountDatabase::open(self.place()).unwrap()
    }

    pub(crate) fn ended(&self) -> String {
        std::fs::read_to_string(self.place().ended()).unwrap()
    }
}
