//! The accounts of a running gateway: their pages beside the endpoints, and the pauses after failed logins.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};

use crate::caller_tools::CallerAccounts;
use witgate_accounts::error::AccountsError;
use witgate_accounts::site::{AccountSite, LARGEST_BODY, LoginAttempt, LoginGuard, SiteVisit};
use witgate_accounts::store::AccountStore;
use witgate_config::accounts::AccountSettings;
use witgate_flow::lockout::LockoutTable;
use witgate_policy::generation::Generations;
use witgate_server::http::Site;
use witgate_services::network::Ways;
use witgate_services::passwords::PasswordChecks;

/// Accounts that are open, before there are pages.
pub(crate) struct OpenAccounts {
    settings: AccountSettings,
    store: Arc<AccountStore>,
}

/// The parts of a gateway that pages use.
pub(crate) struct PageParts {
    pub(crate) ways: Arc<Ways>,
    pub(crate) passwords: Arc<PasswordChecks>,
    pub(crate) lockout: Arc<LockoutTable>,
    pub(crate) generations: Arc<Generations>,
}

impl OpenAccounts {
    /// Opens the accounts, and writes the files from which policies judge their tokens. It blocks the thread for
    /// milliseconds. None: there are no accounts.
    ///
    /// # Errors
    /// If they cannot be used.
    pub(crate) fn open(settings: Option<&AccountSettings>) -> Result<Option<Self>, AccountsError> {
        let Some(settings) = settings else { return Ok(None) };
        let store = Arc::new(AccountStore::open(&settings.place)?);
        Ok(Some(Self { settings: settings.clone(), store }))
    }

    /// The accounts, for own tools.
    pub(crate) fn for_tools(&self) -> CallerAccounts {
        CallerAccounts { settings: self.settings.clone(), store: Arc::clone(&self.store) }
    }

    /// The pages and endpoints.
    pub(crate) fn site(self, parts: PageParts) -> Arc<dyn Site> {
        let PageParts { ways, passwords, lockout, generations } = parts;
        let guard = Arc::new(LoginPauses { lockout, generations });
        Arc::new(SiteOfAccounts(AccountSite::new(self.settings, self.store, ways, passwords, guard)))
    }
}

/// The pauses of the live generation.
struct LoginPauses {
    lockout: Arc<LockoutTable>,
    generations: Arc<Generations>,
}

impl LoginGuard for LoginPauses {
    fn pause(&self, LoginAttempt { peer, name, password }: LoginAttempt<'_>) -> Option<u32> {
        self.lockout.login_pause(self.generations.live().lockout(), peer, (name, password))
    }

    fn note(&self, LoginAttempt { peer, name, password }: LoginAttempt<'_>, is_right: bool) {
        self.lockout.note_login(self.generations.live().lockout(), peer, (name, password), is_right);
    }
}

struct SiteOfAccounts(AccountSite);

impl Site for SiteOfAccounts {
    fn has(&self, path: &str) -> bool {
        self.0.has(path)
    }

    fn is_for_programs(&self, path: &str) -> bool {
        self.0.is_for_programs(path)
    }

    fn largest_body(&self) -> usize {
        LARGEST_BODY
    }

    fn respond(&self, request: Request<Bytes>, peer: Option<IpAddr>) -> BoxFuture<'_, Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let visit = SiteVisit {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body,
            peer,
        };
        Box::pin(self.0.respond(visit))
    }
}
