//! Witgate's own tools and resources beside those of a server, at the same endpoint. They are called in this process, and
//! their entries are added to the server's lists before the flow filters them: the same policies decide about both.
//!
//! An own tool precedes a tool of the server that has its name, so that a server cannot answer in Witgate's place. The
//! server's tool is then left out of lists. Resources are treated alike.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use witgate_plugin::TargetKind;

use super::caller_tools::{CallerAnswer, CallerQuestion};
use super::credential_states::CredentialStates;
use super::own_entries::{self, OwnList, OwnTarget};
use super::own_tools::OwnTools;
use witgate_base::clock;
use witgate_base::party::Principal;
use witgate_config::{OwnResource, OwnTool};
use witgate_flow::authorize::Permit;
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::listing::MOST_ITEMS;
use witgate_flow::parsing;
use witgate_flow::port::{Answer, AnswerBody, Upstream};
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_flow::request::Request;
use witgate_flow::token_issue::{self, FreshToken};
use witgate_message::call::{Access, Call};
use witgate_message::era::Era;
use witgate_message::json::{Members, MessageForm, cuts, form, span_in, splice};
use witgate_message::strict_json::{StrictMembers, string};

/// JSON-RPC 2.0 §5.1: the answer of a server without tools, or without resources, to a request for their list.
const METHOD_NOT_FOUND: &str = "-32601";

/// The answer of `issue_token` without settings.
const NO_TOKENS: &str = "No tokens are issued here";

/// The parts of a request that its answer depends on.
struct AnsweredRequest<'a> {
    method: &'a str,
    /// The id as JSON text.
    id: &'a str,
    era: Era,
    /// True if the caller can get a token.
    gets_token: bool,
}

/// A request whose answer is completed, and what its caller may see.
pub(super) struct CompletedRequest {
    request: Arc<Request>,
    gets_token: bool,
}

impl CompletedRequest {
    fn of(permit: &Permit) -> Self {
        Self { request: Arc::clone(permit.request()), gets_token: token_issue::is_offered(permit) }
    }

    fn parts(&self) -> AnsweredRequest<'_> {
        let Self { request, gets_token } = self;
        AnsweredRequest {
            method: request.call.method(),
            id: request.call.id().unwrap_or("null"),
            era: request.era,
            gets_token: *gets_token,
        }
    }
}

/// The own tools and resources that an upstream offers, and the data that they show.
pub(super) struct ToolsBeside {
    tools: Vec<OwnTool>,
    resources: Vec<OwnResource>,
    data: OwnTools,
    /// The states of the upstream's credentials.
    credentials: Arc<CredentialStates>,
    /// True if the log has told of a tool or resource of the server that is left out.
    has_told: AtomicBool,
}

impl ToolsBeside {
    /// These tools and resources. None: there are none.
    pub(super) fn new(
        (tools, resources): (&[OwnTool], &[OwnResource]),
        data: OwnTools,
        credentials: Arc<CredentialStates>,
    ) -> Option<Arc<Self>> {
        let has_any = !tools.is_empty() || !resources.is_empty();
        let (tools, resources) = (tools.to_vec(), resources.to_vec());
        let own = Self { tools, resources, data, credentials, has_told: AtomicBool::new(false) };
        has_any.then(|| Arc::new(own))
    }

    /// Answers the call of an own tool or the read of an own resource, or lets `server` answer.
    pub(super) async fn forward(
        self: &Arc<Self>,
        admitted: Admitted,
        server: &impl Upstream,
    ) -> Result<Answer, Rejection> {
        if let Some(target) = self.called(&admitted.request().call) {
            let message = self.result(target, &admitted).await;
            return Ok(Answer { session: None, body: AnswerBody::message(message) });
        }
        let request = CompletedRequest::of(admitted.permit());
        self.complete(request, server.forward(admitted).await?).await
    }

    /// The server's answer, with the own entries in a list, and in the capabilities of a handshake.
    async fn complete(self: &Arc<Self>, of: CompletedRequest, answer: Answer) -> Result<Answer, Rejection> {
        let of = Arc::new(of);
        let (call, peer) = (&of.request.call, of.request.peer);
        let is_completed = OwnList::of(call.method()).is_some() || call.asks_capabilities();
        let body = match answer.body {
            AnswerBody::Message { status, message, hold } if is_completed => {
                let text = message.into_text();
                let (own, of, whole) = (Arc::clone(self), Arc::clone(&of), text.clone());
                let read = move || own.completed(&of.parts(), &whole);
                match parsing::answer(peer, text.len(), read).await.ok_or_else(unread)? {
                    // The status of the server may be that of an error.
                    Some(message) => AnswerBody::held(message, hold),
                    None => AnswerBody::Message { status, message: text.into(), hold },
                }
            }
            AnswerBody::Events(events) => {
                let completed = is_completed.then(|| Arc::clone(&of));
                AnswerBody::Events(self.complete_stream(events, peer, completed))
            }
            // What needs no filter is neither a list nor a handshake.
            other => other,
        };
        Ok(Answer { body, ..answer })
    }

