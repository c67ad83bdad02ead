//! The pages for people, and the OAuth endpoints for their clients.

mod account;
mod answers;
mod authorize;
mod browser;
mod challenge;
mod consent;
mod cookies;
mod form_token;
mod known_browser;
mod link;
mod login;
mod metadata;
mod own_keys;
mod pages;
pub mod params;
mod passkey_login;
mod passkeys;
mod password;
mod paths;
mod provider_login;
mod rare_lines;
mod register;
mod request;
mod revoke;
mod second_factor;
mod second_step;
#[cfg(test)]
mod tests;
mod token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use self::answers::not_allowed;
use self::cookies::Cookies;
use self::rare_lines::RareLines;
use crate::client::document::ClientDocuments;
use crate::database::now_ms;
use crate::database::sessions::BrowserSession;
use crate::error::AccountsError;
use crate::provider::Providers;
use crate::store::AccountStore;
use witgate_base::breaker::CallerDigest;
use witgate_config::account_logins::{provider_callback_path, provider_path};
use witgate_config::accounts::AccountSettings;
use witgate_services::network::Ways;
use witgate_services::passwords::PasswordChecks;

/// The largest body of a request, in bytes.
pub const LARGEST_BODY: usize = 32 << 10;

/// The most answers that wait in a pause. Further ones are sent at once.
const MOST_DELAYED: usize = 1_024;

/// The address of the one-time link with this secret, at the pages of this origin.
pub fn link_address(origin: &str, secret: &SecretString) -> String {
    format!("{origin}{}?code={}", paths::LINK, secret.expose_secret())
}

/// A request for the site.
pub struct SiteVisit {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The query, without the question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, of at most [`LARGEST_BODY`] bytes.
    pub body: Bytes,
    /// The address of the sender.
    pub peer: Option<IpAddr>,
}

/// Bodies, queries and cookies have secrets.
impl std::fmt::Debug for SiteVisit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, path, peer, .. } = self;
        f.debug_struct("SiteVisit")
            .field("method", method)
            .field("path", path)
            .field("peer", peer)
            .finish_non_exhaustive()
    }
}

impl SiteVisit {
    fn source(&self) -> CallerDigest {
        CallerDigest::of_peer(self.peer)
    }
}

/// An attempt to log in.
#[derive(Clone, Copy, Debug)]
pub struct LoginAttempt<'a> {
    /// The address of the sender.
    pub peer: Option<IpAddr>,
    /// The name of the user.
    pub name: &'a str,
    /// The id of the browser, if this user has logged in there before. No attempts of others count for it.
    pub browser: Option<[u8; 16]>,
}

/// The pauses after failed logins.
pub trait LoginGuard: Send + Sync {
    /// Begins an attempt.
    ///
    /// # Errors
    /// During a pause: the seconds until the sender may try again.
    fn begin(&self, attempt: LoginAttempt<'_>) -> Result<Box<dyn LoginTicket>, u32>;
}

/// An attempt to log in that is being judged. If it is dropped, it counts as failed: somebody who goes away before the
/// answer has tried all the same.
pub trait LoginTicket: Send + Sync {
    /// Ends the attempt, which was right.
    fn succeed(self: Box<Self>);

    /// Ends the attempt, which nobody has judged.
    fn withdraw(self: Box<Self>);
}

/// The pages and endpoints of accounts.
pub struct AccountSite {
    settings: AccountSettings,
    store: Arc<AccountStore>,
    documents: ClientDocuments,
    passwords: Arc<PasswordChecks>,
    guard: Arc<dyn LoginGuard>,
    cookies: Cookies,
    providers: Providers,
    lines: RareLines,
    /// The answers in a pause that may wait at the same time.
    delays: Semaphore,
    routes: HashMap<String, SiteRoute>,
}

/// The page or endpoint at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SiteRoute {
    Metadata,
    Keys,
    Authorize,
    Consent,
    Token,
    Register,
    Revoke,
    Login,
    Code,
    Link,
    PasskeyLogin,
    Logout,
    Account,
    Password,
    SecondFactor,
    Passkeys,
    OwnKeys,
    /// The beginning of a login at the provider with this number.
    LeaveForProvider(usize),
    /// Its end.
    ArriveFromProvider(usize),
}

