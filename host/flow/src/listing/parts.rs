//! The parts of an upstream's message that the filter needs. Lists are places in the text, so that everything else keeps
//! its bytes.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;
use witgate_plugin::TargetKind;

use crate::authorize::EntryAccess;
use crate::durations::AnswerPeek;
use crate::parsing;
use witgate_config::pins::EntryKind;
use witgate_message::json::{span_in, splice};
use witgate_message::names;
use witgate_message::parse::folds_to;
use witgate_message::strict_json::{
    ListReading, ResultValue, StrictAnswer, StrictMembers, StrictResult, string,
};

/// Maximum number of items in one page of a list. Every policy decides about each of them, and servers with more items
/// have pages.
pub const MOST_ITEMS: usize = 20_000;

/// A list in a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Targets of rules; the second value is the item's member with the name.
    Things(TargetKind, &'static str),
    /// Templates of resources, by their `uriTemplate`.
    Templates,
    /// Tasks, each of which has an owner.
    Tasks,
}

impl List {
    /// The list of tools.
    pub(super) const TOOLS: Self = Self::Things(TargetKind::Tool, "name");

    /// The kind of its entries, if they have definitions.
    pub(super) fn entry_kind(self) -> Option<EntryKind> {
        match self {
            Self::Things(TargetKind::Tool, _) => Some(EntryKind::Tool),
            Self::Things(TargetKind::Prompt, _) => Some(EntryKind::Prompt),
            Self::Things(TargetKind::Resource, _) => Some(EntryKind::Resource),
            Self::Templates => Some(EntryKind::ResourceTemplate),
            Self::Things(TargetKind::Method, _) | Self::Tasks => None,
        }
    }
}

/// The members of results that are lists. They are recognised by their names, because a resumed event stream replays
/// answers without their requests.
const LISTS: &[(&str, List)] = &[
    ("tools", List::TOOLS),
    ("resources", List::Things(TargetKind::Resource, "uri")),
    ("resourceTemplates", List::Templates),
    ("prompts", List::Things(TargetKind::Prompt, "name")),
    ("tasks", List::Tasks),
];

/// The list in a result's member, also for readers who ignore case.
fn list_of(key: &str) -> Option<(&'static str, List)> {
    LISTS.iter().find(|(name, _)| folds_to(key, name)).copied()
}

/// A message is not a JSON-RPC message without duplicate keys.
#[derive(Debug)]
pub struct UnreadableMessage;

/// The parts of a message. Its values are places in the text.
#[derive(Debug)]
pub(crate) struct MessageParts {
    pub(crate) id: Option<Range<usize>>,
    pub(crate) error: Option<Range<usize>>,
    pub(crate) has_method: bool,
    pub(crate) has_result: bool,
    /// The error that the message reports.
    pub(super) peek: AnswerPeek,
    /// The thing that a notification is about, if callers need a right to it or Witgate acts on it.
    pub(super) notice: Option<NoticeTarget>,
    /// The result, if there is one that is an object.
    pub(super) result: Option<ResultParts>,
}

/// The parts of a result that is an object.
#[derive(Debug)]
pub(super) struct ResultParts {
    pub(super) task: Option<Range<usize>>,
    pub(super) task_id: Option<Range<usize>>,
    pub(super) result_type: Option<Range<usize>>,
    pub(super) status: Option<Range<usize>>,
    pub(super) capabilities: Option<Range<usize>>,
    /// None: it has no lists.
    pub(super) lists: Option<Lists>,
}

/// The thing that a notification is about.
#[derive(Clone, Debug)]
pub(super) enum NoticeTarget {
    Resource(String),
    Task(String),
    /// The lists of the server, which may have changed.
    Lists,
    /// A thing that is not named.
    Unnamed,
}

