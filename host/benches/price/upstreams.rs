//! Upstreams: a child process, and a service that answers with an event stream.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{BufRead, Write, stdin, stdout};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::Service;
use witgate_upstream::http::Outgoing;

use crate::scene::TOOL;

/// Answers each line of standard input. A scene runs this program as its child process.
pub(crate) fn answer_on_stdio() {
    for line in stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let Some(id) = request.get("id") else { continue };
        let result = match request["method"].as_str() {
            Some("tools/list") => json!({ "tools": [{ "name": TOOL, "inputSchema": { "type": "object" } }] }),
            _ => json!({ "content": [] }),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        stdout().write_all(format!("{answer}\n").as_bytes()).unwrap();
        stdout().flush().unwrap();
    }
}

/// Two notifications of progress, and the response.
const STREAM: &str = concat!(
    "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}\n\n",
    "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":2}}\n\n",
    "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\n\n",
);

/// A service in this program that answers every request with the same event stream.
#[derive(Clone)]
pub(crate) struct EventStreams;

impl Service<Outgoing> for EventStreams {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Outgoing) -> Self::Future {
        let mut response = Response::new(Full::new(Bytes::from_static(STREAM.as_bytes())));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        ready(Ok(response))
    }
}