impl SiteRoute {
    /// True if pages of all origins may read the answers, because no cookie counts for them.
    fn is_for_programs(self) -> bool {
        matches!(self, Self::Metadata | Self::Keys | Self::Token | Self::Register | Self::Revoke)
    }

    /// The methods, for `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Self::Metadata | Self::Keys | Self::Authorize | Self::ArriveFromProvider(_) => "GET",
            Self::LeaveForProvider(_) | Self::Consent | Self::Token | Self::Register | Self::Revoke => "POST",
            Self::Login | Self::Code | Self::Link | Self::PasskeyLogin | Self::Logout => "GET, POST",
            Self::Account | Self::Password | Self::SecondFactor | Self::Passkeys | Self::OwnKeys => {
                "GET, POST"
            }
        }
    }
}

impl std::fmt::Debug for AccountSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountSite").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl AccountSite {
    /// The site of these accounts.
    pub fn new(
        settings: AccountSettings,
        store: impl Into<Arc<AccountStore>>,
        ways: Arc<Ways>,
        passwords: Arc<PasswordChecks>,
        guard: Arc<dyn LoginGuard>,
    ) -> Self {
        let providers = Providers::new(&settings.providers, &ways);
        let routes = routes(&settings, &providers);
        let cookies = Cookies::of(&settings);
        if !cookies.are_secure() {
            tracing::warn!(
                "cookies of logins have no `Secure`, because the issuer is plain HTTP on this machine"
            );
        }
        let (documents, lines) = (ClientDocuments::new(ways), RareLines::default());
        let delays = Semaphore::new(MOST_DELAYED);
        let store = store.into();
        Self { documents, settings, store, passwords, guard, cookies, lines, delays, providers, routes }
    }

    /// True if there is something at the path.
    pub fn has(&self, path: &str) -> bool {
        self.routes.contains_key(path)
    }

    /// True if pages of all origins may read the answers at the path.
    pub fn is_for_programs(&self, path: &str) -> bool {
        self.routes.get(path).is_some_and(|route| route.is_for_programs())
    }

    /// Answers a request.
    pub async fn respond(&self, visit: SiteVisit) -> Response<Bytes> {
        let Some(route) = self.routes.get(&visit.path).copied() else { return answers::nothing_here() };
        let is_get = matches!(visit.method, Method::GET | Method::HEAD);
        let is_post = visit.method == Method::POST;
        match route {
            SiteRoute::Metadata if is_get => metadata::document(&self.settings),
            SiteRoute::Keys if is_get => metadata::keys(self.store.keys().document()),
            SiteRoute::Authorize if is_get => self.authorize(&visit).await,
            SiteRoute::Consent if is_post => self.consent(&visit).await,
            SiteRoute::Token if is_post => self.token(&visit).await,
            SiteRoute::Register if is_post => self.register(&visit),
            SiteRoute::Revoke if is_post => self.revoke(&visit).await,
            SiteRoute::Login if is_get => self.login_page(&visit),
            SiteRoute::Login if is_post => self.log_in(&visit).await,
            SiteRoute::Code if is_get => self.code_page(&visit).await,
            SiteRoute::Code if is_post => self.take_code(&visit).await,
            SiteRoute::Link if is_get => self.link_page(&visit).await,
            SiteRoute::Link if is_post => self.use_link(&visit).await,
            SiteRoute::PasskeyLogin if is_get => self.passkey_page(&visit),
            SiteRoute::PasskeyLogin if is_post => self.log_in_by_passkey(&visit).await,
            SiteRoute::Logout if is_get => self.logout_page(&visit).await,
            SiteRoute::Logout if is_post => self.log_out(&visit).await,
            SiteRoute::Account if is_get => self.account_page(&visit).await,
            SiteRoute::Account if is_post => self.change_account(&visit).await,
            SiteRoute::Password if is_get => self.password_page(&visit).await,
            SiteRoute::Password if is_post => self.change_own_password(&visit).await,
            SiteRoute::SecondFactor if is_get => self.factor_page(&visit).await,
            SiteRoute::SecondFactor if is_post => self.change_factor(&visit).await,
            SiteRoute::Passkeys if is_get => self.passkeys_page(&visit).await,
            SiteRoute::Passkeys if is_post => self.change_passkeys(&visit).await,
            SiteRoute::OwnKeys if is_get => self.own_keys_page(&visit).await,
            SiteRoute::OwnKeys if is_post => self.change_own_keys(&visit).await,
            SiteRoute::LeaveForProvider(provider) if is_post => self.leave_for_provider(&visit, provider),
            // A program that looks at addresses must not use a login up.
            SiteRoute::ArriveFromProvider(provider) if visit.method == Method::GET => {
                self.arrive_from_provider(&visit, provider).await
            }
            _ => not_allowed(route.methods()),
        }
    }

    /// The session of the browser, with its secret. None: nobody is logged in.
    async fn session(
        &self,
        visit: &SiteVisit,
    ) -> Result<Option<(BrowserSession, SecretString)>, AccountsError> {
        let Some(secret) = self.cookies.session(&visit.headers) else { return Ok(None) };
        let (settings, shown) = (self.settings.clone(), secret.clone());
        let find = move |database: &mut crate::database::AccountDatabase| {
            database.session(&shown, &settings, now_ms())
        };
        let found = self.store.run(visit.source(), find).await?;
        Ok(found.map(|session| (session, secret)))
    }
}