impl MessageParts {
    /// Reads a message, once.
    ///
    /// # Errors
    /// [`UnreadableMessage`], also if a list has a name that only some readers take for it.
    pub(crate) fn read(message: &[u8]) -> Result<Self, UnreadableMessage> {
        let text = std::str::from_utf8(message).map_err(|_| UnreadableMessage)?;
        let lists = ListReading { is_list: |key| list_of(key).is_some(), after_item: parsing::make_room };
        let answer = StrictAnswer::read(text, lists).map_err(|_| UnreadableMessage)?;
        // A client that ignores case may read the other member as the result.
        if answer.envelope.iter().any(|(key, _)| folds_to(key, "result")) {
            return Err(UnreadableMessage);
        }
        AnswerPlaces(text).parts(&answer)
    }
}

/// The text in which the places are.
struct AnswerPlaces<'a>(&'a str);

impl<'a> AnswerPlaces<'a> {
    fn parts(&self, answer: &StrictAnswer<'a>) -> Result<MessageParts, UnreadableMessage> {
        let StrictAnswer { envelope, has_result, result } = answer;
        let is_error = result.as_ref().and_then(|result| result.get("isError"));
        Ok(MessageParts {
            id: self.place(envelope.get("id"))?,
            error: self.place(envelope.get("error"))?,
            has_method: envelope.get("method").is_some(),
            has_result: *has_result,
            peek: AnswerPeek::of_members(envelope.get("error"), result.is_some(), is_error),
            notice: notice(envelope),
            result: result.as_ref().map(|result| self.result(result)).transpose()?,
        })
    }

    fn result(&self, result: &StrictResult<'a>) -> Result<ResultParts, UnreadableMessage> {
        Ok(ResultParts {
            task: self.place(result.get("task"))?,
            task_id: self.place(result.get("taskId"))?,
            result_type: self.place(result.get("resultType"))?,
            status: self.place(result.get("status"))?,
            capabilities: self.place(result.get("capabilities"))?,
            lists: self.lists(result)?,
        })
    }

    /// The lists of the result. None: it has none.
    fn lists(&self, result: &StrictResult<'a>) -> Result<Option<Lists>, UnreadableMessage> {
        let mut lists = Vec::new();
        for (key, value) in result.members() {
            let ResultValue::Items(items) = value else { continue };
            match list_of(key) {
                Some((name, list)) if name == key => lists.push(self.list(list, items)?),
                _ => return Err(UnreadableMessage),
            }
        }
        if lists.is_empty() {
            return Ok(None);
        }
        Ok(Some(Lists { lists, scope: self.cache_scope(result)? }))
    }

    fn list(&self, list: List, items: &[&'a RawValue]) -> Result<ListPlace, UnreadableMessage> {
        let entry = |item: &&'a RawValue| {
            parsing::make_room();
            let name = name_of(list, item).map(|name| self.name_place(name)).transpose()?;
            Ok(Entry { span: self.span(item)?, name })
        };
        // One more than may pass is enough to refuse the list.
        let items = items.iter().take(MOST_ITEMS + 1);
        Ok(ListPlace { list, entries: items.map(entry).collect::<Result<_, UnreadableMessage>>()? })
    }

    fn name_place(&self, name: Cow<'a, str>) -> Result<EntryName, UnreadableMessage> {
        match name {
            Cow::Borrowed(name) => {
                span_in(self.0.as_bytes(), name).map(EntryName::At).ok_or(UnreadableMessage)
            }
            Cow::Owned(name) => Ok(EntryName::Unescaped(name.into())),
        }
    }

