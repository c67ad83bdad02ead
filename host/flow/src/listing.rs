//! Filters answers before the caller gets them. The entries of lists are decided as calls are, and new tasks get an
//! owner. Everything else stays unchanged, byte for byte.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::RawValue;
use witgate_plugin::TargetKind;

use super::authorize::Permit;
use super::list_changes::DeclaredChanges;
use super::reject::{Rejection, UpstreamFault};
use super::stage_result::{FallbackUse, StageResult};
use super::tasks::Tasks;
use crate::event::Event;
use witgate_message::era::Era;
use witgate_message::json::{MessageForm, form};
use witgate_message::parse::folds_to;
use witgate_message::strict_json::{StrictMembers, string};

#[cfg(test)]
mod tests;

/// A list in a result.
#[derive(Clone, Copy)]
enum List {
    /// Targets of rules; the second value is the item's member with the name.
    Things(TargetKind, &'static str),
    /// Templates of resources, by their `uriTemplate`.
    Templates,
    /// Tasks, each of which has an owner.
    Tasks,
}

/// Maximum number of items in one page of a list. Every policy decides about each of them, and servers with more items
/// have pages.
const MOST_ITEMS: usize = 20_000;

/// The members of results that are lists. They are recognised by their names, because a resumed event stream replays
/// answers without their requests.
const LISTS: &[(&str, List)] = &[
    ("tools", List::Things(TargetKind::Tool, "name")),
    ("resources", List::Things(TargetKind::Resource, "uri")),
    ("resourceTemplates", List::Templates),
    ("prompts", List::Things(TargetKind::Prompt, "name")),
    ("tasks", List::Tasks),
];

/// The filter of an upstream's messages for one caller.
#[derive(Clone, Debug)]
pub struct AnswerFilter {
    permit: Arc<Permit>,
    tasks: Arc<Tasks>,
    declared: Arc<DeclaredChanges>,
    /// True if answers need no filter.
    at_news_alone: bool,
}

impl AnswerFilter {
    /// The filter for the holder of a permit.
    pub fn new(permit: Arc<Permit>, tasks: Arc<Tasks>, declared: Arc<DeclaredChanges>) -> Self {
        Self { permit, tasks, declared, at_news_alone: false }
    }

    /// The same, for a stream whose answer needs no filter. It may still contain notifications about resources and
    /// tasks.
    pub(super) fn at_news(self) -> Self {
        Self { at_news_alone: true, ..self }
    }

    /// Continues for the same caller with a new permit.
    pub fn renew(&mut self, permit: Arc<Permit>) {
        self.permit = permit;
    }

    /// The event as the caller may see it. None: the caller may not see it.
    ///
    /// # Errors
    /// As [`AnswerFilter::message`].
    pub async fn event(&self, event: Event) -> StageResult<Option<Event>> {
        if event.data.is_empty()
            || (self.at_news_alone && form(&event.data) != Some(MessageForm::Notification))
        {
            return Ok(Some(event)).into();
        }
        let seen = self.look_at(event.data).await;
        seen.map(|data| Ok(data?.map(|data| Event { data, ..event })))
    }

    /// True if the caller may receive the message. Notifications about a resource or a task need a right to it, which
    /// may have ended since the caller subscribed.
    async fn hears(&self, envelope: &StrictMembers<'_>) -> StageResult<bool> {
        let Some(method) = envelope.get("method").and_then(string) else { return Ok(true).into() };
        let params = envelope.get("params").and_then(|params| StrictMembers::read(params.get()).ok());
        let named = |key| params.as_ref().and_then(|params| params.get(key)).and_then(string);
        match &*method {
            "notifications/resources/updated" => match named("uri") {
                Some(uri) => self.permit.hears_of(&uri).await,
                None => Ok(false).into(),
            },
            method if method.starts_with("notifications/tasks") => match named("taskId") {
                Some(task) => self.tasks.is_heard_of(&task, &self.permit).await,
                None => Ok(false).into(),
            },
            _ => Ok(true).into(),
        }
    }

