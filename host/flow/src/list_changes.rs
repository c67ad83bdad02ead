//! Notifies standing streams that a new generation may show other lists (MCP, "List Changed Notification"). It
//! announces only the kinds of changes that the upstream announces itself, and only to streams whose pipeline has
//! changed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::authorize::Permit;
use crate::event::Event;
use witgate_message::era::Era;
use witgate_policy::generation::Generation;

/// The kinds of lists, as in the names of methods.
const KINDS: [&str; 3] = ["tools", "resources", "prompts"];

/// The changes of lists that an upstream announces, according to its last handshake.
#[derive(Debug, Default)]
pub struct DeclaredChanges([AtomicBool; KINDS.len()]);

impl DeclaredChanges {
    /// Reads the `capabilities` of a handshake.
    pub(super) fn note(&self, capabilities: &str) {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Capability {
            list_changed: bool,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Capabilities {
            tools: Capability,
            resources: Capability,
            prompts: Capability,
        }
        let Capabilities { tools, resources, prompts } =
            serde_json::from_str(capabilities).unwrap_or_default();
        for (wanted, capability) in self.0.iter().zip([tools, resources, prompts]) {
            wanted.store(capability.list_changed, Ordering::Relaxed);
        }
    }

    fn kinds(&self) -> [bool; KINDS.len()] {
        self.0.each_ref().map(|wanted| wanted.load(Ordering::Relaxed))
    }
}

/// The changes that one stream still has to be notified of.
pub(super) struct ListChanges {
    /// For a session's stream: the changes that the upstream declares. None: a subscription names its changes itself.
    declared: Option<Arc<DeclaredChanges>>,
    subscribed: [bool; KINDS.len()],
    seen: Arc<Generation>,
    waiting: VecDeque<Event>,
}

impl ListChanges {
    /// For a stream that starts with `permit`.
    pub(super) fn new(permit: &Permit, declared: &Arc<DeclaredChanges>) -> Self {
        let is_sessions = permit.request().era == Era::Stateful;
        Self {
            declared: is_sessions.then(|| Arc::clone(declared)),
            subscribed: Default::default(),
            seen: Arc::clone(permit.generation()),
            waiting: VecDeque::new(),
        }
    }

    /// Reads the acknowledgement of a subscription, if `event` is one.
    pub(super) fn note(&mut self, event: &Event) {
        if self.declared.is_none()
            && let Some(subscribed) = acknowledged(&event.data)
        {
            self.subscribed = subscribed;
        }
    }

    /// The next message for the stream, whose current permit is `permit`.
    pub(super) fn next(&mut self, permit: &Permit) -> Option<Event> {
        let now = permit.generation();
        if !Arc::ptr_eq(&self.seen, now) {
            let place = permit.request().route.pipeline;
            if !self.seen.pipeline(place).judges_as(now.pipeline(place)) {
                self.tell(permit);
            }
            self.seen = Arc::clone(now);
        }
        self.waiting.pop_front()
    }

    fn tell(&mut self, permit: &Permit) {
        let wanted = self.declared.as_ref().map_or(self.subscribed, |declared| declared.kinds());
        let subscription = permit.request().call.id().filter(|_| self.declared.is_none());
        let kinds = KINDS.iter().zip(wanted).filter(|(_, wanted)| *wanted);
        // Earlier notifications that still wait are no longer needed.
        self.waiting = kinds.map(|(kind, _)| message(kind, subscription)).collect();
    }
}

/// `subscription` is the id of the request that has opened the stream, as JSON text.
fn message(kind: &str, subscription: Option<&str>) -> Event {
    let method = json!(format!("notifications/{kind}/list_changed"));
    let params = subscription
        .map(|id| format!(r#","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}"#));
    let params = params.unwrap_or_default();
    let data = Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":{method}{params}}}"#));
    Event { data, ..Event::default() }
}

fn acknowledged(message: &[u8]) -> Option<[bool; KINDS.len()]> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Notifications {
        tools_list_changed: bool,
        resources_list_changed: bool,
        prompts_list_changed: bool,
    }
    #[derive(Deserialize)]
    struct NotificationParams {
        notifications: Notifications,
    }
    #[derive(Deserialize)]
    struct NotificationMessage {
        method: String,
        params: NotificationParams,
    }
    let NotificationMessage { method, params } = serde_json::from_slice(message).ok()?;
    let Notifications { tools_list_changed, resources_list_changed, prompts_list_changed } =
        params.notifications;
    let is_acknowledgement = method == "notifications/subscriptions/acknowledged";
    is_acknowledgement.then_some([tools_list_changed, resources_list_changed, prompts_list_changed])
}