    /// The place of `cacheScope` in the result. Without it, its place is before the first member whose key has no
    /// escapes.
    fn cache_scope(&self, result: &StrictResult<'a>) -> Result<CacheScope, UnreadableMessage> {
        let is_other = |key: &str| key != "cacheScope" && folds_to(key, "cacheScope");
        if result.members().iter().any(|(key, _)| is_other(key)) {
            return Err(UnreadableMessage);
        }
        if let Some(scope) = result.get("cacheScope") {
            return Ok(CacheScope::At(self.span(scope)?));
        }
        let key = result.members().iter().find_map(|(key, _)| match key {
            Cow::Borrowed(key) => span_in(self.0.as_bytes(), key),
            Cow::Owned(_) => None,
        });
        // The quotation mark is before the key.
        let place = key.and_then(|key| key.start.checked_sub(1)).ok_or(UnreadableMessage)?;
        Ok(CacheScope::Before(place))
    }

    fn place(&self, value: Option<&RawValue>) -> Result<Option<Range<usize>>, UnreadableMessage> {
        value.map(|value| self.span(value)).transpose()
    }

    fn span(&self, value: &RawValue) -> Result<Range<usize>, UnreadableMessage> {
        span_in(self.0.as_bytes(), value.get()).ok_or(UnreadableMessage)
    }
}

/// The thing that a notification is about, if callers need a right to it or Witgate acts on it.
fn notice(envelope: &StrictMembers<'_>) -> Option<NoticeTarget> {
    let method = envelope.get("method").and_then(string)?;
    let params = envelope.get("params").and_then(|raw| StrictMembers::read(raw.get()).ok());
    let named = |key| params.as_ref().and_then(|params| params.get(key)).and_then(string);
    let of = |name: Option<Cow<'_, str>>, notice: fn(String) -> NoticeTarget| {
        name.map_or(NoticeTarget::Unnamed, |name| notice(name.into_owned()))
    };
    match &*method {
        "notifications/resources/updated" => Some(of(named("uri"), NoticeTarget::Resource)),
        method if method.starts_with("notifications/tasks") => Some(of(named("taskId"), NoticeTarget::Task)),
        "notifications/tools/list_changed"
        | "notifications/prompts/list_changed"
        | "notifications/resources/list_changed" => Some(NoticeTarget::Lists),
        _ => None,
    }
}

/// The name of an item, if rules can be about it. A name that the strict parse refuses is never shown.
fn name_of<'a>(list: List, item: &'a RawValue) -> Option<Cow<'a, str>> {
    let members = StrictMembers::read(item.get()).ok()?;
    let key = match list {
        List::Things(_, key) => key,
        List::Templates => "uriTemplate",
        List::Tasks => "taskId",
    };
    // A client that ignores case may read the other member as the name.
    let is_alone = members.iter().all(|(other, _)| other == key || !folds_to(other, key));
    let name = members.get(key).and_then(string).filter(|_| is_alone)?;
    let is_valid = match list {
        List::Things(kind, _) => names::check(kind, &name).is_ok(),
        List::Templates => names::check_template(&name).is_ok(),
        List::Tasks => true,
    };
    is_valid.then_some(name)
}

/// The places of the lists in a message.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) lists: Vec<ListPlace>,
    scope: CacheScope,
}

/// The place of `cacheScope`.
#[derive(Debug)]
enum CacheScope {
    /// Its value.
    At(Range<usize>),
    /// It is missing; a member can be written here.
    Before(usize),
}

/// The places of a list's entries.
#[derive(Debug)]
pub(super) struct ListPlace {
    pub(super) list: List,
    pub(super) entries: Vec<Entry>,
}

/// The place of an entry, and its name.
#[derive(Debug)]
pub(super) struct Entry {
    span: Range<usize>,
    /// None: it has no name that a rule can be about.
    name: Option<EntryName>,
}

#[derive(Debug)]
enum EntryName {
    At(Range<usize>),
    Unescaped(Box<str>),
}

impl Entry {
    /// The name, in the message that the places are of.
    pub(super) fn name<'a>(&'a self, text: &'a str) -> Option<&'a str> {
        match self.name.as_ref()? {
            EntryName::At(span) => text.get(span.clone()),
            EntryName::Unescaped(name) => Some(name),
        }
    }

