//! Witgate's own tools beside those of a server, at the same endpoint. They are called in this process, and their entries
//! are added to the server's list before the flow filters it: the same policies decide about both.
//!
//! An own tool precedes a tool of the server that has its name, so that a server cannot answer in Witgate's place. The
//! server's tool is then left out of lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use witgate_plugin::TargetKind;

use super::own_tools::OwnTools;
use witgate_base::clock;
use witgate_base::party::Principal;
use witgate_config::OwnTool;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, AnswerBody, Upstream};
use witgate_flow::reject::Rejection;
use witgate_flow::request::Request;
use witgate_message::call::{Access, Call};
use witgate_message::era::Era;
use witgate_message::json::{Members, MessageForm, form};
use witgate_message::strict_json::{StrictMembers, string};

/// JSON-RPC 2.0 §5.1: the answer of a server without tools to a request for their list.
const METHOD_NOT_FOUND: &str = "-32601";

/// The parts of a request that its answer depends on.
struct AnsweredRequest<'a> {
    method: &'a str,
    /// The id as JSON text.
    id: &'a str,
    era: Era,
}

impl<'a> From<&'a Request> for AnsweredRequest<'a> {
    fn from(request: &'a Request) -> Self {
        Self { method: request.call.method(), id: request.call.id().unwrap_or("null"), era: request.era }
    }
}

/// The own tools that an upstream offers, and the data that they show.
pub(super) struct ToolsBeside {
    offered: Vec<OwnTool>,
    data: OwnTools,
    /// The names of the upstream's variables or headers with credentials.
    credentials: Vec<String>,
    /// True if the log has told of a tool of the server that is left out.
    has_told: AtomicBool,
}

impl ToolsBeside {
    /// These tools. None: there are none.
    pub(super) fn new(
        offered: &[OwnTool],
        data: OwnTools,
        credentials: impl Iterator<Item = String>,
    ) -> Option<Arc<Self>> {
        let own = Self {
            offered: offered.to_vec(),
            data,
            credentials: credentials.collect(),
            has_told: AtomicBool::new(false),
        };
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
        let request = Arc::clone(admitted.permit().request());
        Ok(self.complete(&request, server.forward(admitted).await?))
    }

    /// The answer to a call of an own tool. None: it is for the server.
    fn answer(&self, admitted: &Admitted) -> Option<Answer> {
        let request = admitted.permit().request();
        let tool = self.called(&request.call)?;
        let message = self.result(tool, request, &admitted.permit().caller().principal());
        Some(Answer { session: None, body: AnswerBody::message(message) })
    }

