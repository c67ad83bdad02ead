//! The accounts that callers connect. A caller without an account gets a link. Whoever opens it has to prove that they
//! are the same principal; then they log in at the provider, and their grant is stored for this principal alone.

mod link;
mod link_table;
mod local_code;

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::broadcast;
use tokio::task::spawn_blocking;
use url::Url;
use witgate_plugin::Digest;
use zeroize::Zeroizing;

use crate::fault::OutboundProblem;
use crate::grant_key::GrantKey;
use crate::grant_store::{GrantError, GrantStore, StoredGrant};
use crate::login::{Login, LoginError};
use crate::upstream_credential::UpstreamCredential;
use link::{ConnectLink, LinkStage, random_text};
use link_table::{LinkKey, LinkTable};
use witgate_base::digest::sha256;
use witgate_base::party::Principal;
use witgate_config::credentials::{GrantSettings, OutboundSource, callback_path};
use witgate_runtime::workers;
use witgate_services::network::Ways;

/// Connected accounts that a slow reader of announcements may miss.
const ANNOUNCED: usize = 64;

/// The links of a process.
pub struct ConnectDesk {
    ways: Arc<Ways>,
    /// The port of the own listener on loopback, over stdio. None: the gateway's listener has the pages.
    local_port: Option<u16>,
    links: Mutex<LinkTable>,
    connected: broadcast::Sender<ConnectedPrincipal>,
    form_key: hmac::Key,
}

/// The principal who gets a link, and the reason.
#[derive(Clone)]
pub struct Invitee {
    /// The credential.
    pub credential: Arc<UpstreamCredential>,
    /// The principal.
    pub principal: Principal,
    /// The place of the upstream in the configuration, whose policies know the principal.
    pub upstream: usize,
    /// The resource identifier of the upstream, at whose origin the page is.
    pub resource: Arc<str>,
}

/// A link, for the principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedLink {
    /// The page.
    pub url: Url,
    /// The number that the page shows, over stdio.
    pub code: Option<Box<str>>,
    /// The id of the link. It opens nothing.
    pub id: Box<str>,
}

impl IssuedLink {
    /// The text of the link in its URL.
    pub fn link(&self) -> Option<String> {
        self.url.query_pairs().find(|(name, _)| name == "t").map(|(_, link)| link.into_owned())
    }
}

/// What the page may show to anybody who has a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// The place of the upstream in the configuration.
    pub upstream: usize,
    /// The number to compare, over stdio.
    pub code: Option<Box<str>>,
    /// The page, without the link.
    pub page: Url,
    /// The host of the provider.
    pub provider: Box<str>,
}

/// Finds the secret of the browser that has sent a request. The name of its cookie depends on the URL of the page.
pub type BrowserSecret<'a> = &'a (dyn Fn(&Url) -> Option<Box<str>> + Sync);

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