    /// The whole entry.
    pub(super) fn text<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.span.clone()).unwrap_or_default()
    }
}

/// The entries of a list for one caller.
#[derive(Debug)]
pub(super) struct ShownEntries {
    /// The access to each.
    pub(super) access: Vec<EntryAccess>,
    /// The places and texts of those that are changed, in order.
    pub(super) changed: Vec<(usize, String)>,
}

impl ListPlace {
    /// The place of all entries, and the text of those that are `shown`. None: the list is empty.
    fn kept(&self, text: &str, shown: &ShownEntries) -> Option<(Range<usize>, String)> {
        let all = self.entries.first()?.span.start..self.entries.last()?.span.end;
        let entries = || self.entries.iter().zip(&shown.access).enumerate();
        let visible = || entries().filter(|(_, (_, access))| **access != EntryAccess::None);
        let size: usize = visible().map(|(_, (entry, _))| entry.span.len() + 1).sum();
        let longer: usize = shown.changed.iter().map(|(_, text)| text.len()).sum();
        let mut kept = String::with_capacity(size + longer);
        let mut changed = shown.changed.iter().peekable();
        for (place, (entry, _)) in visible() {
            if !kept.is_empty() {
                kept.push(',');
            }
            match changed.next_if(|(changed, _)| *changed == place) {
                Some((_, text)) => kept.push_str(text),
                None => kept.push_str(entry.text(text)),
            }
        }
        Some((all, kept))
    }
}