    /// The answer as the caller may see it.
    ///
    /// # Errors
    /// `Upstream` if it is not a JSON-RPC message without duplicate keys; `Failed` if a policy could not decide about
    /// an entry.
    pub async fn message(&self, message: Bytes) -> StageResult<Bytes> {
        self.look_at(message).await.map(|seen| seen?.ok_or_else(garbage))
    }

    /// The message as the caller may see it. None: it is a notification that the caller may not see.
    async fn look_at(&self, message: Bytes) -> StageResult<Option<Bytes>> {
        let mut fallback = FallbackUse::default();
        let result = self.seen(message, &mut fallback).await;
        StageResult { result, fallback }
    }

    async fn seen(&self, message: Bytes, fallback: &mut FallbackUse) -> Result<Option<Bytes>, Rejection> {
        let text = std::str::from_utf8(&message).map_err(|_| garbage())?;
        let envelope = StrictMembers::read(text).map_err(|_| garbage())?;
        if !fallback.note(self.hears(&envelope).await)? {
            return Ok(None);
        }
        let Some(result) = envelope.get("result").filter(|result| result.get().starts_with('{')) else {
            return Ok(Some(message));
        };
        let members = StrictMembers::read(result.get()).map_err(|_| garbage())?;
        self.record_task(&members);
        self.note_capabilities(&members);
        if let Some(result) = self.with_extensions(&members) {
            return Ok(Some(replace(&envelope, "result", &result)));
        }
        if !members.iter().any(|(key, _)| list_of(key).is_some()) {
            return Ok(Some(message));
        }
        let result = self.list_result(&members, fallback).await?;
        Ok(Some(replace(&envelope, "result", &result)))
    }

    fn note_capabilities(&self, result: &StrictMembers<'_>) {
        if let Some(capabilities) = result.get("capabilities")
            && self.permit.request().call.asks_capabilities()
        {
            self.declared.note(capabilities.get());
        }
    }

    /// The result of a handshake, with the configured extensions of MCP authorization. The upstream's other extensions
    /// stay.
    fn with_extensions(&self, result: &StrictMembers<'_>) -> Option<String> {
        let request = self.permit.request();
        if request.route.extensions.is_empty() || !request.call.asks_capabilities() {
            return None;
        }
        let mut capabilities: serde_json::Value =
            serde_json::from_str(result.get("capabilities")?.get()).ok()?;
        let extensions = capabilities.as_object_mut()?.entry("extensions").or_insert_with(|| json!({}));
        for extension in &request.route.extensions {
            extensions.as_object_mut()?.insert(extension.name().to_owned(), json!({}));
        }
        Some(replaced(result, "capabilities", &capabilities.to_string()))
    }

    /// A result with lists, filtered. A list that depends on the caller must not be cached for others.
    async fn list_result(
        &self,
        members: &StrictMembers<'_>,
        fallback: &mut FallbackUse,
    ) -> Result<String, Rejection> {
        let mut object = ObjectWriter::default();
        let mut scoped = false;
        for (key, value) in members.iter() {
            match list_of(key) {
                Some((name, _)) if name != key => return Err(garbage()),
                Some((_, list)) => object.member(key, &self.filter(list, value, fallback).await?),
                None if key == "cacheScope" => {
                    scoped = true;
                    object.member(key, "\"private\"");
                }
                None => object.member(key, value.get()),
            }
        }
        if !scoped && self.permit.request().era == Era::Stateless {
            object.member("cacheScope", "\"private\"");
        }
        Ok(object.finish())
    }

