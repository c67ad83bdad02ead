//! The pages where callers connect accounts of their own: `/connect/NAME`. Whoever opens a link has to show a credential
//! of the principal to whom it was given. The pages have no scripts, and nothing else can show them in a frame.

mod address;
mod browser;
mod form;
mod local;
mod page;

use std::sync::Arc;

use ::http::header::{ALLOW, LOCATION, RETRY_AFTER, SET_COOKIE};
use ::http::request::Parts;
use ::http::{HeaderValue, Method, Response, StatusCode};
use bytes::Bytes;
use url::Url;
use witgate_plugin::{Scheme, Transport};

use super::body::Body;
use super::held_refusals::HeldRefusals;
use super::sender::{Sender, arrival};
use crate::refusals::{EarlyCause, EarlyRefusals};
pub(super) use address::PageAddress;
use address::PageKind;
use browser::Browser;
use form::CredentialForm;
pub use local::LocalPages;
use page::{Page, PageForm};
use witgate_base::peer::Peer;
use witgate_credentials::connect::{
    AccountChange, ConnectDesk, ConnectOutcome, ConnectProof, ConnectedAccount, Invitee, LinkError, LinkFacts,
};
use witgate_credentials::fault::{OutboundFault, OutboundProblem};
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_flow::Flow;
use witgate_flow::body::Inflow;
use witgate_flow::connect::{CONNECT, DISCONNECT};
use witgate_flow::port::Upstream;
use witgate_flow::reject::RejectedMessage;
use witgate_flow::reject::wire::Wire;
use witgate_runtime::memory::Reservation;
use witgate_runtime::workers;

/// The flows of all upstreams, by their place in the configuration.
pub(super) trait FlowsByPlace<U>: Sync {
    /// The flow of the upstream at `place`.
    fn flow(&self, place: usize) -> Option<Arc<Flow<U>>>;

    /// The first flow whose callers connect accounts for `credential`.
    fn flow_for(&self, credential: &str) -> Option<Arc<Flow<U>>>;
}

/// The pages.
#[derive(Clone)]
pub(super) struct ConnectPages {
    desk: Arc<ConnectDesk>,
    /// The links that nobody has, with their senders.
    refusals: Arc<EarlyRefusals>,
    held_refusals: Arc<HeldRefusals>,
}

/// The request of a browser, without its body.
struct PageRequest {
    address: PageAddress,
    parts: Parts,
    sender: Sender,
}

/// A body that is not read yet, and the memory for it.
type UnreadForm<'a> = (&'a mut Inflow, Reservation<Peer>);

impl ConnectPages {
    /// The pages for the links of `desk`. Unknown links count as `refusals`.
    pub(super) fn new(desk: Arc<ConnectDesk>, refusals: Arc<EarlyRefusals>) -> Self {
        Self { desk, refusals, held_refusals: Arc::default() }
    }

