//! The strict parse of messages.
//!
//! What is accepted is JSON to any reader, and the same JSON: no key twice, in whatever case, none that
//! differs from a known one only in case, bounded depth; resources are named by URIs without dots. What was decided on is what is in the bytes that go
//! on, and those are the ones that came, but for members that were `null`.

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use witgate_message::call::{Access, Call, MessageKind, Target};
use witgate_plugin::TargetKind;

use crate::scan::scan;

/// The maximum nesting of a message.
const MAX_DEPTH: usize = 128;

/// The maximum nesting that `serde_json` reads into a [`Value`].
const READABLE: usize = 127;

/// Members of the envelope that a reader who ignores case must not find under another name.
const ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// The same for `params`.
const PARAMS: &[&str] = &["_meta", "name", "uri", "arguments", "ref", "taskId", "notifications"];

/// Members that are left out where they are `null`, each after the place where it stands.
const OPTIONAL: &[(&str, &str)] = &[
    ("", "params"),
    ("/params", "cursor"),
    ("/params", "arguments"),
    ("/params", "_meta"),
    ("/params/_meta", "progressToken"),
];

/// Methods of the protocol that act on nothing that a rule could name. Every other needs a right.
const OPEN: &[&str] = &[
    "initialize",
    "ping",
    "logging/setLevel",
    "server/discover",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "subscriptions/listen",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "tasks/result",
    "tasks/list",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
];

/// Compares the parse with an independent look at the same bytes.
///
/// # Panics
/// Where they disagree.
pub fn check(data: &[u8]) {
    let Ok(call) = Call::parse(Bytes::copy_from_slice(data)) else { return };
    if call.body() != data {
        nothing_but_nulls_are_gone(data, call.body());
    }
    let text = std::str::from_utf8(call.body()).expect("what is accepted is UTF-8");
    serde_json::from_str::<&RawValue>(text).expect("what is accepted is JSON");
    let found = scan(text);
    assert_eq!(found.twice, None, "a key stands there twice");
    assert_eq!(found.alike, None, "a key stands there in two cases");
    assert!(found.depth <= MAX_DEPTH, "it goes {} levels deep", found.depth);
    no_look_alikes(&found.keys, ENVELOPE);
    within_bounds(&call);
    if found.depth > READABLE {
        return;
    }
    let message: Value = serde_json::from_str(text).expect("serde_json takes what is accepted");
    if let Some(params) = message.get("params") {
        let keys = params.as_object().expect("params are an object").keys().cloned();
        no_look_alikes(&keys.collect::<Vec<_>>(), PARAMS);
    }
    parts_agree(&call, &message);
    access_agrees(&call, &message);
}

/// Checks that the output is the input without optional members that were `null`.
fn nothing_but_nulls_are_gone(came: &[u8], goes: &[u8]) {
    let came = std::str::from_utf8(came).expect("what is accepted is UTF-8");
    let found = scan(came);
    assert_eq!((found.twice, found.alike), (None, None), "a key stands there twice");
    if found.depth > READABLE {
        return;
    }
    let mut message: Value = serde_json::from_str(came).expect("what is accepted is JSON");
    let goes: Value = serde_json::from_slice(goes).expect("what goes on is JSON");
    for (place, key) in OPTIONAL {
        let members = message.pointer_mut(place).and_then(Value::as_object_mut);
        let is_gone = goes.pointer(&format!("{place}/{key}")).is_none();
        if let Some(members) = members
            && is_gone
            && members.get(*key).is_some_and(Value::is_null)
        {
            members.remove(*key);
        }
    }
    assert_eq!(goes, message, "what goes on is not what came in");
}

/// Go's reader takes a key for any that it folds to.
fn no_look_alikes(keys: &[String], names: &[&str]) {
    let fold = |key: &str| -> String {
        key.chars()
            .map(|c| match c {
                'ſ' => 's',
                '\u{212a}' => 'k',
                c => c.to_ascii_lowercase(),
            })
            .collect()
    };
    for key in keys {
        let alike = names.iter().find(|name| *name != key && fold(key) == fold(name));
        assert_eq!(alike, None, "{key:?} could be taken for it");
    }
}

fn parts_agree(call: &Call, message: &Value) {
    let read = |text: Option<&str>| text.map(|text| serde_json::from_str::<Value>(text).expect("a part"));
    assert_eq!(message["jsonrpc"], "2.0");
    assert_eq!(read(call.id()), message.get("id").cloned(), "the id");
    match call.kind() {
        MessageKind::Response { .. } => {
            assert!(call.method().is_empty() && message.get("method").is_none());
            assert!(message.get("result").is_some() != message.get("error").is_some());
        }
        MessageKind::Request { .. } => assert!(message.get("id").is_some()),
        MessageKind::Notification => assert!(message.get("id").is_none()),
    }
    if !call.method().is_empty() {
        assert_eq!(message["method"], call.method());
    }
    assert_eq!(read(call.arguments()), message.pointer("/params/arguments").cloned(), "the arguments");
    assert_eq!(read(call.meta()), message.pointer("/params/_meta").cloned(), "_meta");
    let token = message.pointer("/params/_meta/progressToken").cloned();
    assert_eq!(read(call.progress_token()), token, "the progress token");
}

/// As `wit/types.wit` promises to policies.
fn within_bounds(call: &Call) {
    let targets = match call.access() {
        Access::Open => &[],
        Access::Target(target) => std::slice::from_ref(target),
        Access::Targets(targets) => targets.as_slice(),
    };
    assert!(call.method().len() <= 256, "a method of {} bytes", call.method().len());
    assert!(targets.iter().all(|target| target.name.len() <= 8192), "a name beyond 8,192 bytes");
    for uri in targets.iter().filter(|target| target.kind == TargetKind::Resource).map(|target| &target.name)
    {
        assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri:?} has what no URI has");
        let path = uri.split(['?', '#']).next().unwrap_or_default();
        assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{uri:?} has dots");
        assert!(
            uri.contains(':')
                && (uri.contains('{') || uri.starts_with(|first: char| first.is_ascii_lowercase()))
        );
    }
}

/// The right that is asked for is the right to what the message names.
fn access_agrees(call: &Call, message: &Value) {
    let named = |kind, pointer: &str| {
        let name = message.pointer(pointer).and_then(Value::as_str).expect("it has a name");
        Access::Target(Target { kind, name: name.into() })
    };
    let method = call.method();
    let wanted = match method {
        "tools/call" => named(TargetKind::Tool, "/params/name"),
        "prompts/get" => named(TargetKind::Prompt, "/params/name"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            named(TargetKind::Resource, "/params/uri")
        }
        "completion/complete" if message["params"]["ref"]["type"] == "ref/prompt" => {
            named(TargetKind::Prompt, "/params/ref/name")
        }
        "completion/complete" => named(TargetKind::Resource, "/params/ref/uri"),
        "subscriptions/listen" => resources(message),
        _ if OPEN.contains(&method) || matches!(call.kind(), MessageKind::Response { .. }) => Access::Open,
        _ => named(TargetKind::Method, "/method"),
    };
    assert_eq!(call.access(), &wanted, "the right that it needs");
}

fn resources(message: &Value) -> Access {
    let named = message.pointer("/params/notifications/resourceSubscriptions").and_then(Value::as_array);
    let targets: Vec<_> = named
        .into_iter()
        .flatten()
        .map(|name| Target { kind: TargetKind::Resource, name: name.as_str().expect("a URI").into() })
        .collect();
    if targets.is_empty() { Access::Open } else { Access::Targets(targets) }
}
