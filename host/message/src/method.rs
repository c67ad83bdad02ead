//! The methods of the protocol: what each acts on, and which revisions have it. Everything that is
//! not in this table is a method that nobody knows, and needs a `method:` rule.

use witgate_plugin::TargetKind;

/// A method of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolMethod {
    /// The place of its target in `params`.
    pub shape: MethodShape,
    /// Request, notification, or either.
    pub form: MethodForm,
    /// The revisions that have it.
    pub eras: MethodEras,
}

/// The place of a method's target in `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodShape {
    /// It acts on nothing that a rule could name.
    Open,
    /// As [`MethodShape::Open`], and this member has to be a string.
    OpenWith(&'static str),
    /// One of the four lists; `cursor` may stand there.
    List,
    /// A string member names it.
    Named(TargetKind, &'static str),
    /// `ref`, a prompt or a resource (`completion/complete`).
    Reference,
    /// `notifications`, with resources and tasks to subscribe to (`subscriptions/listen`).
    Subscriptions,
    /// `taskId`; a task belongs to who started it.
    Task,
}

/// The form of a method's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodForm {
    /// It does.
    Request,
    /// It does not.
    Notification,
}

/// The revisions of the protocol that have a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodEras {
    /// All of them, or those from 2026-07-28 on, where an older server does no harm with it.
    Stateless,
    /// Those up to 2025-11-25 alone. Removed afterwards.
    Stateful,
}

/// The method of this name, if the protocol has ever had it.
pub fn find(name: &str) -> Option<ProtocolMethod> {
    use MethodEras::{Stateful, Stateless};
    use MethodForm::{Notification, Request};
    use TargetKind::{Prompt, Resource, Tool};

    let (form, eras, shape) = match name {
        "initialize" => (Request, Stateful, MethodShape::OpenWith("protocolVersion")),
        "ping" => (Request, Stateful, MethodShape::Open),
        "logging/setLevel" => (Request, Stateful, MethodShape::OpenWith("level")),
        "server/discover" => (Request, Stateless, MethodShape::Open),
        "tools/list" | "resources/list" | "resources/templates/list" | "prompts/list" => {
            (Request, Stateless, MethodShape::List)
        }
        "tools/call" => (Request, Stateless, MethodShape::Named(Tool, "name")),
        "prompts/get" => (Request, Stateless, MethodShape::Named(Prompt, "name")),
        "resources/read" => (Request, Stateless, MethodShape::Named(Resource, "uri")),
        "resources/subscribe" | "resources/unsubscribe" => {
            (Request, Stateful, MethodShape::Named(Resource, "uri"))
        }
        "completion/complete" => (Request, Stateless, MethodShape::Reference),
        "subscriptions/listen" => (Request, Stateless, MethodShape::Subscriptions),
        "tasks/get" | "tasks/update" | "tasks/cancel" => (Request, Stateless, MethodShape::Task),
        "tasks/result" => (Request, Stateful, MethodShape::Task),
        "tasks/list" => (Request, Stateful, MethodShape::List),
        "notifications/cancelled" => (Notification, Stateless, MethodShape::Open),
        "notifications/initialized"
        | "notifications/progress"
        | "notifications/roots/list_changed"
        | "notifications/tasks/status" => (Notification, Stateful, MethodShape::Open),
        _ => return None,
    };
    Some(ProtocolMethod { shape, form, eras })
}

/// Members of the envelope.
pub(super) const ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// Members that the protocol defines in `params` of a client's messages, and in what the
/// decision looks at inside them.
pub(super) const PARAMS: &[&str] = &[
    "_meta",
    "name",
    "uri",
    "arguments",
    "cursor",
    "ref",
    "argument",
    "context",
    "level",
    "task",
    "taskId",
    "notifications",
    "resourceSubscriptions",
    "taskIds",
    "inputResponses",
    "requestState",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "requestId",
    "reason",
    "progressToken",
    "progress",
    "total",
    "message",
    "type",
];

/// Members of `_meta` that the protocol defines.
pub(super) const META: &[&str] =
    &["progressToken", META_VERSION, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL];

/// The protocol version that a request of the stateless era names.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The client's capabilities in a request of the stateless era.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
