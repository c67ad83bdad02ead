//! The answer of one upstream to its part of a message, read as a whole.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use witgate_flow::Reply;
use witgate_flow::decision::DecisionId;
use witgate_flow::event::Event;
use witgate_flow::port::AnswerBody;
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_message::json::{Members, MessageForm, form};
use witgate_runtime::memory::Hold;

/// Messages of an upstream before its answer that are passed on. Others are dropped: nobody waits for them.
const MOST_EVENTS: usize = 64;

/// An answer.
pub(crate) struct PartAnswer {
    pub(crate) status: StatusCode,
    pub(crate) session: Option<Box<str>>,
    pub(crate) nonce: Option<Box<str>>,
    pub(crate) decision: DecisionId,
    /// The response.
    pub(crate) text: Bytes,
    pub(crate) hold: Hold,
    /// The upstream's own messages before it.
    pub(crate) events: Vec<Event>,
}

impl PartAnswer {
    /// Reads an answer to its end.
    ///
    /// # Errors
    /// If the upstream gives no response.
    pub(crate) async fn read(reply: Reply) -> Result<Self, Rejection> {
        let Reply { status, session, nonce, decision, body } = reply;
        let mut events = Vec::new();
        let (text, hold) = match body {
            AnswerBody::Message { message, hold, .. } => (message.into_text(), hold),
            AnswerBody::Events(mut stream) => loop {
                let event = stream.next().await.ok_or_else(|| bad_answer("gives no answer"))?;
                match form(&event.data) {
                    Some(MessageForm::Response) => break (event.data, event.hold),
                    Some(_) if events.len() < MOST_EVENTS => events.push(event),
                    Some(_) | None => {}
                }
            },
            AnswerBody::Accepted | AnswerBody::Raw { .. } => return Err(bad_answer("gives another answer")),
        };
        Ok(Self { status, session, nonce, decision, text, hold, events })
    }

    /// The result as JSON text. None: the answer is an error, or unreadable.
    pub(crate) fn result(&self) -> Option<&str> {
        Members::read(std::str::from_utf8(&self.text).ok()?)?.came("result")
    }

    /// The code of an error.
    pub(crate) fn error_code(&self) -> Option<i64> {
        let error = Members::read(std::str::from_utf8(&self.text).ok()?)?.came("error")?;
        Members::read(error)?.get("code")?.parse().ok()
    }
}

/// The fault of an upstream whose answer cannot be used.
pub(crate) fn bad_answer(what: &str) -> Rejection {
    Rejection::Upstream {
        fault: UpstreamFault::BadAnswer,
        message: format!("An MCP server of this endpoint {what}"),
    }
}
