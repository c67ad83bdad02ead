//! Witgate's own tools beside those of a server, at the same endpoint. They are called in this process, and their entries
//! are added to the server's list before the flow filters it: the same policies decide about both.
//!
//! An own tool precedes a tool of the server that has its name, so that a server cannot answer in Witgate's place. The
//! server's tool is then left out of lists.

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

use super::credential_states::CredentialStates;
use super::own_tools::OwnTools;
use witgate_base::clock;
use witgate_base::party::Principal;
use witgate_config::OwnTool;
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

/// JSON-RPC 2.0 §5.1: the answer of a server without tools to a request for their list.
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

/// The own tools that an upstream offers, and the data that they show.
pub(super) struct ToolsBeside {
    offered: Vec<OwnTool>,
    data: OwnTools,
    /// The states of the upstream's credentials.
    credentials: Arc<CredentialStates>,
    /// True if the log has told of a tool of the server that is left out.
    has_told: AtomicBool,
}

impl ToolsBeside {
    /// These tools. None: there are none.
    pub(super) fn new(
        offered: &[OwnTool],
        data: OwnTools,
        credentials: Arc<CredentialStates>,
    ) -> Option<Arc<Self>> {
        let own = Self { offered: offered.to_vec(), data, credentials, has_told: AtomicBool::new(false) };
        (!offered.is_empty()).then(|| Arc::new(own))
    }

    /// Answers the call of an own tool, or lets `server` answer.
    pub(super) async fn forward(
        self: &Arc<Self>,
        admitted: Admitted,
        server: &impl Upstream,
    ) -> Result<Answer, Rejection> {
        if let Some(answer) = self.answer(&admitted) {
            return Ok(answer);
        }
        let request = CompletedRequest::of(admitted.permit());
        self.complete(request, server.forward(admitted).await?).await
    }

    /// The answer to a call of an own tool. None: it is for the server.
    fn answer(&self, admitted: &Admitted) -> Option<Answer> {
        let tool = self.called(&admitted.request().call)?;
        let message = self.result(tool, admitted);
        Some(Answer { session: None, body: AnswerBody::message(message) })
    }

