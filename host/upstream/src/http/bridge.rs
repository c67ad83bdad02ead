//! The bridge for an HTTP upstream of the stateful era: it finds out the era, and holds a session for each principal
//! with requests of 2026-07-28.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use bytes::Bytes;
use futures_util::StreamExt;

use super::bound_session::BoundSession;
use super::composed_request::ComposedRequest;
use super::events::{self, NamedEvent, StreamCut};
use super::fault::{bad_answer, fault};
use super::held_session::HttpHeldSession;
use super::media::{Media, media};
use super::outgoing::Draft;
use super::refusal::{error_answer, refused};
use super::upstream::HttpUpstream;
use super::{outgoing, response};
use crate::bridge::{self, HeldSession, InitializeAnswer, Uplift, carry};
use crate::era::{PATIENCE, Probe, ProbeResult, discover_request, refuses_legacy};
use crate::identity::RequestSender;
use witgate_base::party::Principal;
use witgate_flow::account::Account;
use witgate_flow::body::{BodyReadError, BoundedBody, Inflow, gather};
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::AnswerBody;
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_flow::request::Request;
use witgate_flow::traces::TraceHeaders;
use witgate_message::call::Access;
use witgate_message::json::Members;
use witgate_runtime::memory::{Hold, MemoryExhausted};