impl Lists {
    /// The message with only those entries that are `shown`, each in its form for the caller. A list that depends on the caller must not be cached for
    /// others; `adds_scope` says so also if the upstream does not speak about caches.
    pub(super) fn filtered(&self, message: &str, shown: &[ShownEntries], adds_scope: bool) -> Bytes {
        let kept = self.lists.iter().zip(shown).filter_map(|(list, shown)| list.kept(message, shown));
        let kept: Vec<_> = kept.collect();
        let mut edits: Vec<_> = kept.iter().map(|(place, text)| (place.clone(), text.as_str())).collect();
        match &self.scope {
            CacheScope::At(place) => edits.push((place.clone(), "\"private\"")),
            CacheScope::Before(place) if adds_scope => {
                edits.push((*place..*place, "\"cacheScope\":\"private\","));
            }
            CacheScope::Before(_) => {}
        }
        splice(message.as_bytes(), &mut edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(message: &str, shown: &[&[bool]], adds_scope: bool) -> String {
        let parts = MessageParts::read(message.as_bytes()).unwrap();
        let lists = parts.result.unwrap().lists.unwrap();
        let access = |is_shown: &bool| if *is_shown { EntryAccess::Full } else { EntryAccess::None };
        let entries = |shown: &&[bool]| {
            let changed = shown.iter().position(|is_shown| *is_shown).map(|place| (place, "{}".to_owned()));
            let access = shown.iter().map(access).collect();
            ShownEntries {
                access,
                changed: changed.into_iter().filter(|_| message.contains("changed")).collect(),
            }
        };
        let shown: Vec<_> = shown.iter().map(entries).collect();
        String::from_utf8(lists.filtered(message, &shown, adds_scope).to_vec()).unwrap()
    }

    #[test]
    fn everything_but_the_hidden_entries_keeps_its_bytes() {
        let message = r#"{ "id" : 1, "result":{"a":1.0, "tools" : [ {"name":"x"} , {"name": "y"},{"name":"z"} ],"b":[ ]} }"#;
        for (shown, tools) in [
            ([true, true, true], r#"{"name":"x"},{"name": "y"},{"name":"z"}"#),
            ([true, false, true], r#"{"name":"x"},{"name":"z"}"#),
            ([false, false, true], r#"{"name":"z"}"#),
            ([false; 3], ""),
        ] {
            let expected = format!(r#"{{ "id" : 1, "result":{{"a":1.0, "tools" : [ {tools} ],"b":[ ]}} }}"#);
            assert_eq!(filtered(message, &[&shown], false), expected);
        }
    }

    #[test]
    fn changed_entries_are_in_their_places() {
        let message = r#"{"result":{"tools":[ {"name":"x"},{"name":"changed"} ,{"name":"z"}]}}"#;
        let expected = r#"{"result":{"tools":[ {},{"name":"z"}]}}"#;
        assert_eq!(filtered(message, &[&[false, true, true]], false), expected);
    }

    #[test]
    fn a_list_has_at_most_one_place_more_than_may_pass() {
        let items = vec!["{}"; MOST_ITEMS + 100].join(",");
        let message = format!(r#"{{"result":{{"tools":[{items}]}}}}"#);
        let lists = MessageParts::read(message.as_bytes()).unwrap().result.unwrap().lists.unwrap();
        assert_eq!(lists.lists[0].entries.len(), MOST_ITEMS + 1);
    }

    #[test]
    fn a_list_is_private() {
        for (message, expected) in [
            (r#"{"result":{"tools":[]}}"#, r#"{"result":{"cacheScope":"private","tools":[]}}"#),
            (
                r#"{"result":{ "n":{},"tools":[1] }}"#,
                r#"{"result":{ "cacheScope":"private","n":{},"tools":[] }}"#,
            ),
            (
                r#"{"result":{"tools":[],"cacheScope": "public"}}"#,
                r#"{"result":{"tools":[],"cacheScope": "private"}}"#,
            ),
            (
                r#"{"result":{"\u006e":1,"tools":[]}}"#,
                r#"{"result":{"\u006e":1,"cacheScope":"private","tools":[]}}"#,
            ),
        ] {
            let shown: &[bool] = if message.contains("[1]") { &[false] } else { &[] };
            assert_eq!(filtered(message, &[shown], true), expected);
        }
    }

    #[test]
    fn several_lists_are_filtered() {
        let message = r#"{"result":{"tools":[1,2],"prompts":[3,4],"resources":[5]}}"#;
        let expected = r#"{"result":{"tools":[2],"prompts":[3],"resources":[]}}"#;
        assert_eq!(filtered(message, &[&[false, true], &[true, false], &[false]], false), expected);
    }

    #[test]
    fn names_are_those_that_all_readers_read() {
        let item = |list, text: &str| {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            name_of(list, raw).map(Cow::into_owned)
        };
        let tool = List::Things(TargetKind::Tool, "name");
        assert_eq!(item(tool, r#"{"name":"a\u0062"}"#).as_deref(), Some("ab"));
        assert_eq!(item(List::Templates, r#"{"uriTemplate":"x:/{a}"}"#).as_deref(), Some("x:/{a}"));
        for text in [
            r#"{"name":"a","Name":"b"}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":7}"#,
            r#"{"title":"a"}"#,
            "\"a\"",
            "null",
            r#"{"name":"e\u0301"}"#,
        ] {
            assert_eq!(item(tool, text), None, "{text}");
        }
    }

    #[test]
    fn a_member_that_some_readers_take_for_another_is_refused() {
        assert!(MessageParts::read(br#"{"result":{"tools":[]},"Result":{"tools":[1]}}"#).is_err());
        let message = br#"{"result":{"tools":[],"CacheScope":"public"}}"#;
        assert!(MessageParts::read(message).is_err());
    }

    #[test]
    fn a_list_under_a_name_that_some_readers_fold_is_refused() {
        for message in [r#"{"result":{"Tools":[]}}"#, r#"{"result":{"tas\u212As":[]}}"#] {
            assert!(MessageParts::read(message.as_bytes()).is_err(), "{message}");
        }
        let escaped = r#"{"result":{"\u0074ools":[]}}"#;
        assert!(MessageParts::read(escaped.as_bytes()).is_err(), "no place for `cacheScope`");
    }
}