    /// Answers a request for a page.
    pub(super) async fn respond<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        address: PageAddress,
        (parts, body): (Parts, &mut Inflow),
        (sender, held): (Sender, Reservation<Peer>),
    ) -> Response<Body> {
        let (request, form) = (PageRequest { address, parts, sender }, (body, held));
        match (request.address.kind, &request.parts.method) {
            (PageKind::Callback, &Method::GET) => self.callback(flows, request).await,
            (PageKind::Start, &Method::GET) => self.start(flows, &request).await,
            (PageKind::Start, &Method::POST) => self.show_credential(flows, request, form).await,
            (PageKind::Disconnect, &Method::POST) => self.disconnect(flows, request, form).await,
            (kind, _) => not_allowed(kind.methods()),
        }
    }

    /// The page that asks who has opened it.
    async fn start<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        request: &PageRequest,
    ) -> Response<Body> {
        let name = &request.address.credential;
        let Some(facts) = self.facts(flows, name, &request.address.link) else {
            return self.unknown_link(flows, request, gone()).await;
        };
        let Some(browser) = Browser::of_or_new(&request.parts.headers, &facts.page) else {
            return unusable();
        };
        self.asking(flows, (request, &facts), &browser, None, StatusCode::OK)
    }

    /// The facts of a link. Without a link, those of the page, on which callers look after their account.
    fn facts<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        name: &str,
        link: &str,
    ) -> Option<LinkFacts> {
        if !link.is_empty() {
            return self.desk.look(name, link);
        }
        // Over stdio, a link is the only proof.
        let flow = flows.flow_for(name).filter(|_| !self.desk.is_local())?;
        self.desk.facts(&flow.invitee(nobody())?)
    }

    fn asking<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        (request, facts): (&PageRequest, &LinkFacts),
        browser: &Browser,
        problem: Option<&str>,
        status: StatusCode,
    ) -> Response<Body> {
        let PageAddress { credential: name, link, .. } = &request.address;
        let token = self.desk.form_token(browser.secret(), link);
        let action = request.address.action("");
        let form = PageForm { action: &action, token: &token, link };
        let page = match &facts.code {
            Some(code) => Page::compare(name, &facts.provider, code, &form),
            None => {
                let flow = flows.flow(facts.upstream);
                let takes = |scheme| flow.as_ref().is_some_and(|flow| flow.takes(scheme));
                let takes = (takes(Scheme::Basic), takes(Scheme::Certificate));
                Page::who_are_you(name, &facts.provider, takes, problem, &form)
            }
        };
        with_cookie(page.response(status), browser)
    }

    /// Refuses a link, or an answer of a provider, that belongs to nothing. Each one counts, and a network that shows many
    /// of them waits for the answers. Links that are good pass in any case.
    async fn unknown_link<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        request: &PageRequest,
        refused: Response<Body>,
    ) -> Response<Body> {
        let (name, peer) = (&request.address.credential, request.sender.peer);
        // Over stdio, all senders are at the same address.
        let flow = flows.flow_for(name).filter(|_| !self.desk.is_local());
        let locked_out = flow.and_then(|flow| flow.note_unknown_link(peer).err());
        let (cause, mut answer) = match &locked_out {
            None => (EarlyCause::UnknownLink, refused),
            Some(rejection) => {
                self.held_refusals.hold(rejection).await;
                (EarlyCause::LockedOut, too_many_links(&rejection.wire()))
            }
        };
        let decision = peer.map(|peer| self.refusals.note(cause, peer));
        answer.headers_mut().extend(decision.map(|decision| decision.header()));
        answer
    }

    /// Judges the credential that somebody shows, and leads them to the provider.
    async fn show_credential<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        mut request: PageRequest,
        form: UnreadForm<'_>,
    ) -> Response<Body> {
        let form = match read_form(&request, form).await {
            Ok(form) => form,
            Err(answer) => return answer,
        };
        request.address.link = form.link.clone();
        let name = request.address.credential.clone();
        let Some(facts) = self.facts(flows, &name, &form.link) else {
            return self.unknown_link(flows, &request, gone()).await;
        };
        let Some(browser) = self.browser(&request, &facts.page, &form) else { return other_browser() };
        let Some(flow) = flows.flow(facts.upstream) else { return gone() };
        if facts.code.is_some() {
            let Some(credential) = live(&flow) else { return gone() };
            let begun = self.desk.begin(&credential, &form.link, browser.secret(), ConnectProof::SameMachine);
            return begun.map_or_else(|error| refused_link(&name, error), |url| see_other(&url, &browser));
        }
        let shown = match form.headers() {
            Ok(headers) => headers,
            Err(malformed) => {
                let rejected = flow.refuse_unread(malformed.into(), request.sender.peer);
                return self.refused(flows, (&request, &facts), &browser, &rejected).await;
            }
        };
        let arrival = arrival(shown, Bytes::new(), request.sender.clone());
        let judged = flow.identify(arrival, |invitee| self.let_in(&form.link, &browser, invitee)).await;
        match judged {
            Ok(Some(LetIn::ToProvider(url))) => see_other(&url, &browser),
            Ok(Some(LetIn::Known(invitee))) => self.known(&request, &invitee, &browser).await,
            Ok(None) => gone(),
            Err(rejected) => self.refused(flows, (&request, &facts), &browser, &rejected).await,
        }
    }

    /// Lets a principal in who has shown their credential. None: the link is not valid any more.
    fn let_in(
        &self,
        link: &str,
        browser: &Browser,
        invitee: Invitee,
    ) -> Result<Option<LetIn>, OutboundProblem> {
        if link.is_empty() {
            return Ok(Some(LetIn::Known(Box::new(invitee))));
        }
        let proof = ConnectProof::Principal(&invitee.principal);
        match self.desk.begin(&invitee.credential, link, browser.secret(), proof) {
            Ok(url) => Ok(Some(LetIn::ToProvider(url))),
            Err(LinkError::Unknown) => Ok(None),
            Err(LinkError::Problem(problem)) => Err(problem),
        }
    }

    /// The account of a principal who has come without a link. Without an account, they go to the provider.
    async fn known(&self, request: &PageRequest, invitee: &Invitee, browser: &Browser) -> Response<Body> {
        let name = &request.address.credential;
        let problem = match self.desk.connected(invitee, browser.secret()).await {
            Ok(account) => return self.connected(request, browser, &account),
            Err(OutboundProblem::NotConnected) => match self.desk.invite(invitee) {
                Ok(issued) => {
                    let proof = ConnectProof::Principal(&invitee.principal);
                    let link = issued.link().unwrap_or_default();
                    let begun = self.desk.begin(&invitee.credential, &link, browser.secret(), proof);
                    return begun
                        .map_or_else(|error| refused_link(name, error), |url| see_other(&url, browser));
                }
                Err(problem) => problem,
            },
            Err(problem) => problem,
        };
        refused_link(name, problem.into())
    }

    /// The page for a refused credential, on which another one can be shown.
    async fn refused<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        (request, facts): (&PageRequest, &LinkFacts),
        browser: &Browser,
        rejected: &RejectedMessage,
    ) -> Response<Body> {
        self.held_refusals.hold(&rejected.rejection).await;
        let wire = rejected.rejection.wire();
        let problem = problem_text(rejected, &wire);
        let status = match wire.status {
            StatusCode::OK => StatusCode::FORBIDDEN,
            status => status,
        };
        let mut answer = self.asking(flows, (request, facts), browser, Some(&problem), status);
        if let Some(seconds) = wire.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer.headers_mut().extend(rejected.decision.map(|decision| decision.header()));
        answer
    }

    /// The answer of the provider.
    async fn callback<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        request: PageRequest,
    ) -> Response<Body> {
        let name = &request.address.credential;
        let target = request.parts.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
        let headers = &request.parts.headers;
        let secret = |page: &Url| Browser::of(headers, page).map(|browser| browser.secret().into());
        let live = |place| flows.flow(place).and_then(|flow| live(&flow));
        let outcome = match self.desk.finish(name, target, (&secret, &live)) {
            Ok(change) => self.change(flows, CONNECT, &request, change).await,
            Err(error) => return self.unknown_link(flows, &request, refused_link(name, error)).await,
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(answer) => return answer,
        };
        let page = outcome.principal.as_ref().and_then(|_| self.page_of(flows, &outcome));
        let browser = page.and_then(|page| Browser::of(headers, &page));
        match (outcome.result, browser) {
            (Ok(account), Some(browser)) => self.connected(&request, &browser, &account),
            (Ok(_), None) => unusable(),
            (Err(problem), _) => refused_link(name, problem.into()),
        }
    }

    /// The page with the account that is connected, and with a way to disconnect it.
    fn connected(
        &self,
        request: &PageRequest,
        browser: &Browser,
        account: &ConnectedAccount,
    ) -> Response<Body> {
        let name = &request.address.credential;
        let token = self.desk.form_token(browser.secret(), &account.link);
        let action = request.address.action("/disconnect");
        let form = PageForm { action: &action, token: &token, link: &account.link };
        with_cookie(Page::connected(name, account, &form).response(StatusCode::OK), browser)
    }

    /// Forgets an account that was just connected.
    async fn disconnect<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        request: PageRequest,
        form: UnreadForm<'_>,
    ) -> Response<Body> {
        let form = match read_form(&request, form).await {
            Ok(form) => form,
            Err(answer) => return answer,
        };
        let name = &request.address.credential;
        let headers = &request.parts.headers;
        let secret = |page: &Url| {
            let browser = Browser::of(headers, page)?;
            let is_theirs = self.desk.is_form_token(&form.token, browser.secret(), &form.link);
            is_theirs.then(|| browser.secret().into())
        };
        let outcome = match self.desk.disconnect(name, &form.link, &secret) {
            Ok(change) => self.change(flows, DISCONNECT, &request, change).await,
            Err(error) => return self.unknown_link(flows, &request, refused_link(name, error)).await,
        };
        match outcome.map(|outcome| outcome.result) {
            Ok(Ok(_)) => Page::disconnected(name).response(StatusCode::OK),
            Ok(Err(problem)) => refused_link(name, problem.into()),
            Err(answer) => answer,
        }
    }

    /// The browser for which a form was made.
    fn browser(&self, request: &PageRequest, page: &Url, form: &CredentialForm) -> Option<Browser> {
        let browser = Browser::of(&request.parts.headers, page)?;
        self.desk.is_form_token(&form.token, browser.secret(), &form.link).then_some(browser)
    }

    fn page_of<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        outcome: &ConnectOutcome,
    ) -> Option<Url> {
        let invitee = flows.flow(outcome.upstream)?.invitee(outcome.principal.clone()?)?;
        self.desk.facts(&invitee).map(|facts| facts.page)
    }

    /// Makes a change of an account, with its record. It goes on if the browser goes away.
    async fn change<U: Upstream + 'static>(
        &self,
        flows: &impl FlowsByPlace<U>,
        method: &'static str,
        request: &PageRequest,
        change: AccountChange,
    ) -> Result<ConnectOutcome, Response<Body>> {
        let transport = if self.desk.is_local() { Transport::Stdio } else { Transport::Http };
        let Some(flow) = flows.flow(change.upstream()) else { return Err(gone()) };
        let work = flow.change_account(method, (transport, request.sender.peer), change);
        match workers::background().spawn(work).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(rejection)) => {
                let wire = rejection.wire();
                Err(Page::problem("No account is connected", &wire.message).response(wire.status))
            }
            Err(_) => Err(unusable()),
        }
    }
}

