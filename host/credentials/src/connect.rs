//! The accounts that callers connect. A caller without an account gets a link. Whoever opens it has to prove that they
//! are the same principal; then they log in at the provider, and their grant is stored for this principal alone.

mod invitee;
mod link;
mod link_key;
mod link_table;
mod local_code;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::Url;
use witgate_plugin::Digest;
use zeroize::Zeroizing;

use crate::fault::OutboundProblem;
use crate::grant_key::GrantKey;
use crate::grant_store::{GrantError, GrantStore, StoredGrant};
use crate::login::{Login, LoginError};
use crate::registry::OutboundCredentials;
use crate::upstream_credential::UpstreamCredential;
pub use invitee::{Invitee, IssuedLink, LinkFacts};
use invitee::{grant, provider};
use link::{ConnectLink, LinkStage, random_text};
use link_key::LinkKey;
use link_table::LinkTable;
use witgate_base::clock;
use witgate_base::digest::sha256;
use witgate_base::party::Principal;
use witgate_base::seal::SealingKey;
use witgate_config::credentials::callback_path;

/// Connected accounts that a slow reader of announcements may miss.
const ANNOUNCED: usize = 64;

/// The lifetime of the state of a request for input.
const ROUND: Duration = Duration::from_secs(600);

/// The purpose of the key of these states.
const ROUND_PURPOSE: &str = "witgate connect round 1";

/// The time for which a call waits for the person. Clients give up after some ten seconds more.
const PATIENCE: Duration = Duration::from_secs(15);

/// The links of a process.
pub struct ConnectDesk {
    credentials: Arc<OutboundCredentials>,
    /// The port of the own listener on loopback, over stdio. None: the gateway's listener has the pages.
    local_port: Option<u16>,
    links: Mutex<LinkTable>,
    connected: broadcast::Sender<ConnectedPrincipal>,
    form_key: hmac::Key,
    round_key: SealingKey,
}

/// Finds the secret of the browser that has sent a request. The name of its cookie depends on the URL of the page.
pub type BrowserSecret<'a> = &'a (dyn Fn(&Url) -> Option<Box<str>> + Sync);

/// Finds the credential that the upstream at a place in the configuration has now. A reload may have replaced the one for
/// which a link was made.
pub type LiveCredential<'a> = &'a (dyn Fn(usize) -> Option<Arc<UpstreamCredential>> + Sync);

/// The proof that a browser belongs to the principal.
#[derive(Clone, Copy, Debug)]
pub enum ConnectProof<'a> {
    /// Somebody in this browser has shown a credential of this principal.
    Principal(&'a Principal),
    /// The browser runs on this machine, and the person has compared the number.
    SameMachine,
}

/// A principal who has connected an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedPrincipal {
    /// The principal.
    pub principal: Principal,
    /// The id of the link.
    pub id: Box<str>,
}

/// An account that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedAccount {
    /// The name at the provider, if it is known.
    pub account: Option<String>,
    /// The scopes that the person has not granted.
    pub not_granted: Vec<String>,
    /// The link, which can disconnect the account for some minutes.
    pub link: Box<str>,
}

/// The end of a login, for its principal and for the audit.
#[derive(Debug)]
pub struct ConnectOutcome {
    /// The credential.
    pub credential: Arc<UpstreamCredential>,
    /// The principal. None: the answer did not come from their browser.
    pub principal: Option<Principal>,
    /// The place of the upstream in the configuration.
    pub upstream: usize,
    /// The account, or the reason why there is none.
    pub result: Result<ConnectedAccount, OutboundProblem>,
}

/// The error if a link cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no such link, or not any more.
    #[error("the link is unknown, too old, or was used before")]
    Unknown,
    /// Something is against it.
    #[error("{0}")]
    Problem(OutboundProblem),
}

impl From<OutboundProblem> for LinkError {
    fn from(problem: OutboundProblem) -> Self {
        Self::Problem(problem)
    }
}

/// A login whose answer has come.
struct TakenLogin {
    invitee: Invitee,
    key: LinkKey,
    /// The digest of the secret of the browser.
    browser: Digest,
    /// None: the answer comes from another browser than the one that has proven to be that of the principal.
    login: Option<Arc<Login>>,
}

