//! The lists that Witgate itself asks for: all pages of one list, in the session of a caller whose call depends on it.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_base::digest::sha256;
use witgate_config::pins::{Definition, EntryKind};
use witgate_credentials::caller_token::CallerToken;
use witgate_message::call::Call;
use witgate_message::era::Era;
use witgate_message::json::{MessageForm, form};
use witgate_message::method::{META_CAPABILITIES, META_VERSION};
use witgate_message::strict_json::StrictMembers;
use witgate_runtime::memory::AnswerMemory;

use super::parts::{MOST_ITEMS, MessageParts};
use crate::authorize::{Permit, authorize};
use crate::limit::admit_own_list;
use crate::parsing;
use crate::port::{Answer, AnswerBody, Upstream};
use crate::reject::{Rejection, UpstreamFault};

/// The most pages of a list.
const MOST_PAGES: usize = 1_000;

/// The longest cursor, in bytes.
const LONGEST_CURSOR: usize = 64 << 10;

/// The code of JSON-RPC for a method that the server does not have.
const METHOD_NOT_FOUND: i64 = -32601;

/// An entry of a list: its name, and its definition. None: it cannot be read.
pub(crate) type ListedEntry = (String, Option<Definition>);

/// A caller in whose session lists are asked for.
pub(crate) struct ListAsker<'a> {
    pub(crate) permit: &'a Arc<Permit>,
    pub(crate) session: Option<&'a str>,
    /// The caller's token, if the upstream's credential is made from it.
    pub(crate) token: Option<Arc<CallerToken>>,
    pub(crate) answers: &'a Arc<AnswerMemory>,
}

/// A page of a list.
struct ListPage {
    entries: Vec<ListedEntry>,
    /// The cursor of the next page, as JSON text.
    next: Option<String>,
}

impl ListAsker<'_> {
    /// All entries with names. A server without such a list has none.
    ///
    /// # Errors
    /// Those of the upstream; `BadAnswer` if the list does not end, `Flood` if it has more entries than one page of a
    /// caller's list may have.
    pub(crate) async fn list<U: Upstream>(
        &self,
        upstream: &U,
        kind: EntryKind,
    ) -> Result<Vec<ListedEntry>, Rejection> {
        let (mut entries, mut cursors, mut next) = (Vec::new(), HashSet::new(), None);
        for number in 0..MOST_PAGES {
            let page = self.page(upstream, kind, (number, next.as_deref())).await?;
            entries.extend(page.entries);
            if entries.len() > MOST_ITEMS {
                let message = "The MCP server's list has more than 20,000 items".to_owned();
                return Err(Rejection::Upstream { fault: UpstreamFault::Flood, message });
            }
            let Some(cursor) = page.next else { return Ok(entries) };
            if cursor.len() > LONGEST_CURSOR || !cursors.insert(sha256(cursor.as_bytes())) {
                return Err(bad("The MCP server's list leads in a circle, or its cursor is too long"));
            }
            next = Some(cursor);
        }
        Err(bad("The MCP server's list does not end"))
    }

    async fn page<U: Upstream>(
        &self,
        upstream: &U,
        kind: EntryKind,
        (number, cursor): (usize, Option<&str>),
    ) -> Result<ListPage, Rejection> {
        let call = self.call(kind, number, cursor)?;
        let request = Arc::new(self.permit.request().listing(call));
        let proven = self.permit.proven().asking(request);
        let (generation, caller) = (self.permit.generation(), self.permit.caller());
        let authorized = authorize(Arc::clone(generation), &proven, Arc::clone(caller), None).await;
        let permit = Arc::new(authorized.result?);
        let admitted = admit_own_list(permit, self.session.map(Box::from), self.answers);
        let admitted = admitted.ok_or_else(|| bad("This is no list"))?.exchanging(self.token.clone());
        let message = response(upstream.forward(admitted).await?).await?;
        let (size, peer) = (message.len(), self.permit.request().peer);
        let read = parsing::answer(peer, size, move || read_page(&message, kind)).await;
        read.unwrap_or_else(|| Err(no_list()))
    }

    fn call(&self, kind: EntryKind, number: usize, cursor: Option<&str>) -> Result<Call, Rejection> {
        let request = self.permit.request();
        let mut params = Map::new();
        if let Some(cursor) = cursor {
            let cursor: Value = serde_json::from_str(cursor).map_err(|_| no_list())?;
            params.insert("cursor".to_owned(), cursor);
        }
        if request.era == Era::Stateless {
            let version = request.call.meta_version().unwrap_or_default();
            let meta = json!({ META_VERSION: version, META_CAPABILITIES: {} });
            params.insert("_meta".to_owned(), meta);
        }
        // No other request of the session has this id, as no other call has this decision.
        let id = format!("witgate-{}-{}-{number}", request.decision, kind.list());
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": kind.method(), "params": params });
        Call::parse(Bytes::from(message.to_string())).map_err(|error| Rejection::from(error.malformed))
    }
}

