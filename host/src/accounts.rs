//! The accounts of a running gateway: their pages beside the endpoints, the pauses after failed logins, their events and
//! their metrics.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::operation::OperationLog;
use witgate_accounts::error::AccountsError;
use witgate_accounts::meters::AccountMeters;
use witgate_accounts::site::{AccountSite, LARGEST_BODY, LoginAttempt, LoginGuard, LoginTicket, SiteVisit};
use witgate_accounts::store::AccountStore;
use witgate_config::accounts::AccountSettings;
use witgate_flow::lockout::{LockoutTable, LoginTrial, PageLogin};
use witgate_policy::generation::Generations;
use witgate_runtime::metrics::Metrics;
use witgate_server::http::Site;
use witgate_services::network::Ways;
use witgate_services::passwords::PasswordChecks;

/// Accounts that are open, before there are pages.
pub(crate) struct OpenAccounts {
    settings: AccountSettings,
    store: AccountStore,
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
    pub(crate) fn open(
        settings: Option<&AccountSettings>,
        audit: &OperationLog,
    ) -> Result<Option<Self>, AccountsError> {
        let Some(settings) = settings else { return Ok(None) };
        let audit = audit.clone();
        let sink = Arc::new(move |event| audit.account_changed(&event));
        let store = AccountStore::open_recorded(&settings.place, sink)?;
        Ok(Some(Self { settings: settings.clone(), store }))
    }

    /// Registers the metrics of accounts.
    pub(crate) fn register(&self, metrics: &Metrics) {
        let collector = AccountCollector(Arc::clone(self.store.meters()));
        metrics.register(|registry| registry.register_collector(Box::new(collector)));
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
    fn begin(&self, attempt: LoginAttempt<'_>) -> Result<Box<dyn LoginTicket>, u32> {
        let LoginAttempt { peer, name, browser } = attempt;
        let login = PageLogin { peer, name, browser };
        let trial = self.lockout.begin_login(self.generations.live().lockout(), login)?;
        Ok(Box::new(PageTrial(trial)))
    }
}

struct PageTrial(LoginTrial);

impl LoginTicket for PageTrial {
    fn succeed(self: Box<Self>) {
        self.0.end();
    }

    fn withdraw(self: Box<Self>) {
        self.0.end();
    }
}

/// The metrics of accounts.
#[derive(Debug)]
struct AccountCollector(Arc<AccountMeters>);

impl Collector for AccountCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self(meters) = self;
        for (name, help, counts) in [
            ("account_logins", "Attempts to log in at Witgate, by outcome", meters.logins()),
            ("account_tokens", "Requests of clients for tokens of accounts, by outcome", meters.tokens()),
        ] {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (outcome, count) in counts {
                let labels = [("outcome", outcome)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let listed = i64::try_from(meters.listed()).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("account_endings", "Ended logins whose tokens have not expired", listed),
            (
                "accounts_behind",
                "1 if logins may have ended that policies still accept",
                i64::from(meters.is_behind()),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
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