impl HttpUpstream {
    /// True if requests of the stateless era have to be bridged. False if the era is unknown: then the request itself
    /// shows the fault.
    pub(super) async fn is_older(&self) -> bool {
        match self.eras.verdict(self).await {
            Some(verdict) if verdict.speaks.modern => {
                self.is_stateless.store(true, Ordering::Relaxed);
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Sends a request over the held session of its principal. A session that the upstream has dropped is opened
    /// again, once.
    pub(super) async fn bridged(
        &self,
        admitted: &Admitted,
        sender: RequestSender<'_>,
    ) -> Result<AnswerBody, Rejection> {
        let (request, account) = (admitted.request(), admitted.account());
        bridge::bridgeable(&request.call)?;
        let Some(principal) = sender.principal() else { return Err(unreadable()) };
        let mut is_first = true;
        loop {
            let held = match self.held.get_or_insert_async(&principal, self.open_held(request, sender)).await
            {
                Err(Rejection::SessionNotFound) if is_first => {
                    is_first = false;
                    continue;
                }
                held => held?,
            };
            let trace = admitted.trace();
            let exchange = BridgeExchange { upstream: self, held: &held, request, sender, trace };
            let ((response, number), uplift) = match carry(&exchange, &request.call).await {
                // The caller or a reload has changed the account.
                Err(Rejection::SessionNotFound) if is_first => {
                    self.let_go(&principal, &held);
                    is_first = false;
                    continue;
                }
                carried => carried?,
            };
            if is_first
                && held.bound.id().is_some()
                && self.has_lost(&held.bound, response.status(), sender).await
            {
                held.bound.end();
                self.let_go(&principal, &held);
                is_first = false;
                continue;
            }
            let back = AnswerRoute::new(request, number, uplift);
            return self.lifted(request, response, (back, held), account).await;
        }
    }

    /// Removes a held session that has ended. Another request may have put a new one in its place.
    fn let_go(&self, principal: &Principal, held: &Arc<HttpHeldSession>) {
        self.held.remove_if(principal, |known| Arc::ptr_eq(known, held));
    }

    async fn open_held(
        &self,
        request: &Request,
        sender: RequestSender<'_>,
    ) -> Result<Arc<HttpHeldSession>, Rejection> {
        let (body, _) = bridge::initialize("{}");
        let draft = |uri: &Uri, own: &HeaderMap| outgoing::own_post(uri, own, body, None, None);
        let composed = self.compose_open(sender, None, draft).await?;
        let reply = self.send(composed).await?;
        let (bound, response) = (reply.session(), reply.response);
        if response.status().is_redirection() || response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(refused(request, true, response.status()));
        }
        let mut opening = SessionOpening { upstream: self, bound: Some(bound), owner: sender.principal() };
        let message = self.message_of(response, &Account::default()).await?;
        let (message, _) = message.ok_or_else(|| bad_answer("The MCP server does not open a session"))?;
        let text = std::str::from_utf8(&message).unwrap_or_default();
        let result =
            Members::read(text).and_then(|members| members.came("result").map(InitializeAnswer::read));
        let Some(opened) = result else {
            self.eras.note_legacy(!refuses_legacy(&message));
            return Err(bad_answer("The MCP server does not open a session"));
        };
        let initialized = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        if let Some(bound) = &opening.bound {
            let composed = self.post_within((&opened, bound), initialized, sender, None, false).await?;
            self.send(composed).await?;
        }
        let meter = self.bridged.get().cloned().unwrap_or_default();
        let bound = opening.bound.take().unwrap_or_default();
        Ok(Arc::new(HttpHeldSession::begin(opened, bound, meter)))
    }

    async fn post_within<'s>(
        &self,
        (opened, session): (&InitializeAnswer, &'s BoundSession),
        body: Bytes,
        sender: RequestSender<'_>,
        trace: Option<&TraceHeaders>,
        is_call: bool,
    ) -> Result<ComposedRequest<'s>, Rejection> {
        let version = HeaderValue::try_from(&*opened.version).ok();
        let draft = |uri: &Uri, own: &HeaderMap| {
            outgoing::own_post(uri, own, body, version, session.id()).traced(trace)
        };
        match is_call {
            true => self.compose(sender, Some(session), draft).await,
            false => self.compose_open(sender, Some(session), draft).await,
        }
    }

    /// The answer in the form of the stateless era. The status has to be known before a stream begins, so an answer
    /// that begins with the response is not a stream.
    async fn lifted(
        &self,
        request: &Request,
        response: Response<Inflow>,
        (back, held): (AnswerRoute, Arc<HttpHeldSession>),
        account: &Account,
    ) -> Result<AnswerBody, Rejection> {
        match (response.status(), media(response.headers())) {
            (StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND, Media::Json) => {
                let (message, hold) = self.message_of(response, account).await?.ok_or_else(unreadable)?;
                let message = back.translate(message).ok_or_else(unreadable)?;
                Ok(AnswerBody::held(message.data, hold))
            }
            (StatusCode::OK, Media::Events) => {
                let id = back.id.clone();
                let events = events::read_named(response.into_body(), self.max_message, account.clone());
                let mut events = events
                    .take_until(held.bound.ended())
                    // The session counts as used while the answer streams.
                    .inspect(move |_| _ = &held)
                    .filter_map(move |event| std::future::ready(back.event(event)))
                    .scan(false, |is_over, translated| {
                        let is_last = translated.as_ref().map_or(true, |translated| translated.is_last);
                        let was_over = std::mem::replace(is_over, is_last);
                        std::future::ready((!was_over).then_some(translated))
                    })
                    .boxed();
                let first = tokio::time::timeout(self.timeout, events.next()).await;
                let first = first
                    .map_err(|_| fault(UpstreamFault::Timeout, "The MCP server did not answer in time"))?;
                let first = first.ok_or_else(unreadable)??;
                if first.is_last {
                    return Ok(AnswerBody::held(first.data, first.hold));
                }
                let rest = events.map(move |translated| {
                    translated.unwrap_or_else(|exhausted| error_event(&exhausted.into(), &id))
                });
                let all = futures_util::stream::iter([first]).chain(rest);
                Ok(AnswerBody::Events(all.map(TranslatedEvent::into_event).boxed()))
            }
            (status, _) => {
                if let Some(fault) = self.rejected(status, response.extensions()) {
                    return Err(fault);
                }
                let (head, body) = response.into_parts();
                error_answer(request, true, status, &head.headers, body, account).await
            }
        }
    }

    /// The response in an answer of any form.
    ///
    /// # Errors
    /// If `account` has no room for it.
    async fn message_of(
        &self,
        response: Response<Inflow>,
        account: &Account,
    ) -> Result<Option<(Bytes, Hold)>, MemoryExhausted> {
        let reading = async {
            match media(response.headers()) {
                Media::Json => match gather(response.into_body(), self.max_message, account).await {
                    Ok(BoundedBody::Whole(message, hold)) => Ok(Some((message, hold))),
                    Err(BodyReadError::NoRoom(exhausted)) => Err(exhausted),
                    Ok(BoundedBody::Part(_)) | Err(BodyReadError::Broken(_)) => Ok(None),
                },
                Media::Events => {
                    let events = events::read_named(response.into_body(), self.max_message, account.clone());
                    let mut events = std::pin::pin!(events);
                    while let Some(event) = events.next().await {
                        match event {
                            Err(StreamCut::NoRoom) => return Err(MemoryExhausted),
                            Err(StreamCut::Broken | StreamCut::Flooded) => return Ok(None),
                            Ok(named) => match named.message() {
                                Some(event) if is_response(&event.data) => {
                                    return Ok(Some((event.data, event.hold)));
                                }
                                _ => {}
                            },
                        }
                    }
                    Ok(None)
                }
                Media::Other => Ok(None),
            }
        };
        tokio::time::timeout(self.timeout, reading).await.unwrap_or(Ok(None))
    }

    async fn ask(&self, draft: impl FnOnce(&Uri, &HeaderMap) -> Draft) -> ProbeResult {
        let asking = async {
            let Ok(composed) = self.compose(RequestSender::Witgate, None, draft).await else {
                return ProbeResult::Unknown;
            };
            let Ok(answered) = self.request(composed).await else { return ProbeResult::Unknown };
            // A question that has opened a session ends it.
            self.farewells.say(&answered.session(), None);
            let response = answered.response;
            match response.status().as_u16() {
                401 | 403 | 500.. => ProbeResult::Unknown,
                _ => match self.message_of(response, &Account::default()).await {
                    Ok(Some((message, _))) => ProbeResult::Said(message),
                    Ok(None) | Err(MemoryExhausted) => ProbeResult::Nothing,
                },
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or(ProbeResult::Unknown)
    }
}

impl Probe for HttpUpstream {
    async fn discover(&self) -> ProbeResult {
        let body = discover_request("\"witgate\"");
        self.ask(|uri, own| outgoing::discover(uri, own, body)).await
    }

    async fn initialize(&self) -> Option<ProbeResult> {
        let (body, _) = bridge::initialize("{}");
        Some(self.ask(|uri, own| outgoing::own_post(uri, own, body, None, None)).await)
    }
}

/// A session that is being opened. If that fails, the upstream is told that it has ended.
struct SessionOpening<'a> {
    upstream: &'a HttpUpstream,
    bound: Option<BoundSession>,
    owner: Option<Principal>,
}

impl Drop for SessionOpening<'_> {
    fn drop(&mut self) {
        // One that belongs to another account has ended already.
        if let Some(bound) = self.bound.as_ref().filter(|bound| bound.end()) {
            self.upstream.farewells.say(bound, self.owner.as_ref());
        }
    }
}

/// One request over a held session.
struct BridgeExchange<'a> {
    upstream: &'a HttpUpstream,
    held: &'a HttpHeldSession,
    request: &'a Request,
    sender: RequestSender<'a>,
    trace: Option<&'a TraceHeaders>,
}

