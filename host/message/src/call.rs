//! One MCP message from a client, parsed strictly once. It keeps the bytes that came in, but for members that say nothing
//! (`message/nulls`), and where the parts lie in them, so that what is decided on is what is forwarded.

use std::ops::Range;

use bytes::Bytes;
use witgate_plugin::TargetKind;

/// The longest method, in bytes, that a policy is asked about (WIT `call.method`).
pub const LONGEST_METHOD: usize = 256;

/// The longest name of a thing, in bytes, that a policy is asked about (WIT `call.target`).
pub const LONGEST_NAME: usize = 8192;

/// The longest id or progress token, in bytes of JSON. Those that clients make have a few dozen.
pub const LONGEST_ID: usize = 1026;

/// Maximum number of resources in one message: every policy decides on each.
pub const MOST_TARGETS: usize = 1000;

/// A place in the body.
pub type Span = Range<usize>;

/// A thing that a call acts on.
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
    /// Any identity may: the handshake, `ping`, the lists (which are filtered), notifications of
    /// the protocol, and answers to the server's own requests.
    Open,
    /// The right to one thing.
    Target(Target),
    /// The right to each of several things (`subscriptions/listen`).
    Targets(Vec<Target>),
}

/// The kind of a JSON-RPC message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// It wants an answer under this id.
    Request {
        /// The id, a JSON string or integer, as it came.
        id: Span,
    },
    /// It wants none.
    Notification,
    /// It answers a request of the server's.
    Response {
        /// The id of that request, as it came.
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
    /// Tasks that it names.
    pub(super) tasks: Vec<Box<str>>,
    pub(super) may_start_task: bool,
    pub(super) declares_tasks: bool,
}

impl Call {
    /// Stands for a GET or DELETE, which has no message: nobody's right is needed beyond that to
    /// the session.
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

    /// The same call, in memory of its own: what a message came in may be larger.
    pub fn kept(&self) -> Self {
        Self { body: Bytes::copy_from_slice(&self.body), ..self.clone() }
    }

    /// The message, byte for byte; without optional members of the protocol's that were `null`.
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

    /// The permission that it needs.
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

    /// The tasks that it acts on or subscribes to. Each has to be the caller's.
    pub fn tasks(&self) -> &[Box<str>] {
        &self.tasks
    }

    /// True if the client of a message that names tasks may have declared the extension for them.
    pub fn declares_tasks(&self) -> bool {
        self.declares_tasks
    }

    /// True where its answer has to be filtered, so that an upstream hands it over message by message.
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
                    | "subscriptions/listen"
            )
    }

    /// True where the answer tells a client what the server can do.
    pub fn asks_capabilities(&self) -> bool {
        matches!(self.method(), "initialize" | "server/discover")
    }

    /// True where the answer may be a task instead of a result.
    pub fn may_start_task(&self) -> bool {
        self.may_start_task
    }

    fn text(&self, span: &Span) -> Option<&str> {
        std::str::from_utf8(self.body.get(span.clone())?).ok()
    }
}