    /// The server's answer, with the own tools in a list of tools and in the capabilities of a handshake.
    fn complete(self: &Arc<Self>, request: &Arc<Request>, answer: Answer) -> Answer {
        if request.call.method() != "tools/list" && !request.call.asks_capabilities() {
            return answer;
        }
        let (own, request) = (Arc::clone(self), Arc::clone(request));
        let body = match answer.body {
            AnswerBody::Message { status, message, hold } => {
                let text = message.into_text();
                let message = own.completed(&(&*request).into(), &text).unwrap_or(text).into();
                AnswerBody::Message { status, message, hold }
            }
            AnswerBody::Events(events) => AnswerBody::Events(
                events
                    .map(move |mut event| {
                        if form(&event.data) == Some(MessageForm::Response)
                            && let Some(data) = own.completed(&(&*request).into(), &event.data)
                        {
                            event.data = data;
                        }
                        event
                    })
                    .boxed(),
            ),
            // What needs no filter is neither a list nor a handshake.
            other => other,
        };
        Answer { body, ..answer }
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

    fn result(&self, tool: OwnTool, request: &Request, caller: &Principal) -> Bytes {
        let data = match tool {
            OwnTool::HealthCheck => self.health(clock::system_time()),
            OwnTool::AuthStatus => json!(self.data.auth()),
            OwnTool::LimitsStatus => json!({ "limits": self.data.limits_of(caller) }),
        };
        let mut result = json!({
            "content": [{ "type": "text", "text": data.to_string() }],
            "structuredContent": data,
            "isError": false,
        });
        if let (Era::Stateless, Some(members)) = (request.era, result.as_object_mut()) {
            members.insert("resultType".to_owned(), "complete".into());
        }
        response(&request.into(), &result.to_string())
    }

    fn health(&self, now: SystemTime) -> Value {
        let configured: serde_json::Map<_, _> =
            self.credentials.iter().map(|name| (name.clone(), "configured".into())).collect();
        json!({
            "status": "ok",
            "timestamp": humantime::format_rfc3339_seconds(now).to_string(),
            "auth_config": configured,
        })
    }

    /// The message with the own tools. None: it stays as it is.
    fn completed(&self, request: &AnsweredRequest<'_>, message: &[u8]) -> Option<Bytes> {
        let mut envelope = Members::read(std::str::from_utf8(message).ok()?)?;
        let Some(result) = envelope.came("result") else {
            let error = Members::read(envelope.came("error")?)?;
            let has_none = request.method == "tools/list" && error.get("code") == Some(METHOD_NOT_FOUND);
            return has_none.then(|| self.only_own(request));
        };
        let mut result = Members::read(result)?;
        match request.method {
            "tools/list" => {
                let tools: Vec<&RawValue> = serde_json::from_str(result.came("tools")?).ok()?;
                let is_last = result.get("nextCursor").is_none();
                result.set("tools", self.list(&tools, is_last));
            }
            _ => {
                let mut capabilities = Members::read(result.came("capabilities")?)?;
                capabilities.set_if_absent("tools", "{}");
                let capabilities = capabilities.render();
                result.set("capabilities", capabilities);
            }
        }
        let result = result.render();
        envelope.set("result", result);
        Some(envelope.render().into())
    }

    /// The server's entries without those of the same names, and on the last page the own ones.
    fn list(&self, tools: &[&RawValue], is_last: bool) -> String {
        let is_other = |entry: &&&RawValue| {
            let members = StrictMembers::read(entry.get()).ok();
            let name = members.as_ref().and_then(|members| members.get("name")).and_then(string);
            let own = name.and_then(|name| self.named(&name));
            own.inspect(|own| self.tell_of(*own)).is_none()
        };
        let theirs = tools.iter().filter(is_other).map(|entry| entry.get().to_owned());
        let own = self.offered.iter().filter(|_| is_last).map(|tool| entry(*tool).to_string());
        format!("[{}]", theirs.chain(own).collect::<Vec<_>>().join(","))
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
        let tools = self.list(&[], true);
        let result = match request.era {
            Era::Stateful => format!(r#"{{"tools":{tools}}}"#),
            Era::Stateless => {
                format!(r#"{{"tools":{tools},"resultType":"complete","ttlMs":0,"cacheScope":"private"}}"#)
            }
        };
        response(request, &result)
    }
}

fn response(request: &AnsweredRequest<'_>, result: &str) -> Bytes {
    let id = request.id;
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// The entry in a list of tools. None of them takes arguments.
fn entry(tool: OwnTool) -> Value {
    let description = match tool {
        OwnTool::HealthCheck => {
            "Tells whether the gateway works, and which credentials it has for the server"
        }
        OwnTool::AuthStatus => "Tells whether authentication is enabled and a key is configured",
        OwnTool::LimitsStatus => "Tells the limits of calls, and what remains of them",
    };
    json!({
        "name": tool.name(),
        "description": description,
        "inputSchema": { "type": "object", "properties": {}, "additionalProperties": false },
        "annotations": { "readOnlyHint": true, "openWorldHint": false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own_tools::AuthStatus;

    fn beside(offered: &[OwnTool]) -> Arc<ToolsBeside> {
        let data = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
        ToolsBeside::new(offered, data, ["API_TOKEN".to_owned()].into_iter()).unwrap()
    }

    fn completed(own: &ToolsBeside, method: &str, era: Era, message: &str) -> Option<Value> {
        let request = AnsweredRequest { method, id: r#""7""#, era };
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
        let page = list(r#"{"id":"7","result":{"tools":[{"name":"b"}],"nextCursor":"2"}}"#);
        assert_eq!(names(&page), ["b"]);
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
    fn health_names_credentials_without_their_values() {
        let health = beside(&[OwnTool::HealthCheck]).health(SystemTime::UNIX_EPOCH);
        assert_eq!(
            health,
            json!({ "status": "ok", "timestamp": "1970-01-01T00:00:00Z", "auth_config": { "API_TOKEN": "configured" } })
        );
    }
}