impl HeldSession for BridgeExchange<'_> {
    type Answer = (Response<Inflow>, Box<str>);

    async fn opened(&self) -> Result<Arc<InitializeAnswer>, Rejection> {
        Ok(Arc::clone(&self.held.opened))
    }

    async fn send(
        &self,
        compose: impl FnOnce(&str, Option<&str>) -> Bytes + Send,
    ) -> Result<Self::Answer, Rejection> {
        let number = self.held.next.fetch_add(1, Ordering::Relaxed).to_string();
        let token = self.request.call.progress_token().map(|_| number.as_str());
        let (body, is_call) = (compose(&number, token), *self.request.call.access() != Access::Open);
        let within = (&*self.held.opened, &self.held.bound);
        let composed = self.upstream.post_within(within, body, self.sender, self.trace, is_call).await?;
        Ok((self.upstream.send(composed).await?.response, number.into()))
    }
}

/// The translation of one request's answers for its client.
struct AnswerRoute {
    /// The upstream's id of the request.
    number: Box<str>,
    id: Box<str>,
    token: Option<Box<str>>,
    uplift: Uplift,
}

struct TranslatedEvent {
    data: Bytes,
    hold: Hold,
    is_last: bool,
}

impl TranslatedEvent {
    fn into_event(self) -> Event {
        Event { data: self.data, hold: self.hold, ..Event::default() }
    }
}