/// The paths. The aliases are for clients that do not read the metadata, and for those of 2025-03-26.
fn routes(settings: &AccountSettings, providers: &Providers) -> HashMap<String, SiteRoute> {
    let mut routes: HashMap<_, _> = [
        ("/oauth/jwks", SiteRoute::Keys),
        ("/oauth/authorize", SiteRoute::Authorize),
        ("/oauth/consent", SiteRoute::Consent),
        ("/oauth/token", SiteRoute::Token),
        ("/oauth/revoke", SiteRoute::Revoke),
        ("/authorize", SiteRoute::Authorize),
        ("/token", SiteRoute::Token),
        ("/login", SiteRoute::Login),
        ("/logout", SiteRoute::Logout),
        (paths::CODE, SiteRoute::Code),
        (paths::LINK, SiteRoute::Link),
        ("/account", SiteRoute::Account),
        ("/account/password", SiteRoute::Password),
        (paths::SECOND_FACTOR, SiteRoute::SecondFactor),
        ("/account/keys", SiteRoute::OwnKeys),
    ]
    .map(|(path, route)| (path.to_owned(), route))
    .into();
    if settings.passkey_host().is_some() {
        let paths = [(paths::PASSKEY_LOGIN, SiteRoute::PasskeyLogin), (paths::PASSKEYS, SiteRoute::Passkeys)];
        routes.extend(paths.map(|(path, route)| (path.to_owned(), route)));
    }
    if settings.takes_registrations {
        routes.extend(["/oauth/register", "/register"].map(|path| (path.to_owned(), SiteRoute::Register)));
    }
    routes.extend(metadata::paths(settings).map(|path| (path, SiteRoute::Metadata)));
    for (number, (name, _)) in providers.names().enumerate() {
        routes.insert(provider_path(name), SiteRoute::LeaveForProvider(number));
        routes.insert(provider_callback_path(name), SiteRoute::ArriveFromProvider(number));
    }
    routes
}
