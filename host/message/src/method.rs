//! The methods of the protocol: what each acts on, and which revisions have it. Everything that is
//! not in this table is a method that nobody knows, and needs a `method:` rule.

use witgate_plugin::TargetKind;

/// A method of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The place of its target in `params`.
    pub shape: Shape,
    /// Request, notification, or either.
    pub form: Form,
    /// The revisions that have it.
    pub eras: Eras,
}

/// The place of a method's target in `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It acts on nothing that a rule could name.
    Open,
    /// As [`Shape::Open`], and this member has to be a string.
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
pub enum Form {
    /// It does.
    Request,
    /// It does not.
    Notification,
}

/// The revisions of the protocol that have a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eras {
    /// All of them, or those from 2026-07-28 on, where an older server does no harm with it.
    Stateless,
    /// Those up to 2025-11-25 alone. Removed afterwards.
    Stateful,
}

/// The method of this name, if the protocol has ever had it.
pub fn find(name: &str) -> Option<Method> {
    use Eras::{Stateful, Stateless};
    use Form::{Notification, Request};
    use TargetKind::{Prompt, Resource, Tool};

    let (form, eras, shape) = match name {
        "initialize" => (Request, Stateful, Shape::OpenWith("protocolVersion")),
        "ping" => (Request, Stateful, Shape::Open),
        "logging/setLevel" => (Request, Stateful, Shape::OpenWith("level")),
        "server/discover" => (Request, Stateless, Shape::Open),
        "tools/list" | "resources/list" | "resources/templates/list" | "prompts/list" => {
            (Request, Stateless, Shape::List)
        }
        "tools/call" => (Request, Stateless, Shape::Named(Tool, "name")),
        "prompts/get" => (Request, Stateless, Shape::Named(Prompt, "name")),
        "resources/read" => (Request, Stateless, Shape::Named(Resource, "uri")),
        "resources/subscribe" | "resources/unsubscribe" => (Request, Stateful, Shape::Named(Resource, "uri")),
        "completion/complete" => (Request, Stateless, Shape::Reference),
        "subscriptions/listen" => (Request, Stateless, Shape::Subscriptions),
        "tasks/get" | "tasks/update" | "tasks/cancel" => (Request, Stateless, Shape::Task),
        "tasks/result" => (Request, Stateful, Shape::Task),
        "tasks/list" => (Request, Stateful, Shape::List),
        "notifications/cancelled" => (Notification, Stateless, Shape::Open),
        "notifications/initialized"
        | "notifications/progress"
        | "notifications/roots/list_changed"
        | "notifications/tasks/status" => (Notification, Stateful, Shape::Open),
        _ => return None,
    };
    Some(Method { shape, form, eras })
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
