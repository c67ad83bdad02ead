//! One MCP message from a client, parsed strictly once. It keeps the received bytes, except optional members that are
//! `null` (`message/nulls`), and the positions of its parts. So the forwarded bytes are those on which the decision
//! was made.

use std::ops::Range;

use bytes::Bytes;
use witgate_plugin::TargetKind;

/// The longest method, in bytes, that policies get (WIT `call.method`).
pub const LONGEST_METHOD: usize = 256;

/// The longest target, in bytes, that policies get (WIT `call.target`).
pub const LONGEST_NAME: usize = 8192;

/// The longest id or progress token, in bytes of JSON. Those of usual clients have a few dozen.
pub const LONGEST_ID: usize = 1026;

/// Maximum number of resources in one message. Every policy decides about each of them.
pub const MOST_TARGETS: usize = 1000;

/// The position of a value in the body.
pub type Span = Range<usize>;

/// The target of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The kind of target.
    pub kind: TargetKind,
    /// Tool name, resource URI, prompt name, or the method.
    pub name: Box<str>,
}

impl Target {
    /// The prefix of this kind in patterns.
    pub fn prefix(&self) -> &'static str {
        match self.kind {
            TargetKind::Tool => "",
            TargetKind::Resource => "resource:",
            TargetKind::Prompt => "prompt:",
            TargetKind::Method => "method:",
        }
    }
}

/// The permission that a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every identity has it: the handshake, `ping`, the lists (which are filtered), notifications of the protocol,
    /// and answers to the server's own requests.
    Open,
    /// The right to one target.
    Target(Target),
    /// The right to each of several targets (`subscriptions/listen`).
    Targets(Vec<Target>),
}

/// The kind of a JSON-RPC message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A request, which gets an answer under this id.
    Request {
        /// The id, a JSON string or integer, in its received form.
        id: Span,
    },
    /// A notification, which gets no answer.
    Notification,
    /// An answer to a request of the server.
    Response {
        /// The id of that request, in its received form.
        id: Span,
    },
}

/// A message from a client.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) body: Bytes,
    pub(super) kind: MessageKind,
    /// Empty for a response.
    pub(super) method: Box<str>,
    pub(super) access: Access,
    pub(super) arguments: Option<Span>,
    pub(super) meta: Option<Span>,
    pub(super) progress_token: Option<Span>,
    /// `_meta["io.modelcontextprotocol/protocolVersion"]`.
    pub(super) meta_version: Option<Box<str>>,
    /// True if `_meta["io.modelcontextprotocol/clientCapabilities"]` is an object.
    pub(super) meta_capabilities: bool,
    /// The tasks that the message names.
    pub(super) tasks: Vec<Box<str>>,
    pub(super) may_start_task: bool,
    pub(super) declares_tasks: bool,
}

impl Call {
    /// The call for a GET or DELETE, which has no message. It needs no right besides that to the session.
    pub fn bodiless(method: &'static str) -> Self {
        Self {
            body: Bytes::new(),
            kind: MessageKind::Notification,
            method: method.into(),
            access: Access::Open,
            arguments: None,
            meta: None,
            progress_token: None,
            meta_version: None,
            meta_capabilities: false,
            tasks: Vec::new(),
            may_start_task: false,
            declares_tasks: false,
        }
    }

    /// A copy of the call in its own memory, which may be smaller than the buffer of the message.
    pub fn kept(&self) -> Self {
        Self { body: Bytes::copy_from_slice(&self.body), ..self.clone() }
    }

    /// The message, byte for byte, without optional members of the protocol that were `null`.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The kind of the message.
    pub fn kind(&self) -> &MessageKind {
        &self.kind
    }

    /// The method; empty for a response.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The permission that the call needs.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The request's id as JSON text.
    pub fn id(&self) -> Option<&str> {
        match &self.kind {
            MessageKind::Request { id } | MessageKind::Response { id } => self.text(id),
            MessageKind::Notification => None,
        }
    }

    /// `params.arguments` as JSON text.
    pub fn arguments(&self) -> Option<&str> {
        self.text(self.arguments.as_ref()?)
    }

    /// `params._meta` as JSON text.
    pub fn meta(&self) -> Option<&str> {
        self.text(self.meta.as_ref()?)
    }

    /// The progress token as JSON text.
    pub fn progress_token(&self) -> Option<&str> {
        self.text(self.progress_token.as_ref()?)
    }

    /// The protocol version that the body names, for a request of the stateless era.
    pub fn meta_version(&self) -> Option<&str> {
        self.meta_version.as_deref()
    }

    /// True if `_meta` has the members that every request of the stateless era needs.
    pub fn has_full_meta(&self) -> bool {
        self.meta_version.is_some() && self.meta_capabilities
    }

    /// The tasks that the call acts on or subscribes to. Each of them has to belong to the caller.
    pub fn tasks(&self) -> &[Box<str>] {
        &self.tasks
    }

    /// True if the client of a message about tasks may have declared the extension for them.
    pub fn declares_tasks(&self) -> bool {
        self.declares_tasks
    }

    /// True if the answer has to be filtered, so that an upstream returns it message by message.
    pub fn needs_filtering(&self) -> bool {
        self.may_start_task()
            || self.asks_capabilities()
            || matches!(
                self.method(),
                "tools/list"
                    | "resources/list"
                    | "resources/templates/list"
                    | "prompts/list"
                    | "tasks/list"
                    | "tasks/get"
                    | "tasks/cancel"
                    | "subscriptions/listen"
            )
    }

    /// True if the answer tells a client the capabilities of the server.
    pub fn asks_capabilities(&self) -> bool {
        matches!(self.method(), "initialize" | "server/discover")
    }

    /// True if the answer may be a task instead of a result.
    pub fn may_start_task(&self) -> bool {
        self.may_start_task
    }

    fn text(&self, span: &Span) -> Option<&str> {
        std::str::from_utf8(self.body.get(span.clone())?).ok()
    }
}