impl ConnectOutcome {
    /// The outcome for `invitee`, whose browser it is if `is_theirs`.
    fn of(invitee: &Invitee, is_theirs: bool, result: Result<ConnectedAccount, OutboundProblem>) -> Self {
        let principal = is_theirs.then(|| invitee.principal.clone());
        Self { credential: Arc::clone(&invitee.credential), principal, upstream: invitee.upstream, result }
    }
}

/// A change of a principal's account.
#[must_use = "nothing changes before `make`"]
pub struct AccountChange {
    invitee: Invitee,
    is_theirs: bool,
    work: BoxFuture<'static, Result<ConnectedAccount, OutboundProblem>>,
}

impl AccountChange {
    /// The change by `work` for `invitee`, whose browser it is if `is_theirs`.
    fn new(
        invitee: Invitee,
        is_theirs: bool,
        work: impl Future<Output = Result<ConnectedAccount, OutboundProblem>> + Send + 'static,
    ) -> Self {
        Self { invitee, is_theirs, work: Box::pin(work) }
    }

    /// The place of the upstream in the configuration.
    pub fn upstream(&self) -> usize {
        self.invitee.upstream
    }

    /// Makes the change. Nothing may interrupt it, because a code and a new grant exist only once.
    pub async fn make(self) -> ConnectOutcome {
        ConnectOutcome::of(&self.invitee, self.is_theirs, self.work.await)
    }
}

/// A link whose code is being exchanged. Unless that ends with an account, the link ends, too.
struct RedeemingLink {
    desk: Arc<ConnectDesk>,
    key: LinkKey,
}

impl RedeemingLink {
    fn new(desk: &Arc<ConnectDesk>, key: LinkKey) -> Self {
        Self { desk: Arc::clone(desk), key }
    }

    fn key(&self) -> &LinkKey {
        &self.key
    }
}

impl Drop for RedeemingLink {
    fn drop(&mut self) {
        self.desk.links.lock().remove_unless_connected(&self.key);
    }
}