impl AnswerRoute {
    fn new(request: &Request, number: Box<str>, uplift: Uplift) -> Self {
        let call = &request.call;
        let id = call.id().unwrap_or("null").into();
        Self { number, id, token: call.progress_token().map(Box::from), uplift }
    }

    /// A message of a stream for the client. None if the client cannot have it.
    fn event(
        &self,
        event: Result<NamedEvent, StreamCut>,
    ) -> Option<Result<TranslatedEvent, MemoryExhausted>> {
        match event {
            Ok(named) => {
                let Event { data, hold, .. } = named.message()?;
                Some(Ok(TranslatedEvent { hold, ..self.translate(data)? }))
            }
            Err(StreamCut::NoRoom) => Some(Err(MemoryExhausted)),
            Err(StreamCut::Broken | StreamCut::Flooded) => None,
        }
    }

    /// A message for the client. None for requests of the server, which the stateless era does not have, and for
    /// notifications that the client has not asked for.
    fn translate(&self, message: Bytes) -> Option<TranslatedEvent> {
        let text = std::str::from_utf8(&message).ok()?;
        let members = Members::read(text)?;
        match (members.get("method").is_some(), members.get("id").is_some()) {
            (true, true) => None,
            (true, false) => {
                let notification = self.uplift.notification(message.clone())?;
                Some(TranslatedEvent {
                    data: self.with_token(notification),
                    hold: Hold::default(),
                    is_last: false,
                })
            }
            (false, _) => {
                let is_ours = members.get("id").is_some_and(|id| response::is_same(id, &self.number));
                if !is_ours && members.get("error").is_none() {
                    return Some(error_event(
                        &bad_answer("The MCP server answered another request"),
                        &self.id,
                    ));
                }
                let lifted = self.uplift.response(&message);
                let text = std::str::from_utf8(&lifted).ok()?;
                let mut members = Members::read(text)?;
                members.set("id", self.id.to_string());
                Some(TranslatedEvent { data: members.render().into(), hold: Hold::default(), is_last: true })
            }
        }
    }

    /// A progress notification with the client's own token.
    fn with_token(&self, notification: Bytes) -> Bytes {
        let renamed = || {
            let mut members = Members::read(std::str::from_utf8(&notification).ok()?)?;
            let mut params = members.came("params").and_then(Members::read)?;
            let token = self.token.as_ref().filter(|_| params.get("progressToken") == Some(&*self.number))?;
            params.set("progressToken", token.to_string());
            members.set("params", params.render());
            Some(Bytes::from(members.render()))
        };
        renamed().unwrap_or(notification)
    }
}

/// The last message if there is no answer to the request `id`.
fn error_event(rejection: &Rejection, id: &str) -> TranslatedEvent {
    TranslatedEvent { data: rejection.wire().body(Some(id)), hold: Hold::default(), is_last: true }
}

fn is_response(message: &[u8]) -> bool {
    let members = std::str::from_utf8(message).ok().and_then(Members::read);
    members.is_some_and(|members| members.get("result").is_some() || members.get("error").is_some())
}

fn unreadable() -> Rejection {
    bad_answer("The MCP server's answer cannot be read")
}
