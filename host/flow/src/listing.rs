//! Filters answers before the caller gets them. The entries of lists are decided as calls are, and new tasks get an
//! owner. Everything else stays unchanged, byte for byte.

mod announcement;
pub(crate) mod own_list;
pub(crate) mod parts;
mod schema;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::answer_message::AnswerMessage;
use super::authorize::Permit;
use super::durations::AnswerPeek;
use super::limit::CallPlaces;
use super::list_changes::DeclaredChanges;
use super::parsing;
use super::reject::{Rejection, UpstreamFault};
use super::stage_result::{FallbackUse, StageResult};
use super::tasks::Tasks;
use crate::authorize::EntryAccess;
use crate::definitions;
use crate::event::Event;
use announcement::announced;
pub use parts::MOST_ITEMS;
use parts::{
    Entry, List, ListPlace, Lists, MessageParts, NoticeTarget, ResultParts, ShownEntries, UnreadableMessage,
};
use schema::SchemaChanges;
use witgate_message::era::Era;
use witgate_message::json::{MessageForm, form, splice};
use witgate_message::strict_json::{StrictMembers, string};
use witgate_plugin::TargetKind;
use witgate_policy::upstream_lists::ListedNames;

/// The filter of an upstream's messages for one caller.
#[derive(Clone, Debug)]
pub struct AnswerFilter {
    permit: Arc<Permit>,
    tasks: Arc<Tasks>,
    declared: Arc<DeclaredChanges>,
    /// The places of the call, for the task that it may start.
    places: CallPlaces,
    /// True if answers need no filter.
    at_news_alone: bool,
    /// The names that the upstream has listed.
    listed: Arc<ListedNames>,
}

impl AnswerFilter {
    /// The filter for the holder of a permit.
    pub fn new(permit: Arc<Permit>, tasks: Arc<Tasks>, declared: Arc<DeclaredChanges>) -> Self {
        let (places, listed) = Default::default();
        Self { permit, tasks, declared, places, at_news_alone: false, listed }
    }

    /// The same, which notes the names in lists.
    pub(super) fn noting(self, listed: Arc<ListedNames>) -> Self {
        Self { listed, ..self }
    }

    /// The same, with the places of the call, which a task keeps that the call starts.
    pub(super) fn in_places(self, places: CallPlaces) -> Self {
        Self { places, ..self }
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
        let mut fallback = FallbackUse::default();
        let filtered = self.filter(event.data.clone().into(), &mut fallback).await;
        let result = filtered.map(|(data, _)| data.map(|data| Event { data, ..event }));
        StageResult { result, fallback }
    }

    /// The answer as the caller may see it.
    ///
    /// # Errors
    /// `Upstream` if it is not a JSON-RPC message without duplicate keys; `Failed` if a policy could not decide about
    /// an entry.
    pub async fn message(&self, message: AnswerMessage) -> StageResult<FilteredAnswer> {
        let mut fallback = FallbackUse::default();
        let result = match self.filter(message, &mut fallback).await {
            Ok((Some(message), peek)) => Ok(FilteredAnswer { message, peek }),
            Ok((None, _)) => Err(garbage()),
            Err(rejection) => Err(rejection),
        };
        StageResult { result, fallback }
    }

    /// The message as the caller may see it, and its error. None: it is a notification that the caller may not see.
    async fn filter(
        &self,
        message: AnswerMessage,
        fallback: &mut FallbackUse,
    ) -> Result<(Option<Bytes>, AnswerPeek), Rejection> {
        let (message, parts) = self.read(message).await?;
        let content = self.content(&message, parts.notice, parts.result)?;
        let message = match content {
            FilterInput::Unchanged => Some(message),
            FilterInput::Changed(changed) => Some(changed),
            FilterInput::NoticeTarget(notice) => fallback.note(self.hears(&notice).await)?.then_some(message),
            FilterInput::Lists(lists) => Some(self.filtered(message, lists, fallback).await?),
        };
        Ok((message, parts.peek))
    }

    /// The message and its parts, if the upstream has not read them already.
    async fn read(&self, message: AnswerMessage) -> Result<(Bytes, MessageParts), Rejection> {
        let (message, parts) = message.into_parts();
        let parts = match parts {
            Some(parts) => *parts,
            None => {
                let text = message.clone();
                let read = move || MessageParts::read(&text);
                let reading = parsing::answer(self.permit.request().peer, message.len(), read);
                reading.await.unwrap_or(Err(UnreadableMessage))?
            }
        };
        Ok((message, parts))
    }