impl ConnectDesk {
    /// The links to pages of the gateway's listener, or of a listener at `local_port` on loopback, for `credentials`.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn new(
        credentials: Arc<OutboundCredentials>,
        local_port: Option<u16>,
    ) -> Result<Arc<Self>, getrandom::Error> {
        let connected = broadcast::Sender::new(ANNOUNCED);
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)?;
        let form_key = hmac::Key::new(hmac::HMAC_SHA256, &*key);
        getrandom::fill(&mut *key)?;
        let round_key = SealingKey::of(&*key, ROUND_PURPOSE).ok_or(getrandom::Error::UNSUPPORTED)?;
        let links = Mutex::default();
        Ok(Arc::new(Self { credentials, local_port, links, connected, form_key, round_key }))
    }

    /// True if the pages are on a listener of their own on this machine.
    pub fn is_local(&self) -> bool {
        self.local_port.is_some()
    }

    /// The proof that a form was made for the browser with this secret, and for this link.
    pub fn form_token(&self, browser: &str, link: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.form_key, &form_text(browser, link)))
    }

    /// True if a form was made for the browser with this secret, and for this link.
    pub fn is_form_token(&self, token: &str, browser: &str, link: &str) -> bool {
        let tag = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        hmac::verify(&self.form_key, &form_text(browser, link), &tag).is_ok()
    }

    /// A link for a principal. It is the same one as long as nobody has used it.
    ///
    /// # Errors
    /// If there are no random numbers, or the URL of the page cannot be made.
    pub fn invite(&self, invitee: &Invitee) -> Result<IssuedLink, OutboundProblem> {
        let mut links = self.links.lock();
        if let Some(link) = links.unused(invitee) {
            return Ok(link.issued());
        }
        let page = self.page(invitee).ok_or_else(|| unusable("the page has no URL"))?;
        let code = self.local_port.map(|_| local_code::random().ok_or_else(no_random)).transpose()?;
        let link = ConnectLink::new(invitee, page, code).ok_or_else(no_random)?;
        let issued = link.issued();
        links.add(link);
        Ok(issued)
    }

    /// The facts of an unused link for `credential`.
    pub fn look(&self, credential: &str, link: &str) -> Option<LinkFacts> {
        let links = self.links.lock();
        let link = links.get(link)?;
        (link.is_for(credential) && matches!(link.stage, LinkStage::Open)).then(|| link.facts())
    }

    /// Uses a link for a credential in use: from now on, it belongs to the browser with this secret. Returns the URL of
    /// the provider.
    ///
    /// # Errors
    /// If the link is unknown, or whoever has opened it is not the principal. The link of another principal stays as it
    /// is.
    pub fn begin(
        &self,
        credential: &Arc<UpstreamCredential>,
        link: &str,
        browser: &str,
        proof: ConnectProof<'_>,
    ) -> Result<Url, LinkError> {
        let mut links = self.links.lock();
        let found = links.get_mut(link).filter(|found| Arc::ptr_eq(&found.invitee.credential, credential));
        let found = found.filter(|found| matches!(found.stage, LinkStage::Open)).ok_or(LinkError::Unknown)?;
        match proof {
            ConnectProof::Principal(principal) if *principal != found.invitee.principal => {
                return Err(denied("another caller has opened the link").into());
            }
            ConnectProof::SameMachine if self.local_port.is_none() => {
                return Err(denied("nothing proves who has opened the link").into());
            }
            ConnectProof::Principal(_) | ConnectProof::SameMachine => {}
        }
        let login = self.login(found)?;
        let url = login.url();
        let state = sha256(login.state().as_bytes());
        found.stage = LinkStage::LoggingIn { browser: sha256(browser.as_bytes()), login: Arc::new(login) };
        let key = found.key();
        links.note_state(state, key);
        Ok(url)
    }

    /// The end of a login: the provider has led a browser to `target`. The code is exchanged when the change is made.
    ///
    /// # Errors
    /// If the answer belongs to no login.
    pub fn finish(
        self: &Arc<Self>,
        credential: &str,
        target: &str,
        (browser, live): (BrowserSecret<'_>, LiveCredential<'_>),
    ) -> Result<AccountChange, LinkError> {
        let TakenLogin { invitee, key, browser, login } =
            self.take_login(credential, target, (browser, live))?;
        let Some(login) = login else {
            // Nothing says that whoever has sent this answer is the principal.
            let mismatch = async { Err(OutboundProblem::StateMismatch) };
            return Ok(AccountChange::new(invitee, false, mismatch));
        };
        let code = login.code(target).map_err(problem_of);
        let link = RedeemingLink::new(self, key);
        let (desk, of) = (Arc::clone(self), invitee.clone());
        let redeemed = async move {
            let grant = login.redeem(&code?).await.map_err(problem_of)?;
            desk.bind(&of, (&login, grant), (link, browser)).await
        };
        Ok(AccountChange::new(invitee, true, redeemed))
    }

    /// The page of a credential, and the host of its provider.
    pub fn facts(&self, invitee: &Invitee) -> Option<LinkFacts> {
        let provider = provider(&invitee.credential)?;
        Some(LinkFacts { upstream: invitee.upstream, code: None, page: self.page(invitee)?, provider })
    }

    /// The account that a principal has connected, with a new link that belongs to the browser with this secret.
    ///
    /// # Errors
    /// If there is none, or the grant cannot be read.
    pub async fn connected(
        &self,
        invitee: &Invitee,
        browser: &str,
    ) -> Result<ConnectedAccount, OutboundProblem> {
        let grant = stored(invitee).await?;
        let grant = grant.filter(|grant| !grant.has_ended).ok_or(OutboundProblem::NotConnected)?;
        let page = self.page(invitee).ok_or_else(|| unusable("the page has no URL"))?;
        let mut link = ConnectLink::new(invitee, page, None).ok_or_else(no_random)?;
        link.stage = LinkStage::Connected { browser: sha256(browser.as_bytes()) };
        let id = link.secret.clone();
        self.links.lock().add(link);
        Ok(ConnectedAccount { account: grant.account, not_granted: Vec::new(), link: id })
    }

    /// Forgets the grant that was connected with this link, in the same browser, when the change is made.
    ///
    /// # Errors
    /// If the link is unknown or belongs to another browser.
    pub fn disconnect(
        self: &Arc<Self>,
        credential: &str,
        link: &str,
        browser: BrowserSecret<'_>,
    ) -> Result<AccountChange, LinkError> {
        let invitee = {
            let mut links = self.links.lock();
            let found = links.get(link).filter(|found| found.is_for(credential)).ok_or(LinkError::Unknown)?;
            let LinkStage::Connected { browser: owner } = &found.stage else {
                return Err(LinkError::Unknown);
            };
            if !is_of(owner, browser(&found.page)) {
                return Err(OutboundProblem::StateMismatch.into());
            }
            let (invitee, key) = (found.invitee.clone(), found.key());
            links.remove(&key);
            invitee
        };
        let (desk, of) = (Arc::clone(self), invitee.clone());
        let removed = async move {
            let removed = removed(&of).await;
            desk.forget(&of);
            removed.map(|()| ConnectedAccount { account: None, not_granted: Vec::new(), link: "".into() })
        };
        Ok(AccountChange::new(invitee, true, removed))
    }

    /// The state of a request for input: it names a link, and is valid for this principal and this call alone. `None`:
    /// there are no random numbers.
    pub fn seal_round(&self, invitee: &Invitee, call: &Digest, link: &str) -> Option<String> {
        let end = clock::since_epoch().as_secs() + ROUND.as_secs();
        let call = URL_SAFE_NO_PAD.encode(call);
        self.round_key.seal(&place_of_round(invitee, &call), &format!("{end} {link}")).ok()
    }

    /// The link in a state. None: it was made for somebody else or another call, is too old, or was changed.
    pub fn open_round(&self, invitee: &Invitee, call: &Digest, state: &str) -> Option<Box<str>> {
        let call = URL_SAFE_NO_PAD.encode(call);
        let opened = self.round_key.open(&place_of_round(invitee, &call), state).ok()?;
        let (end, link) = opened.split_once(' ')?;
        let end: u64 = end.parse().ok()?;
        (clock::since_epoch().as_secs() < end).then(|| link.into())
    }

    /// Waits until the link with this id is used to its end, or for as long as a caller waits.
    pub async fn settled(&self, id: &str) {
        let mut announcements = self.announcements();
        if !self.links.lock().is_under_way(id) {
            return;
        }
        let connected = async {
            // One that was missed may have been this one.
            while let Ok(announced) = announcements.recv().await {
                if *announced.id == *id {
                    return;
                }
            }
        };
        // After that, the caller asks again.
        drop(timeout(PATIENCE, connected).await);
    }

    /// Announces each principal who connects an account from now on.
    pub fn announcements(&self) -> broadcast::Receiver<ConnectedPrincipal> {
        self.connected.subscribe()
    }

    /// Takes the login to which an answer belongs, for a credential that is still in use.
    fn take_login(
        &self,
        credential: &str,
        target: &str,
        (browser, live): (BrowserSecret<'_>, LiveCredential<'_>),
    ) -> Result<TakenLogin, LinkError> {
        let mismatch = || LinkError::Problem(OutboundProblem::StateMismatch);
        let state = state_in(target).ok_or_else(mismatch)?;
        let mut links = self.links.lock();
        let link = links.by_state(&sha256(state.as_bytes())).ok_or_else(mismatch)?;
        let LinkStage::LoggingIn { browser: owner, login } = &link.stage else { return Err(mismatch()) };
        let (invitee, key) = (link.invitee.clone(), link.key());
        if !live(invitee.upstream).is_some_and(|live| Arc::ptr_eq(&live, &invitee.credential)) {
            links.remove(&key);
            return Err(LinkError::Unknown);
        }
        let owner = *owner;
        if !link.is_for(credential) || !is_of(&owner, browser(&link.page)) {
            return Ok(TakenLogin { invitee, key, browser: owner, login: None });
        }
        let login = Some(Arc::clone(login));
        link.stage = LinkStage::Redeeming;
        Ok(TakenLogin { invitee, key, browser: owner, login })
    }

    /// Stores the grant of a principal.
    async fn bind(
        &self,
        invitee: &Invitee,
        (login, grant): (&Login, StoredGrant),
        (link, browser): (RedeemingLink, Digest),
    ) -> Result<ConnectedAccount, OutboundProblem> {
        write(invitee, grant.clone()).await?;
        self.forget(invitee);
        let text = self.links.lock().connect(link.key(), browser).unwrap_or_default();
        let (principal, id) = (invitee.principal.clone(), link.key().id().into());
        // Without readers, nobody has to know.
        drop(self.connected.send(ConnectedPrincipal { principal, id }));
        let not_granted = login.not_granted(&grant);
        Ok(ConnectedAccount { account: grant.account, not_granted, link: text })
    }

    /// Forgets what is in memory of a principal's grant.
    fn forget(&self, invitee: &Invitee) {
        self.credentials.forget(&invitee.credential.settings().name, &invitee.principal);
    }

    fn login(&self, link: &ConnectLink) -> Result<Login, OutboundProblem> {
        let mut redirect = link.page.clone();
        redirect.set_path(&format!("{}/callback", link.page.path()));
        Login::begin(link.invitee.credential.settings(), self.credentials.ways(), redirect)
            .map_err(problem_of)
    }

    /// The page of a credential.
    fn page(&self, invitee: &Invitee) -> Option<Url> {
        let settings = invitee.credential.settings();
        let grant = grant(&invitee.credential)?;
        let own = grant.connect.as_ref().and_then(|connect| connect.redirect_uri.clone());
        let callback = match (own, self.local_port) {
            (Some(own), _) => own,
            (None, Some(port)) => {
                let mut local = grant.redirect_uri.clone();
                local.set_port(Some(port)).ok()?;
                local.join(&callback_path(&settings.name)).ok()?
            }
            (None, None) => Url::parse(&invitee.resource).ok()?.join(&callback_path(&settings.name)).ok()?,
        };
        let mut page = callback.clone();
        page.set_path(callback.path().strip_suffix("/callback")?);
        page.set_query(None);
        Some(page)
    }
}

