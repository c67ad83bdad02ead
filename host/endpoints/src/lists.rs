//! The lists of an endpoint: the entries of all upstreams with their names here. A cursor contains one of each upstream
//! that has more. It may be forged: it only says which upstream is asked with which cursor, as its caller may.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use witgate_message::era::Era;
use witgate_message::fault::MessageFault;
use witgate_message::json::{Members, quote, span_in, splice, unquote};
use witgate_plugin::TargetKind;

use crate::handshake::unavailable;
use crate::names::NamePlan;

/// The longest cursor of an upstream that is passed on.
const LONGEST_CURSOR: usize = 8 << 10;

/// A list of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    Tools,
    Prompts,
    Resources,
    Templates,
    Tasks,
}

impl ListKind {
    /// The list that a method asks for.
    pub(crate) fn of(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            "tasks/list" => Some(Self::Tasks),
            _ => None,
        }
    }

    /// True if only upstreams whose resources are offered are asked.
    pub(crate) fn is_of_resources(self) -> bool {
        matches!(self, Self::Resources | Self::Templates)
    }

    fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Tasks => "tasks",
        }
    }

    /// The member of an entry with its name, and the kind of target. None: entries have no name.
    fn name(self) -> Option<(&'static str, TargetKind)> {
        match self {
            Self::Tools => Some(("name", TargetKind::Tool)),
            Self::Prompts => Some(("name", TargetKind::Prompt)),
            Self::Resources => Some(("uri", TargetKind::Resource)),
            Self::Templates => Some(("uriTemplate", TargetKind::Resource)),
            Self::Tasks => None,
        }
    }
}

/// The cursors of the upstreams that have more.
pub(crate) type Cursors = Vec<(usize, String)>;

/// Reads a cursor of an endpoint. None: it is none.
pub(crate) fn cursors(plan: &NamePlan, cursor: &str) -> Option<Cursors> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let cursors: BTreeMap<String, String> = serde_json::from_slice(&bytes).ok()?;
    let cursors = cursors.into_iter().map(|(upstream, cursor)| Some((plan.place(&upstream)?, cursor)));
    cursors.collect::<Option<Cursors>>().filter(|cursors| !cursors.is_empty())
}

/// The fault of a cursor that no list of this endpoint has given.
pub(crate) fn foreign_cursor() -> MessageFault {
    MessageFault::InvalidParams("params.cursor is none of this endpoint".to_owned())
}

/// The request `body` with the cursor of one upstream.
pub(crate) fn request_with(body: &Bytes, cursor: &str) -> Option<Bytes> {
    let params = Members::read(std::str::from_utf8(body).ok()?)?.came("params")?;
    let span = span_in(body, Members::read(params)?.came("cursor")?)?;
    Some(splice(body, &mut [(span, &quote(cursor))]))
}

/// A list that is being joined.
pub(crate) struct JointList<'a> {
    plan: &'a NamePlan,
    kind: ListKind,
    entries: String,
    cursors: BTreeMap<String, String>,
    /// The shortest time for which a part may be kept.
    ttl_ms: Option<u64>,
    is_public: bool,
}

impl<'a> JointList<'a> {
    pub(crate) fn new(plan: &'a NamePlan, kind: ListKind) -> Self {
        let (entries, cursors) = Default::default();
        Self { plan, kind, entries, cursors, ttl_ms: None, is_public: true }
    }

    /// Adds the result of the upstream at `place`. None: it is no list, or not complete here.
    pub(crate) fn add(&mut self, place: usize, result: &str) -> Option<()> {
        let result = Members::read(result)?;
        let entries: Vec<&RawValue> = serde_json::from_str(result.get(self.kind.member())?).ok()?;
        for entry in entries {
            let Some(entry) = self.entry(place, entry.get()) else { continue };
            if !self.entries.is_empty() {
                self.entries.push(',');
            }
            self.entries.push_str(&entry);
        }
        let ttl = result.get("ttlMs").and_then(|ttl| ttl.parse().ok()).unwrap_or(0);
        self.ttl_ms = Some(self.ttl_ms.map_or(ttl, |known| known.min(ttl)));
        self.is_public &= result.get("cacheScope") == Some("\"public\"");
        match result.get("nextCursor").and_then(unquote) {
            Some(cursor) if cursor.len() > LONGEST_CURSOR => return None,
            Some(cursor) => _ = self.cursors.insert(self.plan.upstream(place).to_owned(), cursor),
            None => {}
        }
        Some(())
    }