    fn content(
        &self,
        message: &Bytes,
        notice: Option<NoticeTarget>,
        result: Option<ResultParts>,
    ) -> Result<FilterInput, Rejection> {
        let result = match (notice, result) {
            // It would be a notification to some readers, and an answer to others.
            (Some(_), Some(_)) => return Err(garbage()),
            (Some(notice), None) => return Ok(FilterInput::NoticeTarget(notice)),
            (None, None) => return Ok(FilterInput::Unchanged),
            (None, Some(result)) => result,
        };
        let text = std::str::from_utf8(message).map_err(|_| garbage())?;
        self.record_task(text, &result);
        self.note_status(text, &result);
        self.note_capabilities(text, &result);
        if let Some(lists) = result.lists {
            return Ok(FilterInput::Lists(lists));
        }
        match self.with_announcement(text, &result) {
            Some((place, extended)) => {
                Ok(FilterInput::Changed(splice(message, &mut [(place, extended.as_str())])))
            }
            None => Ok(FilterInput::Unchanged),
        }
    }

    /// True if the caller may receive a notification about a resource or a task. They need a right to it, which may
    /// have ended since they subscribed.
    async fn hears(&self, notice: &NoticeTarget) -> StageResult<bool> {
        match notice {
            NoticeTarget::Resource(uri) => self.permit.hears_of(uri).await,
            NoticeTarget::Task(task) => self.tasks.is_heard_of(task, &self.permit).await,
            NoticeTarget::Lists => {
                self.permit.request().definitions.get().into_iter().for_each(|life| life.note_change());
                Ok(true).into()
            }
            NoticeTarget::Unnamed => Ok(false).into(),
        }
    }

    fn note_capabilities(&self, text: &str, result: &ResultParts) {
        if let Some(capabilities) = at(text, result.capabilities.as_ref())
            && self.permit.request().call.asks_capabilities()
        {
            self.declared.note(capabilities);
        }
    }

    /// The place of the capabilities in the result of a handshake, and the same with the announcements of Witgate. The
    /// upstream's other capabilities stay.
    fn with_announcement(&self, text: &str, result: &ResultParts) -> Option<(Range<usize>, String)> {
        let request = self.permit.request();
        if !request.call.asks_capabilities() {
            return None;
        }
        let place = result.capabilities.as_ref()?;
        let pipeline = self.permit.generation().pipeline(request.route.pipeline);
        let announced = announced(&request.route, pipeline, text.get(place.clone())?)?;
        Some((place.clone(), announced))
    }

    /// The message with those entries that the caller may see, unchanged. A large one is filtered in the background.
    async fn filtered(
        &self,
        message: Bytes,
        lists: Lists,
        fallback: &mut FallbackUse,
    ) -> Result<Bytes, Rejection> {
        if lists.lists.iter().any(|list| list.entries.len() > MOST_ITEMS) {
            return Err(Rejection::Upstream {
                fault: UpstreamFault::Flood,
                message: "The MCP server's list has more than 20,000 items on one page".to_owned(),
            });
        }
        let (filter, peer, size) = (self.clone(), self.permit.request().peer, message.len());
        let filtering = async move {
            let mut fallback = FallbackUse::default();
            let result = filter.filtered_here(&message, &lists, &mut fallback).await;
            StageResult { result, fallback }
        };
        let filtered = parsing::filter(peer, size, filtering).await;
        fallback.note(filtered.unwrap_or_else(|| Err(garbage()).into()))
    }

    async fn filtered_here(
        &self,
        message: &Bytes,
        lists: &Lists,
        fallback: &mut FallbackUse,
    ) -> Result<Bytes, Rejection> {
        let text = std::str::from_utf8(message).map_err(|_| garbage())?;
        let mut shown = Vec::with_capacity(lists.lists.len());
        for list in &lists.lists {
            let access = self.shown(list, text, fallback).await?;
            let changed = self.changed(list, text, &access);
            shown.push(ShownEntries { access, changed });
        }
        Ok(lists.filtered(text, &shown, self.permit.request().era == Era::Stateless))
    }

    /// Decides for each entry of a list whether the caller may see it. An entry without a name is left out.
    async fn shown(
        &self,
        list: &ListPlace,
        text: &str,
        fallback: &mut FallbackUse,
    ) -> Result<Vec<EntryAccess>, Rejection> {
        let names: Vec<Option<&str>> = list.entries.iter().map(|entry| entry.name(text)).collect();
        let kind = match list.list {
            List::Things(kind, _) => kind,
            List::Templates => TargetKind::Resource,
            List::Tasks => return self.shown_tasks(&names, fallback).await,
        };
        let named: Vec<&str> = names.iter().copied().flatten().collect();
        if list.list != List::Templates {
            self.listed.note(kind, &named);
        }
        let mut seen = fallback.note(self.permit.sees(kind, &named).await)?.into_iter();
        let of = |name: &Option<&str>| name.and_then(|_| seen.next()).unwrap_or(EntryAccess::None);
        let mut access: Vec<_> = names.iter().map(of).collect();
        self.withhold(list, text, &mut access);
        Ok(access)
    }

