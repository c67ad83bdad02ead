//! The destination of a message. Only its own content and the configuration decide.

use std::ops::Range;

use bytes::Bytes;
use witgate_message::call::{Access, Call, MessageKind};
use witgate_message::fault::MessageFault;
use witgate_message::json::{Members, quote, span_in, splice};
use witgate_plugin::TargetKind;

use crate::lists::{Cursors, ListKind, cursors, foreign_cursor};
use crate::names::NamePlan;

/// The upstreams that a message is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MessageDestination {
    /// One upstream, which gets this body.
    One(RoutedMessage),
    /// The upstream of a task.
    OfTask(Box<str>),
    /// The upstream that has got the request with this id, or all.
    OfRequest(Box<str>),
    /// All upstreams of the session.
    All,
    /// The first upstream that answers.
    Any,
    /// All upstreams of a handshake.
    Handshake,
    /// All upstreams of a list, or those with a cursor.
    List(ListKind, Option<Cursors>),
    /// The upstreams of which something is subscribed to.
    Subscriptions,
    /// No upstream.
    Nowhere(MessageFault),
}

/// A message for one upstream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RoutedMessage {
    pub(crate) place: usize,
    pub(crate) body: Bytes,
    /// The upstream's name of the target, if it has another one at the endpoint.
    pub(crate) name: Option<String>,
}

impl MessageDestination {
    pub(crate) fn of(plan: &NamePlan, call: &Call) -> Self {
        match call.kind() {
            MessageKind::Response { .. } => of_answer(plan, call),
            MessageKind::Notification => of_notification(plan, call),
            MessageKind::Request { .. } => of_request(plan, call),
        }
    }
}

fn of_request(plan: &NamePlan, call: &Call) -> MessageDestination {
    let method = call.method();
    match method {
        "initialize" | "server/discover" => MessageDestination::Handshake,
        "ping" => MessageDestination::Any,
        "logging/setLevel" => MessageDestination::All,
        "subscriptions/listen" => MessageDestination::Subscriptions,
        "tools/call" | "prompts/get" => of_target(plan, call, &["name"]),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => of_target(plan, call, &["uri"]),
        "completion/complete" => of_target(plan, call, &["ref", "name"]),
        _ => match (ListKind::of(method), call.tasks()) {
            (Some(kind), _) => of_list(plan, kind, call),
            (None, [task]) if method.starts_with("tasks/") => MessageDestination::OfTask(task.clone()),
            _ => MessageDestination::Nowhere(MessageFault::UnknownMethod(method.to_owned())),
        },
    }
}

/// The upstream of a target, whose name is in `params` at `at`.
fn of_target(plan: &NamePlan, call: &Call, at: &[&str]) -> MessageDestination {
    let Access::Target(target) = call.access() else { return unreadable() };
    let Some((place, name)) = plan.target(target.kind, &target.name) else {
        return MessageDestination::Nowhere(MessageFault::InvalidParams(unknown(target.kind)));
    };
    if name == &*target.name {
        return MessageDestination::One(RoutedMessage { place, body: call.body().clone(), name: None });
    }
    let body = spliced(call.body(), at, &quote(name));
    body.map_or_else(unreadable, |body| {
        MessageDestination::One(RoutedMessage { place, body, name: Some(name.to_owned()) })
    })
}

fn unknown(kind: TargetKind) -> String {
    match kind {
        TargetKind::Tool => "There is no such tool at this endpoint".to_owned(),
        TargetKind::Prompt => "There is no such prompt at this endpoint".to_owned(),
        TargetKind::Resource => "There is no such resource at this endpoint".to_owned(),
        TargetKind::Method => "There is no such method at this endpoint".to_owned(),
    }
}

fn of_list(plan: &NamePlan, kind: ListKind, call: &Call) -> MessageDestination {
    let is_offered = |place| plan.offers_resources(place);
    if kind.is_of_resources() && !plan.places().any(is_offered) {
        return MessageDestination::Nowhere(MessageFault::UnknownMethod(call.method().to_owned()));
    }
    let cursor = member(call.body(), &["cursor"]).and_then(|text| serde_json::from_str::<String>(text).ok());
    match cursor.map(|cursor| cursors(plan, &cursor)) {
        None => MessageDestination::List(kind, None),
        Some(Some(cursors)) => MessageDestination::List(kind, Some(cursors)),
        Some(None) => MessageDestination::Nowhere(foreign_cursor()),
    }
}