/// The credential that a flow has now.
fn live<U: Upstream + 'static>(flow: &Arc<Flow<U>>) -> Option<Arc<UpstreamCredential>> {
    flow.upstream().credential_of_principals()
}

/// The form that a browser sends, or the answer that there is none.
async fn read_form(
    request: &PageRequest,
    (body, held): UnreadForm<'_>,
) -> Result<CredentialForm, Response<Body>> {
    if !browser::is_same_origin(&request.parts.headers) {
        return Err(other_browser());
    }
    let form = CredentialForm::read(&request.parts.headers, body, held).await;
    form.map_err(|rejection| {
        let wire = rejection.wire();
        Page::problem("The form cannot be read", &wire.message).response(wire.status)
    })
}

/// A principal who has shown their credential.
enum LetIn {
    /// They go to the provider.
    ToProvider(Url),
    /// They have come without a link, to look after their account.
    Known(Box<Invitee>),
}

/// The principal of a page without a link, until somebody shows a credential.
fn nobody() -> witgate_base::party::Principal {
    witgate_base::party::Principal::new(witgate_base::party::ANONYMOUS.into(), None, "")
}

/// The text for somebody whose credential is refused. It says nothing about the principal of the link.
fn problem_text(rejected: &RejectedMessage, wire: &Wire) -> String {
    use witgate_flow::reject::Rejection;
    match &rejected.rejection {
        Rejection::Outbound(fault) if matches!(fault.problem, OutboundProblem::ConnectDenied { .. }) => {
            "This link was made for another caller, and connects nothing for you. Close this page, unless you have \
             made the link yourself with another key."
                .to_owned()
        }
        Rejection::NoCredential => "Show a key, a token, or a user with a password.".to_owned(),
        _ => wire.message.to_string(),
    }
}