    /// Takes the access to entries whose definitions are not approved. All entries are compared, also those that the
    /// caller does not see.
    fn withhold(&self, list: &ListPlace, text: &str, access: &mut [EntryAccess]) {
        let request = self.permit.request();
        let pipeline = self.permit.generation().pipeline(request.route.pipeline);
        let (Some(pins), Some(kind)) = (pipeline.pins(), list.list.entry_kind()) else { return };
        let life = request.definitions.get().map(|life| &**life);
        for (entry, access) in list.entries.iter().zip(access) {
            parsing::make_room();
            let passes = entry
                .name(text)
                .is_some_and(|name| definitions::passes(pins, life, (kind, name, entry.text(text))));
            if !passes {
                *access = EntryAccess::None;
            }
        }
    }

    /// The texts of those tools whose schema is another one for the caller, because of arguments that are credentials,
    /// with their places in the list.
    fn changed(&self, list: &ListPlace, text: &str, access: &[EntryAccess]) -> Vec<(usize, String)> {
        let (request, is_anonymous) = (self.permit.request(), self.permit.caller().is_anonymous());
        let pipeline = self.permit.generation().pipeline(request.route.pipeline);
        if list.list != List::TOOLS || pipeline.credential_arguments().next().is_none() {
            return Vec::new();
        }
        let entries = list.entries.iter().zip(access).enumerate();
        let change = |(place, (entry, access)): (usize, (&Entry, &EntryAccess))| {
            let name = entry.name(text).filter(|_| *access != EntryAccess::None)?;
            schema::tell_of_requirement(pipeline, name, entry.text(text));
            let changes = SchemaChanges::of(pipeline, name, is_anonymous, *access);
            Some((place, changes.apply(entry.text(text))?))
        };
        entries.filter_map(change).collect()
    }

    async fn shown_tasks(
        &self,
        names: &[Option<&str>],
        fallback: &mut FallbackUse,
    ) -> Result<Vec<EntryAccess>, Rejection> {
        let mut shown = Vec::with_capacity(names.len());
        for name in names {
            let is_listed = match name {
                Some(task) => fallback.note(self.tasks.is_listed(task, &self.permit).await)?,
                None => false,
            };
            shown.push(if is_listed { EntryAccess::Full } else { EntryAccess::None });
        }
        Ok(shown)
    }

    /// `CreateTaskResult`: `task` in 2025-11-25, the result itself in the extension of 2026-07-28.
    fn record_task(&self, text: &str, result: &ResultParts) {
        if let Some(task) = at(text, result.task.as_ref())
            && let Ok(task) = StrictMembers::read(task)
        {
            self.record(task.get("taskId"));
        }
        if at(text, result.result_type.as_ref()) == Some("\"task\"") {
            let id = at(text, result.task_id.as_ref()).and_then(|id| serde_json::from_str(id).ok());
            self.record(id);
        }
    }

    fn record(&self, task: Option<&RawValue>) {
        if let Some(id) = task.and_then(string) {
            self.tasks.record(&id, &self.permit, &self.places);
        }
    }

    /// Notes the end of a task that its owner asks about.
    fn note_status(&self, text: &str, result: &ResultParts) {
        let status = at(text, result.status.as_ref());
        if matches!(status, Some("\"completed\"" | "\"failed\"" | "\"cancelled\"")) {
            self.tasks.note_end(&self.permit);
        }
    }
}

/// The text at a place.
fn at<'t>(text: &'t str, place: Option<&Range<usize>>) -> Option<&'t str> {
    text.get(place?.clone())
}

/// An answer as the caller may see it.
pub struct FilteredAnswer {
    /// The answer.
    pub message: Bytes,
    /// The error that it reports.
    pub(super) peek: AnswerPeek,
}

/// The content of a message, for the filter.
enum FilterInput {
    /// Nothing that has to be filtered.
    Unchanged,
    /// The message to send in its place.
    Changed(Bytes),
    NoticeTarget(NoticeTarget),
    Lists(Lists),
}

impl From<UnreadableMessage> for Rejection {
    fn from(_: UnreadableMessage) -> Self {
        garbage()
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