fn of_notification(plan: &NamePlan, call: &Call) -> MessageDestination {
    match call.method() {
        "notifications/initialized" | "notifications/roots/list_changed" => MessageDestination::All,
        "notifications/cancelled" => match member(call.body(), &["requestId"]) {
            Some(id) => MessageDestination::OfRequest(id.into()),
            None => unreadable(),
        },
        "notifications/progress" => of_id(plan, call.body(), member(call.body(), &["progressToken"])),
        // It may concern any upstream, and upstreams must not rely on it (MCP 2025-11-25, "Tasks").
        method => MessageDestination::Nowhere(MessageFault::UnknownMethod(method.to_owned())),
    }
}

/// An answer goes to the upstream whose request it answers.
fn of_answer(plan: &NamePlan, call: &Call) -> MessageDestination {
    of_id(plan, call.body(), call.id())
}

/// The upstream of an id or a progress token, which is a part of `body`.
fn of_id(plan: &NamePlan, body: &Bytes, id: Option<&str>) -> MessageDestination {
    let Some(id) = id else { return unreadable() };
    let Some((place, own)) = plan.own_id(id) else {
        let message = "this answer belongs to no request of a server".to_owned();
        return MessageDestination::Nowhere(MessageFault::InvalidRequest(message));
    };
    let Some(span) = span_in(body, id) else { return unreadable() };
    let body = splice(body, &mut [(span, &own)]);
    MessageDestination::One(RoutedMessage { place, body, name: None })
}

/// A member of `params`, as JSON text.
fn member<'a>(body: &'a Bytes, at: &[&str]) -> Option<&'a str> {
    let envelope = Members::read(std::str::from_utf8(body).ok()?)?.came("params")?;
    at.iter().try_fold(envelope, |object, name| Members::read(object)?.came(name))
}

/// The message with another value of a member of `params`.
fn spliced(body: &Bytes, at: &[&str], value: &str) -> Option<Bytes> {
    let span: Range<usize> = span_in(body, member(body, at)?)?;
    Some(splice(body, &mut [(span, value)]))
}

/// The flow has parsed the message, so this does not happen.
fn unreadable() -> MessageDestination {
    MessageDestination::Nowhere(MessageFault::InvalidRequest("this message cannot be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::plan;

    fn of(message: &str) -> MessageDestination {
        let plan = plan(&[("a", &["plain", "resource:file:///*"]), ("b", &[])]);
        MessageDestination::of(&plan, &Call::parse(Bytes::from(message.to_owned())).unwrap())
    }

    fn one(place: usize, body: &str, name: Option<&str>) -> MessageDestination {
        let (body, name) = (Bytes::from(body.to_owned()), name.map(str::to_owned));
        MessageDestination::One(RoutedMessage { place, body, name })
    }

    #[test]
    fn a_call_goes_to_the_upstream_of_its_name() {
        let call = |name: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":{{"name":"b__x"}},"name":"{name}"}}}}"#
            )
        };
        assert_eq!(of(&call("b__x")), one(1, &call("x"), Some("x")));
        assert_eq!(of(&call("plain")), one(0, &call("plain"), None));
        for unknown in ["x", "c__x", "a__plain", "b__"] {
            assert!(
                matches!(of(&call(unknown)), MessageDestination::Nowhere(MessageFault::InvalidParams(_))),
                "{unknown}"
            );
        }
        let complete = |name: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{{"ref":{{"type":"ref/prompt","name":"{name}"}},"argument":{{}}}}}}"#
            )
        };
        assert_eq!(of(&complete("b__p")), one(1, &complete("p"), Some("p")));
        let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///x"}}"#;
        assert_eq!(of(read), one(0, read, None));
    }

    #[test]
    fn an_answer_goes_to_the_upstream_that_has_asked() {
        let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        assert_eq!(of(&answer(r#""b__\"7\"""#)), one(1, &answer(r#""7""#), None));
        assert_eq!(of(&answer(r#""a__7""#)), one(0, &answer("7"), None));
        assert!(matches!(of(&answer("7")), MessageDestination::Nowhere(_)));
        let progress = |token: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
            )
        };
        assert_eq!(of(&progress(r#""b__3""#)), one(1, &progress("3"), None));
    }

    #[test]
    fn other_messages_go_to_all_or_nowhere() {
        let request =
            |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
        assert_eq!(of(&request("ping")), MessageDestination::Any);
        assert_eq!(of(&request("tools/list")), MessageDestination::List(ListKind::Tools, None));
        assert_eq!(of(&request("resources/list")), MessageDestination::List(ListKind::Resources, None));
        assert!(matches!(of(&request("x/y")), MessageDestination::Nowhere(MessageFault::UnknownMethod(_))));
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#;
        assert!(matches!(of(list), MessageDestination::Nowhere(MessageFault::InvalidParams(_))));
        let task = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t"}}"#;
        assert_eq!(of(task), MessageDestination::OfTask("t".into()));
        let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"1"}}"#;
        assert_eq!(of(cancelled), MessageDestination::OfRequest(r#""1""#.into()));
    }
}