    /// The events, with the own tools in lists. They may be answers to other requests of the caller, which a server
    /// repeats after a broken stream. `request` is the one whose answer is completed.
    pub(super) fn complete_stream(
        self: &Arc<Self>,
        events: BoxStream<'static, Event>,
        peer: Option<IpAddr>,
        request: Option<Arc<CompletedRequest>>,
    ) -> BoxStream<'static, Event> {
        let own = Arc::clone(self);
        let complete = move |mut event: Event| {
            let (own, request, data) = (Arc::clone(&own), request.clone(), event.data.clone());
            let read = move || own.completed_event(request.as_deref(), &data);
            async move {
                match parsing::answer(peer, event.data.len(), read).await {
                    Some(None) => {}
                    Some(Some(data)) => event.data = data,
                    // What cannot be read does not pass the filter.
                    None => event.data = Bytes::from_static(b"unread"),
                }
                event
            }
        };
        events.then(complete).boxed()
    }

    fn completed_event(&self, request: Option<&CompletedRequest>, data: &[u8]) -> Option<Bytes> {
        if form(data) != Some(MessageForm::Response) {
            return None;
        }
        match request {
            Some(request) => self.completed(&request.parts(), data),
            None => {
                let text = std::str::from_utf8(data).ok()?;
                let lists = [OwnList::Tools, OwnList::Resources];
                lists.into_iter().find_map(|list| self.listed(list, text, false))
            }
        }
    }

    /// True if this own tool is offered.
    pub(super) fn offers(&self, tool: OwnTool) -> bool {
        self.tools.contains(&tool)
    }

    /// True if a call is that of an own tool, or the read of an own resource.
    pub(super) fn answers(&self, call: &Call) -> bool {
        self.called(call).is_some()
    }

    fn called(&self, call: &Call) -> Option<OwnTarget> {
        let Access::Target(target) = call.access() else { return None };
        match (target.kind, call.method()) {
            (TargetKind::Tool, "tools/call") => self.named(OwnList::Tools, &target.name),
            (TargetKind::Resource, "resources/read") => self.named(OwnList::Resources, &target.name),
            _ => None,
        }
    }

    /// The own entry of a list with this name or URI.
    fn named(&self, list: OwnList, name: &str) -> Option<OwnTarget> {
        self.offered(list).into_iter().find(|target| target.name() == name)
    }

    fn offered(&self, list: OwnList) -> Vec<OwnTarget> {
        match list {
            OwnList::Tools => self.tools.iter().copied().map(OwnTarget::Tool).collect(),
            OwnList::Resources => self.resources.iter().copied().map(OwnTarget::Resource).collect(),
        }
    }

    async fn result(&self, target: OwnTarget, admitted: &Admitted) -> Bytes {
        let request = admitted.request();
        let answer = match target {
            OwnTarget::Tool(tool) => self.answer_of(tool, admitted).await,
            OwnTarget::Resource(resource) => {
                self.data.ask(CallerQuestion::of(resource.tool(), admitted)).await
            }
        };
        target.response(request.call.id().unwrap_or("null"), request.era, answer)
    }

    async fn answer_of(&self, tool: OwnTool, admitted: &Admitted) -> CallerAnswer {
        let caller = || admitted.permit().caller().principal();
        match tool {
            OwnTool::HealthCheck => Ok(self.health(clock::system_time(), &caller())),
            OwnTool::AuthStatus => Ok(json!(self.data.auth())),
            OwnTool::LimitsStatus => Ok(json!({ "limits": self.data.limits_of(&caller()) })),
            // The settings may have gone since the start.
            OwnTool::IssueToken => admitted.issued_token().map(token).ok_or_else(|| NO_TOKENS.to_owned()),
            _ => self.data.ask(CallerQuestion::of(tool, admitted)).await,
        }
    }

    fn health(&self, now: SystemTime, caller: &Principal) -> Value {
        json!({
            "status": "ok",
            "timestamp": humantime::format_rfc3339_seconds(now).to_string(),
            "auth_config": self.credentials.by_name(caller),
        })
    }

    /// The message with the own tools. None: it stays as it is.
    fn completed(&self, request: &AnsweredRequest<'_>, message: &[u8]) -> Option<Bytes> {
        let text = std::str::from_utf8(message).ok()?;
        let envelope = Members::read(text)?;
        let Some(result) = envelope.came("result") else {
            let error = Members::read(envelope.came("error")?)?;
            let list = OwnList::of(request.method).filter(|list| !self.offered(*list).is_empty());
            let list = list.filter(|_| error.get("code") == Some(METHOD_NOT_FOUND));
            return list.map(|list| self.only_own(list, request));
        };
        if let Some(list) = OwnList::of(request.method) {
            return self.listed(list, text, request.gets_token);
        }
        let result = Members::read(result)?;
        let received = result.came("capabilities")?;
        let mut capabilities = Members::read(received)?;
        for list in [OwnList::Tools, OwnList::Resources] {
            if !self.offered(list).is_empty() {
                capabilities.set_if_absent(list.member(), "{}");
            }
        }
        let place = span_in(message, received)?;
        Some(splice(message, &mut [(place, &capabilities.render())]))
    }

    /// The message with the own entries on the last page of its list, and without the server's of the same names.
    /// None: it stays as it is. That is so also with a list that is too long, which the flow refuses.
    fn listed(&self, of: OwnList, message: &str, gets_token: bool) -> Option<Bytes> {
        if self.offered(of).is_empty() {
            return None;
        }
        let result = Members::read(Members::read(message)?.came("result")?)?;
        let list = result.came(of.member())?;
        let entries: Vec<&RawValue> = serde_json::from_str(list).ok()?;
        if entries.len() > MOST_ITEMS {
            return None;
        }
        // Only a string is a cursor. Clients take everything else as the end of the list.
        let is_last = !result.get("nextCursor").is_some_and(|cursor| cursor.starts_with('"'));
        let place = span_in(message.as_bytes(), list)?;
        let ends = entries.iter().map(|entry| Some(span_in(message.as_bytes(), entry.get())?.end));
        let ends: Vec<_> = ends.collect::<Option<_>>()?;
        let is_own: Vec<_> = entries.iter().map(|entry| self.is_own(of, entry)).collect();
        let spans = cuts(message.as_bytes(), place.start + 1, &ends, &is_own);
        let mut edits: Vec<_> = spans.into_iter().map(|span| (span, "")).collect();
        let has_theirs = is_own.contains(&false);
        let entries = self.entries(of, gets_token);
        let own = format!("{}{entries}", if has_theirs { "," } else { "" });
        if is_last && !entries.is_empty() {
            edits.push((place.end - 1..place.end - 1, &own));
        }
        (!edits.is_empty()).then(|| splice(message.as_bytes(), &mut edits))
    }

    /// True if an entry of the server has the name of an own tool.
    fn is_own(&self, list: OwnList, entry: &RawValue) -> bool {
        let members = StrictMembers::read(entry.get()).ok();
        let name = members.as_ref().and_then(|members| members.get(list.key())).and_then(string);
        let own = name.and_then(|name| self.named(list, &name));
        own.inspect(|own| self.tell_of(*own)).is_some()
    }

    /// The own entries of a list. Only callers who can get a token see the tool for it.
    fn entries(&self, list: OwnList, gets_token: bool) -> String {
        let is_shown = |target: &OwnTarget| gets_token || *target != OwnTarget::Tool(OwnTool::IssueToken);
        let shown = self.offered(list).into_iter().filter(is_shown);
        let own: Vec<_> = shown.map(|target| target.entry().to_string()).collect();
        own.join(",")
    }

    fn tell_of(&self, own: OwnTarget) {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                own = own.name(),
                "the server has a tool or resource of the same name as an own one of Witgate, which precedes it; leave that out of `own_tools` or `own_resources` to offer the server's"
            );
        }
    }

    /// The list of a server without tools, or without resources.
    fn only_own(&self, list: OwnList, request: &AnsweredRequest<'_>) -> Bytes {
        let (member, entries) = (list.member(), self.entries(list, request.gets_token));
        let result = match request.era {
            Era::Stateful => format!(r#"{{"{member}":[{entries}]}}"#),
            Era::Stateless => {
                format!(
                    r#"{{"{member}":[{entries}],"resultType":"complete","ttlMs":0,"cacheScope":"private"}}"#
                )
            }
        };
        own_entries::message(request.id, &result)
    }
}

fn unread() -> Rejection {
    Rejection::Upstream {
        fault: UpstreamFault::BadAnswer,
        message: "The MCP server's answer cannot be read".to_owned(),
    }
}

/// The answer of `issue_token`, with the members of RFC 6749, section 5.1.
fn token(issued: &FreshToken) -> Value {
    json!({
        "access_token": issued.expose(),
        "token_type": "Bearer",
        "expires_in": issued.expires_in(),
        "id": issued.record.id,
    })
}

#[cfg(test)]
mod tests;
