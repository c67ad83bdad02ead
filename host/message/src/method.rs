//! The methods of the protocol, with their targets and revisions. A method that is not in this table is unknown, and
//! needs a `method:` rule.

use witgate_plugin::TargetKind;

/// A method of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolMethod {
    /// The place of the target in `params`.
    pub shape: MethodShape,
    /// Request or notification.
    pub form: MethodForm,
    /// The revisions with this method.
    pub eras: MethodEras,
}

/// The place of a method's target in `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodShape {
    /// The method has no target that a rule could name.
    Open,
    /// As [`MethodShape::Open`], but this member has to be a string.
    OpenWith(&'static str),
    /// One of the four lists, with an optional `cursor`.
    List,
    /// A string member is the target.
    Named(TargetKind, &'static str),
    /// `ref`, a prompt or a resource (`completion/complete`).
    Reference,
    /// `notifications`, with resources and tasks to subscribe to (`subscriptions/listen`).
    Subscriptions,
    /// `taskId`; a task belongs to the caller who started it.
    Task,
}

/// The form of a method's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodForm {
    /// The method is a request.
    Request,
    /// The method is a notification.
    Notification,
}

/// The revisions of the protocol that have a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodEras {
    /// All revisions, or those from 2026-07-28 if an older server ignores the method.
    Stateless,
    /// Only those up to 2025-11-25. The method was removed afterwards.
    Stateful,
}

/// The names of all methods, the frequent ones first.
pub const NAMES: [&str; 25] = [
    "tools/call",
    "tools/list",
    "initialize",
    "notifications/initialized",
    "server/discover",
    "resources/read",
    "prompts/get",
    "ping",
    "logging/setLevel",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "subscriptions/listen",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "tasks/result",
    "tasks/list",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
];

/// The method of this name, if it is in any revision of the protocol.
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

/// Members that the protocol defines in `params` of a client's messages, and in the parts of `params` on which the
/// decision depends.
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

/// The protocol version in a request of the stateless era.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The client's capabilities in a request of the stateless era.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

#[cfg(test)]
mod tests {
    use super::{NAMES, find};

    #[test]
    fn every_name_is_a_method_and_every_method_has_its_name() {
        assert!(NAMES.iter().all(|name| find(name).is_some()));
        let source = include_str!("method.rs");
        let (_, table) = source.split_once("let (form, eras, shape)").unwrap();
        let (table, _) = table.split_once("_ => return None").unwrap();
        let quoted = table.split('"').skip(1).step_by(2).filter(|text| find(text).is_some());
        assert!(quoted.clone().all(|name| NAMES.contains(&name)), "a method is missing in `NAMES`");
        assert_eq!(quoted.count(), NAMES.len());
    }
}