impl ConnectDesk {
    /// The links to pages of the gateway's listener, or of a listener at `local_port` on loopback.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn new(ways: Arc<Ways>, local_port: Option<u16>) -> Result<Arc<Self>, getrandom::Error> {
        let connected = broadcast::Sender::new(ANNOUNCED);
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)?;
        let form_key = hmac::Key::new(hmac::HMAC_SHA256, &*key);
        Ok(Arc::new(Self { ways, local_port, links: Mutex::default(), connected, form_key }))
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

    /// Uses a link: from now on, it belongs to the browser with this secret. Returns the URL of the provider.
    ///
    /// # Errors
    /// If the link is unknown, or whoever has opened it is not the principal. The link of another principal stays as it
    /// is.
    pub fn begin(
        &self,
        credential: &str,
        link: &str,
        browser: &str,
        proof: ConnectProof<'_>,
    ) -> Result<Url, LinkError> {
        let mut links = self.links.lock();
        let found = links.get_mut(link).filter(|found| found.is_for(credential));
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

    /// The end of a login: the provider has led a browser to `target`. What has begun goes on if the browser goes away.
    ///
    /// # Errors
    /// If the answer belongs to no login.
    pub async fn finish(
        self: &Arc<Self>,
        credential: &str,
        target: &str,
        browser: BrowserSecret<'_>,
    ) -> Result<ConnectOutcome, LinkError> {
        let TakenLogin { invitee, key, browser, login } = self.take_login(credential, target, browser)?;
        let Some(login) = login else {
            // Nothing says that whoever has sent this answer is the principal.
            return Ok(ConnectOutcome::of(&invitee, false, Err(OutboundProblem::StateMismatch)));
        };
        let result = match login.code(target) {
            Err(error) => {
                self.links.lock().remove(&key);
                Err(problem_of(error))
            }
            Ok(code) => {
                let (desk, invitee) = (Arc::clone(self), invitee.clone());
                let work = async move { desk.redeem(&invitee, &login, &code, (&key, browser)).await };
                let lost = |_| Err(unusable("the login has failed"));
                workers::background().spawn(work).await.unwrap_or_else(lost)
            }
        };
        Ok(ConnectOutcome::of(&invitee, true, result))
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

    /// Forgets the grant that was connected with this link, in the same browser.
    ///
    /// # Errors
    /// If the link is unknown or belongs to another browser, or the grant cannot be removed.
    pub async fn disconnect(
        &self,
        credential: &str,
        link: &str,
        browser: BrowserSecret<'_>,
    ) -> Result<ConnectOutcome, LinkError> {
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
        let removed = removed(&invitee).await;
        invitee.credential.forget(&invitee.principal);
        let result =
            removed.map(|()| ConnectedAccount { account: None, not_granted: Vec::new(), link: "".into() });
        Ok(ConnectOutcome::of(&invitee, true, result))
    }

    /// Announces each principal who connects an account from now on.
    pub fn announcements(&self) -> broadcast::Receiver<ConnectedPrincipal> {
        self.connected.subscribe()
    }

    /// Takes the login to which an answer belongs.
    fn take_login(
        &self,
        credential: &str,
        target: &str,
        browser: BrowserSecret<'_>,
    ) -> Result<TakenLogin, LinkError> {
        let mismatch = || LinkError::Problem(OutboundProblem::StateMismatch);
        let state = state_in(target).ok_or_else(mismatch)?;
        let mut links = self.links.lock();
        let link = links.by_state(&sha256(state.as_bytes())).ok_or_else(mismatch)?;
        let LinkStage::LoggingIn { browser: owner, login } = &link.stage else { return Err(mismatch()) };
        let (invitee, key) = (link.invitee.clone(), link.key());
        let owner = *owner;
        if !link.is_for(credential) || !is_of(&owner, browser(&link.page)) {
            return Ok(TakenLogin { invitee, key, browser: owner, login: None });
        }
        let login = Some(Arc::clone(login));
        link.stage = LinkStage::Redeeming;
        Ok(TakenLogin { invitee, key, browser: owner, login })
    }

    async fn redeem(
        &self,
        invitee: &Invitee,
        login: &Login,
        code: &SecretString,
        (key, browser): (&LinkKey, Digest),
    ) -> Result<ConnectedAccount, OutboundProblem> {
        let redeemed = match login.redeem(code).await {
            Ok(grant) => write(invitee, grant.clone()).await.map(|()| grant),
            Err(error) => Err(problem_of(error)),
        };
        let grant = redeemed.inspect_err(|_| self.links.lock().remove(key))?;
        invitee.credential.forget(&invitee.principal);
        let link = self.links.lock().connect(key, browser).unwrap_or_default();
        let principal = invitee.principal.clone();
        // Without readers, nobody has to know.
        drop(self.connected.send(ConnectedPrincipal { principal, id: key.id().into() }));
        let not_granted = login.not_granted(&grant);
        Ok(ConnectedAccount { account: grant.account, not_granted, link })
    }

    fn login(&self, link: &ConnectLink) -> Result<Login, OutboundProblem> {
        let mut redirect = link.page.clone();
        redirect.set_path(&format!("{}/callback", link.page.path()));
        Login::begin(link.invitee.credential.settings(), &self.ways, redirect).map_err(problem_of)
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

fn grant(credential: &UpstreamCredential) -> Option<&GrantSettings> {
    match &credential.settings().source {
        OutboundSource::Grant(grant) => Some(grant),
        _ => None,
    }
}

/// The host of the provider of a credential.
fn provider(credential: &UpstreamCredential) -> Option<Box<str>> {
    grant(credential)?.authorize_url.host_str().map(Box::from)
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
