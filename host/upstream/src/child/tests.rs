use futures_util::FutureExt;
use serde_json::{Value, json};

use super::*;
use witgate_base::party::ANONYMOUS;
use witgate_flow::limit::CallPlaces;

mod eras;
mod faults;
mod growth;
mod messages;
mod shared_child;
mod starts;
mod unread_messages;

const TIMEOUT: Duration = Duration::from_secs(10);

/// An upstream on the Python server beside this file.
pub(super) struct Small {
    pub(super) upstream: ChildUpstream,
}

/// A client with a principal, and a session once it has opened one.
pub(super) struct Client<'a> {
    small: &'a Small,
    pub(super) principal: Principal,
    pub(super) party: Party,
    pub(super) session: Option<Box<str>>,
}

pub(super) fn small(era: &str, change: impl FnOnce(&mut ChildSettings)) -> Small {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/child/tests/server.py");
    let argv = ["python3", "-u", script, era].map(str::to_owned).to_vec();
    let env = vec![("TOKEN".to_owned(), "upstream-token".into())];
    let program = Program {
        name: "small".to_owned(),
        argv,
        env,
        lifetimes: Vec::new(),
        identity: Vec::new(),
        credentials: Arc::default(),
    };
    let mut settings = ChildSettings::new("small", false, TIMEOUT, Duration::from_secs(2));
    change(&mut settings);
    Small { upstream: ChildUpstream::new(settings, Arc::new(program), EraCache::default()) }
}

/// The principal that a policy `keys` calls `name`.
fn principal_named(name: &str) -> Principal {
    Principal::new("keys".into(), None, name)
}

impl Small {
    pub(super) fn client(&self, principal: &str) -> Client<'_> {
        let principal = principal_named(principal);
        Client { small: self, party: principal.clone().party(None), principal, session: None }
    }

    /// A client without a name, at this address.
    pub(super) fn nameless(&self, peer: &str) -> Client<'_> {
        let principal = Principal::new(ANONYMOUS.into(), None, "");
        let party = principal.clone().party(Some(peer.parse().unwrap()));
        Client { small: self, principal, party, session: None }
    }

    /// A client that has opened a session.
    pub(super) async fn session(&self, principal: &str) -> Client<'_> {
        let mut client = self.client(principal);
        let opened = client.say(initialize(json!({"elicitation": {}}))).await.unwrap();
        assert!(message(&opened)["result"]["serverInfo"].is_object(), "{:?}", message(&opened));
        client.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.unwrap();
        client
    }
}

pub(super) fn initialize(capabilities: Value) -> Value {
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities,
        "clientInfo": {"name": "t", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params})
}

impl Client<'_> {
    /// Sends a message, and remembers the session that comes of it.
    pub(super) async fn say(&mut self, body: Value) -> Result<AnswerBody, Rejection> {
        self.say_raw(&body.to_string()).await
    }

    pub(super) async fn say_raw(&mut self, body: &str) -> Result<AnswerBody, Rejection> {
        let (session, body) = self.send(body, self.session.as_deref()).await?;
        self.session = session.or(self.session.take());
        Ok(body)
    }

    /// Sends a message within a named session.
    pub(super) async fn send(
        &self,
        body: &str,
        session: Option<&str>,
    ) -> Result<(Option<Box<str>>, AnswerBody), Rejection> {
        let call = Call::parse(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let principal = self.principal.clone();
        let party = self.party.clone();
        let sent = OutgoingMessage {
            call: &call,
            arguments: call.arguments(),
            principal,
            party,
            account: &Account::default(),
            places: &CallPlaces::default(),
            session,
            has_arguments: false,
            headers: None,
        };
        let back = self.small.upstream.inner.send(sent).await?;
        let patience = self.small.upstream.inner.settings.timeout;
        Ok((back.session, answer(back.outcome, patience, &Account::default()).await?))
    }

    /// Calls a tool in the client's session.
    pub(super) async fn call(&self, id: Value, tool: &str, params: Value) -> Result<AnswerBody, Rejection> {
        let body = tool_call(id, tool, params).to_string();
        self.send(&body, self.session.as_deref()).await.map(|(_, body)| body)
    }

    pub(super) fn inbox(&self) -> BoxStream<'static, Event> {
        let session =
            self.small.upstream.inner.session(self.session.as_deref().unwrap(), &self.principal).unwrap();
        audience::open(Arc::clone(&session.member))
    }
}

pub(super) fn tool_call(id: Value, tool: &str, params: Value) -> Value {
    let mut params = params;
    params["name"] = tool.into();
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

pub(super) fn modern(id: Value, method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// The one message of an answer.
pub(super) fn message(answer: &AnswerBody) -> Value {
    match answer {
        AnswerBody::Message { message, .. } => serde_json::from_slice(message.as_ref()).unwrap(),
        AnswerBody::Accepted => panic!("accepted"),
        AnswerBody::Events(_) => panic!("a stream"),
        AnswerBody::Raw { .. } => panic!("raw"),
    }
}

/// The text of a tool's result, as the Python server wraps it.
pub(super) fn said(answer: &AnswerBody) -> Value {
    let message = message(answer);
    let text = message["result"]["content"][0]["text"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("{message}"))).unwrap()
}

pub(super) fn stream(answer: AnswerBody) -> BoxStream<'static, Event> {
    match answer {
        AnswerBody::Events(events) => events,
        other => panic!("no stream: {:?}", message(&other)),
    }
}

pub(super) async fn next(events: &mut BoxStream<'static, Event>) -> Value {
    let event = tokio::time::timeout(TIMEOUT, events.next()).await.expect("nothing came").expect("it ended");
    serde_json::from_slice(&event.data).unwrap()
}

pub(super) fn fault_of(answer: Result<AnswerBody, Rejection>) -> UpstreamFault {
    match answer {
        Err(Rejection::Upstream { fault, .. }) => fault,
        Err(other) => panic!("{other:?}"),
        Ok(answer) => panic!("{}", message(&answer)),
    }
}