    /// The server's answer, with the own tools in a list of tools and in the capabilities of a handshake.
    async fn complete(self: &Arc<Self>, of: CompletedRequest, answer: Answer) -> Result<Answer, Rejection> {
        let of = Arc::new(of);
        let (call, peer) = (&of.request.call, of.request.peer);
        let is_completed = call.method() == "tools/list" || call.asks_capabilities();
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
            None => self.listed(std::str::from_utf8(data).ok()?, false),
        }
    }

    /// True if this own tool is offered.
    pub(super) fn offers(&self, tool: OwnTool) -> bool {
        self.offered.contains(&tool)
    }

    /// True if a call is that of an own tool.
    pub(super) fn answers(&self, call: &Call) -> bool {
        self.called(call).is_some()
    }

    fn called(&self, call: &Call) -> Option<OwnTool> {
        match call.access() {
            Access::Target(target) if target.kind == TargetKind::Tool && call.method() == "tools/call" => {
                self.named(&target.name)
            }
            _ => None,
        }
    }

    fn named(&self, name: &str) -> Option<OwnTool> {
        self.offered.iter().copied().find(|tool| tool.name() == name)
    }

    fn result(&self, tool: OwnTool, admitted: &Admitted) -> Bytes {
        let request = admitted.request();
        let caller = admitted.permit().caller().principal();
        let data = match tool {
            OwnTool::HealthCheck => Some(self.health(clock::system_time(), &caller)),
            OwnTool::AuthStatus => Some(json!(self.data.auth())),
            OwnTool::LimitsStatus => Some(json!({ "limits": self.data.limits_of(&caller) })),
            OwnTool::IssueToken => admitted.issued_token().map(token),
        };
        let mut result = match data {
            Some(data) => json!({
                "content": [{ "type": "text", "text": data.to_string() }],
                "structuredContent": data,
                "isError": false,
            }),
            // The settings have gone since the start.
            None => json!({ "content": [{ "type": "text", "text": NO_TOKENS }], "isError": true }),
        };
        if let (Era::Stateless, Some(members)) = (request.era, result.as_object_mut()) {
            members.insert("resultType".to_owned(), "complete".into());
        }
        response(request.call.id().unwrap_or("null"), &result.to_string())
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
            let has_none = request.method == "tools/list" && error.get("code") == Some(METHOD_NOT_FOUND);
            return has_none.then(|| self.only_own(request));
        };
        if request.method == "tools/list" {
            return self.listed(text, request.gets_token);
        }
        let result = Members::read(result)?;
        let received = result.came("capabilities")?;
        let mut capabilities = Members::read(received)?;
        capabilities.set_if_absent("tools", "{}");
        let place = span_in(message, received)?;
        Some(splice(message, &mut [(place, &capabilities.render())]))
    }

    /// The message with the own tools on the last page of its list of tools, and without the server's of the same names.
    /// None: it stays as it is. That is so also with a list that is too long, which the flow refuses.
    fn listed(&self, message: &str, gets_token: bool) -> Option<Bytes> {
        let result = Members::read(Members::read(message)?.came("result")?)?;
        let list = result.came("tools")?;
        let tools: Vec<&RawValue> = serde_json::from_str(list).ok()?;
        if tools.len() > MOST_ITEMS {
            return None;
        }
        // Only a string is a cursor. Clients take everything else as the end of the list.
        let is_last = !result.get("nextCursor").is_some_and(|cursor| cursor.starts_with('"'));
        let place = span_in(message.as_bytes(), list)?;
        let ends = tools.iter().map(|entry| Some(span_in(message.as_bytes(), entry.get())?.end));
        let ends: Vec<_> = ends.collect::<Option<_>>()?;
        let is_own: Vec<_> = tools.iter().map(|entry| self.is_own(entry)).collect();
        let spans = cuts(message.as_bytes(), place.start + 1, &ends, &is_own);
        let mut edits: Vec<_> = spans.into_iter().map(|span| (span, "")).collect();
        let has_theirs = is_own.contains(&false);
        let entries = self.entries(gets_token);
        let own = format!("{}{entries}", if has_theirs { "," } else { "" });
        if is_last && !entries.is_empty() {
            edits.push((place.end - 1..place.end - 1, &own));
        }
        (!edits.is_empty()).then(|| splice(message.as_bytes(), &mut edits))
    }

    /// True if an entry of the server has the name of an own tool.
    fn is_own(&self, entry: &RawValue) -> bool {
        let members = StrictMembers::read(entry.get()).ok();
        let name = members.as_ref().and_then(|members| members.get("name")).and_then(string);
        let own = name.and_then(|name| self.named(&name));
        own.inspect(|own| self.tell_of(*own)).is_some()
    }

    /// The entries of the own tools. Only callers who can get a token see the tool for it.
    fn entries(&self, gets_token: bool) -> String {
        let shown = self.offered.iter().filter(|tool| gets_token || **tool != OwnTool::IssueToken);
        let own: Vec<_> = shown.map(|tool| entry(*tool).to_string()).collect();
        own.join(",")
    }

    fn tell_of(&self, own: OwnTool) {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                tool = own.name(),
                "the server has a tool of the same name as an own tool of Witgate, which precedes it; leave that out of `own_tools` to offer the server's"
            );
        }
    }

    /// The list of a server without tools.
    fn only_own(&self, request: &AnsweredRequest<'_>) -> Bytes {
        let tools = self.entries(request.gets_token);
        let result = match request.era {
            Era::Stateful => format!(r#"{{"tools":[{tools}]}}"#),
            Era::Stateless => {
                format!(r#"{{"tools":[{tools}],"resultType":"complete","ttlMs":0,"cacheScope":"private"}}"#)
            }
        };
        response(request.id, &result)
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

/// A response under the id in JSON.
fn response(id: &str, result: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// The entry in a list of tools.
fn entry(tool: OwnTool) -> Value {
    let description = match tool {
        OwnTool::HealthCheck => {
            "Tells whether the gateway works, and which credentials it has for the server"
        }
        OwnTool::AuthStatus => "Tells whether authentication is enabled and a key is configured",
        OwnTool::LimitsStatus => "Tells the limits of calls, and what remains of them",
        OwnTool::IssueToken => "Makes a token with which the caller can call for a while",
    };
    let properties = match tool {
        OwnTool::IssueToken => {
            let description = "The lifetime of the token in seconds. It may be shorter";
            json!({ "expires_in": { "type": "integer", "minimum": 1, "description": description } })
        }
        OwnTool::HealthCheck | OwnTool::AuthStatus | OwnTool::LimitsStatus => json!({}),
    };
    json!({
        "name": tool.name(),
        "description": description,
        "inputSchema": { "type": "object", "properties": properties, "additionalProperties": false },
        "annotations": { "readOnlyHint": tool != OwnTool::IssueToken, "openWorldHint": false },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use http::{HeaderMap, StatusCode};
    use witgate_flow::decision::DecisionId;
    use witgate_flow::request::Route;
    use witgate_plugin::Transport;
    use witgate_runtime::memory::Hold;

    use super::*;
    use crate::own_tools::AuthStatus;

    fn beside(offered: &[OwnTool]) -> Arc<ToolsBeside> {
        let data = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
        ToolsBeside::new(offered, data, Arc::default()).unwrap()
    }

    fn completed(own: &ToolsBeside, method: &str, era: Era, message: &str) -> Option<Value> {
        let request = AnsweredRequest { method, id: r#""7""#, era, gets_token: false };
        let completed = own.completed(&request, message.as_bytes())?;
        Some(serde_json::from_slice(&completed).unwrap())
    }

    fn names(message: &Value) -> Vec<&str> {
        let tools = message["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn own_tools_are_listed_after_those_of_the_server() {
        let own = beside(&[OwnTool::HealthCheck, OwnTool::AuthStatus]);
        let list = |message: &str| completed(&own, "tools/list", Era::Stateful, message).unwrap();
        let theirs =
            list(r#"{"jsonrpc":"2.0","id":"7","result":{"tools":[{"name":"a","x":1.0}],"y":[1e2]}}"#);
        assert_eq!(names(&theirs), ["a", "health_check", "auth_status"]);
        assert_eq!(theirs["result"]["y"], json!([1e2]));
        // A server cannot answer in Witgate's place.
        let same = list(r#"{"id":"7","result":{"tools":[{"name":"health\u005fcheck","z":1},{"name":"b"}]}}"#);
        assert_eq!(names(&same), ["b", "health_check", "auth_status"]);
        assert!(same["result"]["tools"][1].get("z").is_none());
        for (tools, shown) in [
            (r#"{"name":"health_check"}"#, vec!["health_check", "auth_status"]),
            ("", vec!["health_check", "auth_status"]),
            (r#"{"name":"a"} , {"name":"auth_status"}"#, vec!["a", "health_check", "auth_status"]),
        ] {
            let all = list(&format!(r#"{{"id":"7","result":{{"tools": [ {tools} ]}}}}"#));
            assert_eq!(names(&all), shown, "{tools}");
        }
        for no_cursor in ["null", "7", "{}"] {
            let message = r#"{"id":"7","result":{"tools":[{"name":"b"}],"nextCursor": null}}"#;
            let end = list(&message.replace("null", no_cursor));
            assert_eq!(names(&end), ["b", "health_check", "auth_status"], "{no_cursor}");
        }
        let page = r#"{"id":"7","result":{"tools":[{"name":"b"},{"name":"auth_status"}],"nextCursor": "2"}}"#;
        assert_eq!(names(&list(page)), ["b"]);
        let page = page.replace("auth_status", "c");
        assert_eq!(completed(&own, "tools/list", Era::Stateful, &page), None, "it keeps its bytes");
    }

    /// The flow refuses it, but only if it is as long as it came.
    #[test]
    fn a_list_that_is_too_long_stays_as_it_is() {
        let own = beside(&[OwnTool::HealthCheck]);
        let list = |entries: usize| {
            let entries = vec![r#"{"name":"health_check"}"#; entries].join(",");
            let message = format!(r#"{{"id":"7","result":{{"tools":[{entries}]}}}}"#);
            completed(&own, "tools/list", Era::Stateful, &message)
        };
        assert_eq!(names(&list(MOST_ITEMS).unwrap()), ["health_check"]);
        assert_eq!(list(MOST_ITEMS + 1), None);
    }

    /// A server may repeat a list on another stream, and answer a request of before on the stream of this one.
    #[tokio::test]
    async fn lists_on_every_stream_have_the_own_tools_only_once() {
        let own = beside(&[OwnTool::HealthCheck]);
        let data = [
            r#"{"id":"7","result":{"tools":[{"name":"health_check"},{"name":"a"}]}}"#,
            r#"{"id":"8","result":{"content":[]}}"#,
            r#"{"method":"x","params":{"tools":[{"name":"health_check"}]}}"#,
        ];
        let events = data.map(|data| Event { data: data.into(), ..Event::default() });
        let events = futures_util::stream::iter(events).boxed();
        let seen: Vec<_> = own.complete_stream(events, None, None).map(|event| event.data).collect().await;
        let list: Value = serde_json::from_slice(&seen[0]).unwrap();
        assert_eq!(names(&list), ["a", "health_check"]);
        assert!(list["result"]["tools"][1]["inputSchema"].is_object(), "{list}");
        assert_eq!(seen[1..], data[1..]);
    }

    /// The server's status for the error that Witgate replaces would be one for its list, too.
    #[tokio::test]
    async fn a_list_that_witgate_makes_has_the_status_of_a_success() {
        let own = beside(&[OwnTool::HealthCheck]);
        let call = Call::parse(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#.into()).unwrap();
        let route = Route {
            upstream: "main".into(),
            resource: "http://localhost/mcp".into(),
            pipeline: 0,
            extensions: Vec::new(),
            advertise_auth: false,
            disagreements: None,
        };
        let request = Arc::new(Request {
            call,
            decision: DecisionId::default(),
            era: Era::Stateful,
            headers: HeaderMap::new(),
            peer: None,
            transport: Transport::Http,
            route: Arc::new(route),
            certificate: None,
            round: None,
            hooks: OnceLock::default(),
        });
        for (code, status) in [(-32601, StatusCode::OK), (-32603, StatusCode::NOT_FOUND)] {
            let message = format!(r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":{code},"message":"no"}}}}"#);
            let body = AnswerBody::Message {
                status: StatusCode::NOT_FOUND,
                message: Bytes::from(message).into(),
                hold: Hold::default(),
            };
            let of = CompletedRequest { request: Arc::clone(&request), gets_token: false };
            let answer = own.complete(of, Answer { session: None, body }).await.unwrap();
            let AnswerBody::Message { status: said, .. } = answer.body else { panic!("no message") };
            assert_eq!(said, status, "{code}");
        }
    }

    #[test]
    fn a_server_without_tools_gets_a_list() {
        let own = beside(&[OwnTool::LimitsStatus]);
        let error = r#"{"jsonrpc":"2.0","id":"7","error":{"code":-32601,"message":"no"}}"#;
        for era in [Era::Stateful, Era::Stateless] {
            let list = completed(&own, "tools/list", era, error).unwrap();
            assert_eq!((names(&list), &list["id"]), (vec!["limits_status"], &json!("7")));
            assert_eq!(list["result"]["resultType"] == "complete", era == Era::Stateless);
        }
        let other = error.replace("-32601", "-32603");
        assert_eq!(completed(&own, "tools/list", Era::Stateful, &other), None);
        let opened = r#"{"id":"7","result":{"capabilities":{"prompts":{}},"serverInfo":{"name":"s"}}}"#;
        let opened = completed(&own, "initialize", Era::Stateful, opened).unwrap();
        assert_eq!(opened["result"]["capabilities"], json!({ "prompts": {}, "tools": {} }));
    }

    #[test]
    fn only_callers_who_can_get_a_token_see_the_tool_for_it() {
        let own = beside(&[OwnTool::IssueToken, OwnTool::HealthCheck]);
        let message = r#"{"id":"7","result":{"tools":[{"name":"a"},{"name":"issue_token"}]}}"#;
        for (gets_token, expected) in
            [(true, vec!["a", "issue_token", "health_check"]), (false, vec!["a", "health_check"])]
        {
            let request =
                AnsweredRequest { method: "tools/list", id: r#""7""#, era: Era::Stateful, gets_token };
            let list = own.completed(&request, message.as_bytes()).unwrap();
            assert_eq!(names(&serde_json::from_slice(&list).unwrap()), expected);
        }
    }

    #[test]
    fn answers_that_cannot_be_read_stay_as_they_are() {
        let own = beside(&[OwnTool::HealthCheck]);
        for message in [
            "no json",
            r#"{"id":"7","result":{"tools":1}}"#,
            r#"{"id":"7","result":{"tools":[],"tools":[]}}"#,
            r#"{"id":"7","result":{}}"#,
            r#"{"id":"7"}"#,
        ] {
            assert_eq!(completed(&own, "tools/list", Era::Stateful, message), None, "{message}");
        }
    }

    #[test]
    fn health_has_the_time() {
        let ada = Principal::new("keys".into(), None, "ada");
        let health = beside(&[OwnTool::HealthCheck]).health(SystemTime::UNIX_EPOCH, &ada);
        assert_eq!(health, json!({ "status": "ok", "timestamp": "1970-01-01T00:00:00Z", "auth_config": {} }));
    }
}