/// The message with the response to a list.
async fn response(answer: Answer) -> Result<Bytes, Rejection> {
    match answer.body {
        AnswerBody::Message { message, .. } => Ok(message.into_text()),
        AnswerBody::Events(mut events) => {
            while let Some(event) = events.next().await {
                if form(&event.data) == Some(MessageForm::Response) {
                    return Ok(event.data);
                }
            }
            Err(no_list())
        }
        AnswerBody::Accepted | AnswerBody::Raw { .. } => Err(no_list()),
    }
}

fn read_page(message: &Bytes, kind: EntryKind) -> Result<ListPage, Rejection> {
    let text = std::str::from_utf8(message).map_err(|_| no_list())?;
    let parts = MessageParts::read(message)?;
    if let Some(error) = parts.error {
        return match text.get(error).and_then(code) {
            Some(METHOD_NOT_FOUND) => Ok(ListPage { entries: Vec::new(), next: None }),
            _ => Err(no_list()),
        };
    }
    let lists = parts.result.and_then(|result| result.lists).ok_or_else(no_list)?;
    let list = lists.lists.iter().find(|list| list.list.entry_kind() == Some(kind)).ok_or_else(no_list)?;
    let mut entries = Vec::with_capacity(list.entries.len());
    for entry in &list.entries {
        parsing::make_room();
        // An entry without a name is never shown, and nobody can call it.
        let Some(name) = entry.name(text) else { continue };
        entries.push((name.to_owned(), Definition::read(kind, entry.text(text))));
    }
    Ok(ListPage { entries, next: next_cursor(text) })
}

fn code(error: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct ListErrorCode {
        code: i64,
    }
    serde_json::from_str(error).ok().map(|ListErrorCode { code }| code)
}

fn next_cursor(message: &str) -> Option<String> {
    let envelope = StrictMembers::read(message).ok()?;
    let result = StrictMembers::read(envelope.get("result")?.get()).ok()?;
    result.get("nextCursor").map(|cursor| cursor.get().to_owned()).filter(|cursor| cursor != "null")
}

fn no_list() -> Rejection {
    bad("The MCP server gives no list with which its definitions could be compared")
}

fn bad(message: &str) -> Rejection {
    Rejection::Upstream { fault: UpstreamFault::BadAnswer, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(message: &str) -> Result<(Vec<String>, Option<String>), ()> {
        let page = read_page(&Bytes::from(message.to_owned()), EntryKind::Tool).map_err(drop)?;
        let name = |(name, definition): ListedEntry| match definition {
            Some(_) => name,
            None => format!("{name}?"),
        };
        Ok((page.entries.into_iter().map(name).collect(), page.next))
    }

    #[test]
    fn a_page_is_read() {
        let message = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"x":1},{"name":"b","y":{"c":1,"c":2}}],"nextCursor":"2"}}"#;
        assert_eq!(page(message), Ok((vec!["a".to_owned(), "b?".to_owned()], Some("\"2\"".to_owned()))));
        let last = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextCursor":null}}"#;
        assert_eq!(page(last), Ok((Vec::new(), None)));
    }

    #[test]
    fn a_server_without_the_method_has_no_entries_and_every_other_error_is_one() {
        let error = |code| format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":""}}}}"#);
        assert_eq!(page(&error(-32601)), Ok((Vec::new(), None)));
        for message in
            [error(-32603), r#"{"result":{}}"#.to_owned(), r#"{"result":{"prompts":[]}}"#.to_owned()]
        {
            assert_eq!(page(&message), Err(()), "{message}");
        }
        assert_eq!(page("{"), Err(()));
    }
}