    /// The items that the caller may see, unchanged. An item without a name is left out.
    async fn filter(
        &self,
        list: List,
        value: &RawValue,
        fallback: &mut FallbackUse,
    ) -> Result<String, Rejection> {
        let items: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| garbage())?;
        if items.len() > MOST_ITEMS {
            return Err(Rejection::Upstream {
                fault: UpstreamFault::Flood,
                message: "The MCP server's list has more than 20,000 items on one page".to_owned(),
            });
        }
        let mut kept = String::with_capacity(value.get().len());
        kept.push('[');
        for item in items {
            if fallback.note(self.sees(list, item).await)? {
                if kept.len() > 1 {
                    kept.push(',');
                }
                kept.push_str(item.get());
            }
        }
        kept.push(']');
        Ok(kept)
    }

    async fn sees(&self, list: List, item: &RawValue) -> StageResult<bool> {
        let Ok(members) = StrictMembers::read(item.get()) else { return Ok(false).into() };
        // A client that ignores case may read the other member as the name.
        let is_alone = |key: &str| members.iter().all(|(other, _)| other == key || !folds_to(other, key));
        let name = |key| members.get(key).and_then(string).filter(|_| is_alone(key));
        match list {
            List::Things(kind, key) => match name(key) {
                Some(name) => self.permit.sees(kind, &name).await,
                None => Ok(false).into(),
            },
            List::Templates => match name("uriTemplate") {
                Some(template) => self.permit.sees_template(&template).await,
                None => Ok(false).into(),
            },
            List::Tasks => match name("taskId") {
                Some(task) => self.tasks.is_listed(&task, &self.permit).await,
                None => Ok(false).into(),
            },
        }
    }

    /// `CreateTaskResult`: `task` in 2025-11-25, the result itself in the extension of 2026-07-28.
    fn record_task(&self, result: &StrictMembers<'_>) {
        if let Some(task) = result.get("task")
            && let Ok(task) = StrictMembers::read(task.get())
        {
            self.record(&task);
        }
        if result.get("resultType").is_some_and(|kind| kind.get() == "\"task\"") {
            self.record(result);
        }
    }

    fn record(&self, task: &StrictMembers<'_>) {
        if let Some(id) = task.get("taskId").and_then(string) {
            self.tasks.record(&id, &self.permit);
        }
    }
}

/// The id of the request that a message answers, unchanged. None: it is not an answer, or has an id that no request
/// can have.
pub(super) fn answered_id(message: &[u8]) -> Option<String> {
    let envelope = StrictMembers::read(std::str::from_utf8(message).ok()?).ok()?;
    let id = envelope.get("id").filter(|_| envelope.get("method").is_none())?.get();
    id.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
        .then(|| id.to_owned())
}

/// The list in a result's member, also for readers who ignore case.
fn list_of(key: &str) -> Option<(&'static str, List)> {
    LISTS.iter().find(|(name, _)| folds_to(key, name)).copied()
}

fn replace(object: &StrictMembers<'_>, key: &str, value: &str) -> Bytes {
    Bytes::from(replaced(object, key, value))
}

fn replaced(object: &StrictMembers<'_>, key: &str, value: &str) -> String {
    let mut replaced = ObjectWriter::default();
    for (name, old) in object.iter() {
        replaced.member(name, if name == key { value } else { old.get() });
    }
    replaced.finish()
}

/// An object being written.
#[derive(Default)]
struct ObjectWriter(String);

impl ObjectWriter {
    fn member(&mut self, key: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&serde_json::Value::from(key).to_string());
        self.0.push(':');
        self.0.push_str(value);
    }

    fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

fn garbage() -> Rejection {
    Rejection::Upstream {
        fault: UpstreamFault::BadAnswer,
        message: "The MCP server's answer is not JSON-RPC".to_owned(),
    }
}

/// An upstream has answered with unread bytes although messages are needed. This is a mistake in the program, so
/// nothing is shown.
pub(super) fn unread() -> Rejection {
    Rejection::Upstream {
        fault: UpstreamFault::BadAnswer,
        message: "The MCP server's answer was not read, so that it cannot be filtered".to_owned(),
    }
}
