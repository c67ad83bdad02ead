//! The reasons why a request to an upstream has no answer.

use std::error::Error;
use std::io;

/// The fault of an exchange with an upstream.
#[derive(Debug, thiserror::Error)]
pub enum WireFault {
    /// The URL of the request names no server.
    #[error("the URL names no server")]
    NoServer,
    /// No connection could be opened.
    #[error("there is no connection")]
    Unconnected(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// The server answered with something that is not HTTP, or not complete.
    #[error(transparent)]
    Answer(#[from] HttpAnswerFault),
}

/// The fault of the bytes that an upstream has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpAnswerFault {
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer")]
    Incomplete,
    /// The first line is not that of HTTP/1.0 or HTTP/1.1.
    #[error("the answer is not HTTP/1")]
    StatusLine,
    /// A line does not end with CR LF.
    #[error("a line of the answer does not end with CR LF")]
    LineEnd,
    /// The head, or a trailer section, has too many bytes or fields.
    #[error("the head of the answer is too large")]
    Flood,
    /// A field has a name or value that HTTP does not allow.
    #[error("a field of the answer is invalid")]
    Field,
    /// The length of the body is invalid or ambiguous.
    #[error("the length of the answer is invalid")]
    Length,
    /// The body has another transfer coding than `chunked`.
    #[error("the transfer coding of the answer is not supported")]
    Coding,
    /// The server changes to another protocol, which was not requested.
    #[error("the server changes to another protocol")]
    Upgrade,
    /// There are too many interim answers (1xx).
    #[error("there are too many interim answers")]
    Interim,
    /// The size, the extension or the end of a chunk is invalid.
    #[error("a chunk of the answer is invalid")]
    Chunk,
}
