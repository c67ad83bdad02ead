//! The JSON-RPC of a child: reads its messages, and writes the answers that are made here.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use witgate_message::call::LONGEST_ID;
use witgate_message::json::{quote, span_in, splice};

/// A message of a child, parsed as far as needed to find its recipient.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    line: &'a [u8],
    id: Option<&'a RawValue>,
    pub what: MessageType<'a>,
}

/// The kind of a message.
#[derive(Debug)]
pub(crate) enum MessageType<'a> {
    /// A request, which needs an answer.
    Request { method: String },
    /// A notification, which needs none.
    Notification { method: String, params: Option<&'a str> },
    /// An answer.
    Response { result: Option<&'a str> },
}

#[derive(Deserialize)]
struct ChildEnvelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> Incoming<'a> {
    /// Reads a line. None: it is not a JSON-RPC message.
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let envelope: ChildEnvelope<'a> = serde_json::from_slice(line).ok()?;
        if envelope.id.is_some_and(|id| id.get().len() > LONGEST_ID) {
            return None;
        }
        let result = envelope.result.map(RawValue::get);
        let what = match (envelope.method, envelope.id) {
            (Some(method), Some(_)) => MessageType::Request { method },
            (Some(method), None) => {
                MessageType::Notification { method, params: envelope.params.map(RawValue::get) }
            }
            (None, _) if result.is_some() != envelope.error.is_some() => MessageType::Response { result },
            (None, _) => return None,
        };
        Some(Self { line, id: envelope.id, what })
    }

    /// The id as JSON text.
    pub(crate) fn id(&self) -> Option<&'a str> {
        self.id.map(RawValue::get)
    }

    /// The line with other values for parts of it, each of which has to be a slice of the line.
    pub(crate) fn with(&self, parts: &[(&str, &str)]) -> Bytes {
        let mut edits: Vec<_> =
            parts.iter().filter_map(|(part, text)| Some((span_in(self.line, part)?, *text))).collect();
        splice(self.line, &mut edits)
    }
}

/// A JSON-RPC result.
pub(crate) fn result_response(id: &str, result: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into()
}

/// A JSON-RPC error.
pub(crate) fn error_response(id: &str, code: i32, message: &str, data: Option<&str>) -> Bytes {
    let data = data.map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
    let message = quote(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}{data}}}}}"#).into()
}

/// `notifications/cancelled` for the request `id`.
pub fn cancelled(id: &str, reason: &str) -> Bytes {
    let reason = quote(reason);
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":{reason}}}}}"#
    )
    .into()
}

#[cfg(test)]
mod tests;