/// The place of a state, as additional data of its encryption.
fn place_of_round<'a>(invitee: &'a Invitee, call: &'a str) -> Vec<&'a str> {
    let principal = &invitee.principal;
    let has_issuer = if principal.issuer().is_some() { "issuer" } else { "" };
    vec![
        "request for input",
        principal.proven_by(),
        has_issuer,
        principal.issuer().unwrap_or_default(),
        principal.subject(),
        &invitee.credential.settings().name,
        call,
    ]
}

/// True if a browser with this secret is the one with this digest.
fn is_of(digest: &Digest, browser: Option<Box<str>>) -> bool {
    browser.is_some_and(|browser| sha256(browser.as_bytes()) == *digest)
}

fn form_text(browser: &str, link: &str) -> Vec<u8> {
    [browser.as_bytes(), b" ", link.as_bytes()].concat()
}

/// The value of `state` in an answer of a provider.
fn state_in(target: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let mut states = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "state");
    let state = states.next()?.1.into_owned();
    states.next().is_none().then_some(state)
}

/// Work on the stored grant of a principal, away from the threads of requests.
async fn with_store<T: Send + 'static>(
    invitee: &Invitee,
    work: impl FnOnce(GrantStore, GrantKey) -> Result<T, GrantError> + Send + 'static,
) -> Result<T, OutboundProblem> {
    let settings = grant(&invitee.credential).ok_or_else(|| unusable("it is no grant"))?;
    let store = GrantStore::of(settings);
    let key = GrantKey::of(&invitee.credential.settings().name, invitee.principal.clone());
    let done = spawn_blocking(move || work(store, key)).await;
    let done = done.map_err(|error| unusable(&error.to_string()))?;
    done.map_err(|error| unusable(&error.to_string()))
}