    /// An entry with its name here. None: it is not offered here, or has no name.
    fn entry(&self, place: usize, entry: &str) -> Option<String> {
        let Some((member, kind)) = self.kind.name() else { return Some(entry.to_owned()) };
        let written = Members::read(entry)?.came(member)?;
        let name = unquote(written)?;
        let shown = self.plan.shown(place, kind, &name)?;
        if shown == name {
            return Some(entry.to_owned());
        }
        let spliced = splice(entry.as_bytes(), &mut [(span_in(entry.as_bytes(), written)?, &quote(&shown))]);
        String::from_utf8(spliced.to_vec()).ok()
    }

    /// The result. `missing` are the upstreams without an answer.
    pub(crate) fn result(self, era: Era, missing: &[usize]) -> String {
        let Self { plan, kind, entries, cursors, ttl_ms, is_public } = self;
        let mut result = Members::default();
        result.set(kind.member(), format!("[{entries}]"));
        if !cursors.is_empty() {
            let text = serde_json::to_string(&cursors).unwrap_or_default();
            result.set("nextCursor", quote(&URL_SAFE_NO_PAD.encode(text)));
        }
        if era == Era::Stateless {
            let is_whole = missing.is_empty();
            result.set("resultType", quote("complete"));
            result.set("ttlMs", ttl_ms.filter(|_| is_whole).unwrap_or(0).to_string());
            result.set("cacheScope", quote(if is_public && is_whole { "public" } else { "private" }));
        }
        if !missing.is_empty() {
            result.set("_meta", Value::from(unavailable(plan, missing)).to_string());
        }
        result.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::plan;

    #[test]
    fn entries_get_their_names_and_keep_all_other_bytes() {
        let plan = plan(&[("a", &["same"]), ("b", &[])]);
        let mut list = JointList::new(&plan, ListKind::Tools);
        list.add(0, r#"{"tools":[{"name":"same","x":1.0},{"title":"T", "name":"other"}],"nextCursor":"1"}"#)
            .unwrap();
        list.add(1, r#"{"tools":[{"name":"same"},{"no":"name"}]}"#).unwrap();
        let result = list.result(Era::Stateful, &[]);
        let result = Members::read(&result).unwrap();
        assert_eq!(
            result.get("tools"),
            Some(r#"[{"name":"same","x":1.0},{"title":"T", "name":"a__other"},{"name":"b__same"}]"#)
        );
        let cursor = result.get("nextCursor").and_then(unquote).unwrap();
        assert_eq!(cursors(&plan, &cursor), Some(vec![(0, "1".to_owned())]));
        assert!(result.get("ttlMs").is_none() && result.get("_meta").is_none());
    }

    #[test]
    fn a_cursor_of_nobody_is_refused() {
        let plan = plan(&[("a", &[]), ("b", &[])]);
        for text in ["", "{}", r#"{"c":"1"}"#, r#"{"a":1}"#] {
            assert_eq!(cursors(&plan, &URL_SAFE_NO_PAD.encode(text)), None, "{text}");
        }
        let request =
            Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#);
        assert!(request_with(&request, "1").unwrap().ends_with(br#"{"cursor":"1"}}"#));
    }

    #[test]
    fn resources_are_those_of_their_owner_and_a_gap_is_told() {
        let plan = plan(&[("a", &["resource:a:*"]), ("b", &["resource:b:*"])]);
        let mut list = JointList::new(&plan, ListKind::Templates);
        list.add(0, r#"{"resourceTemplates":[{"uriTemplate":"a:{x}"},{"uriTemplate":"b:{x}"}],"ttlMs":5,"cacheScope":"public"}"#)
            .unwrap();
        assert_eq!(list.add(1, "{}"), None);
        assert_eq!(
            list.result(Era::Stateless, &[1]),
            r#"{"resourceTemplates":[{"uriTemplate":"a:{x}"}],"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"witgate/unavailable":["b"]}}"#
        );
    }
}