/// The page for a link that leads nowhere.
fn refused_link(name: &str, error: LinkError) -> Response<Body> {
    match error {
        LinkError::Unknown => gone(),
        LinkError::Problem(problem) => {
            let status = match problem {
                OutboundProblem::Unreachable { .. } => StatusCode::BAD_GATEWAY,
                _ => StatusCode::FORBIDDEN,
            };
            let message = OutboundFault::new(&name.into(), problem).message();
            Page::problem("No account is connected", &message).response(status)
        }
    }
}

fn gone() -> Response<Body> {
    let message =
        "The link is unknown, too old, or was used before. Repeat the call in your client to get a new one.";
    Page::problem("This link is not valid", message).response(StatusCode::GONE)
}

fn other_browser() -> Response<Body> {
    let message = "This form does not come from the page of your browser. Allow cookies for this site, and open the \
                   link again.";
    Page::problem("No account is connected", message).response(StatusCode::FORBIDDEN)
}

fn unusable() -> Response<Body> {
    let message = "This is not possible now. Try again later.";
    Page::problem("No account is connected", message).response(StatusCode::SERVICE_UNAVAILABLE)
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut answer = Page::problem("Not possible", "This page does not have this HTTP method.")
        .response(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn too_many_links(wire: &Wire) -> Response<Body> {
    let message = "Too many links from here were not valid. Try again later.";
    let mut answer = Page::problem("This link is not valid", message).response(wire.status);
    answer.headers_mut().extend(wire.retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))));
    answer
}

/// Leads the browser to the provider.
fn see_other(url: &Url, browser: &Browser) -> Response<Body> {
    let mut answer =
        Page::problem("Go on", "Your browser goes on to the provider.").response(StatusCode::SEE_OTHER);
    match HeaderValue::try_from(url.as_str()) {
        Ok(location) => drop(answer.headers_mut().insert(LOCATION, location)),
        Err(_) => return unusable(),
    }
    with_cookie(answer, browser)
}

/// The same, with the cookie of the browser, whose time begins anew.
fn with_cookie(mut answer: Response<Body>, browser: &Browser) -> Response<Body> {
    answer.headers_mut().insert(SET_COOKIE, browser.cookie().clone());
    answer
}