async fn stored(invitee: &Invitee) -> Result<Option<StoredGrant>, OutboundProblem> {
    with_store(invitee, |store, key| store.read(&key)).await
}

async fn write(invitee: &Invitee, grant: StoredGrant) -> Result<(), OutboundProblem> {
    with_store(invitee, move |store, key| store.write(&key, &grant, &store.lock(&key)?)).await
}

async fn removed(invitee: &Invitee) -> Result<(), OutboundProblem> {
    with_store(invitee, |store, key| store.remove(&key, &store.lock(&key)?).map(drop)).await
}

fn problem_of(error: LoginError) -> OutboundProblem {
    match error {
        LoginError::State | LoginError::NoAnswer => OutboundProblem::StateMismatch,
        LoginError::NoGrant(_) | LoginError::Client(_) | LoginError::Random | LoginError::Tokens(_) => {
            unusable(&error.to_string())
        }
        LoginError::Issuer(_) | LoginError::Refused(_) => denied(&error.to_string()),
        LoginError::Code(_) => denied("the code is too old or was used before, or PKCE verification failed"),
    }
}

fn denied(why: &str) -> OutboundProblem {
    OutboundProblem::ConnectDenied { why: why.into() }
}

fn unusable(why: &str) -> OutboundProblem {
    OutboundProblem::unreachable(why.to_owned())
}

fn no_random() -> OutboundProblem {
    unusable("there are no random numbers")
}

/// A new secret of a browser. None: there are no random numbers.
pub fn browser_secret() -> Option<Box<str>> {
    random_text()
}

#[cfg(test)]
mod tests;
