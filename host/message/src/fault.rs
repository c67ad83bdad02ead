//! The faults of a message, its headers and the names in them. None decides on a caller.

/// The fault of a message that goes to no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageFault {
    /// Not one JSON-RPC message in strict JSON. `-32700`.
    Parse(String),
    /// JSON, but not a well-formed JSON-RPC or MCP message. `-32600`.
    InvalidRequest(String),
    /// A known method whose `params` are not of its shape. `-32602`.
    InvalidParams(String),
    /// Headers that disagree with the body or with themselves. `-32020`.
    HeaderMismatch(String),
    /// A protocol version that is not served here. `-32022`.
    UnsupportedVersion {
        /// The requested version.
        requested: String,
        /// The supported versions.
        supported: Vec<String>,
    },
    /// An extension that the client has not declared on this request, and that the request is of.
    /// `-32021`.
    MissingExtension(&'static str),
    /// A method that the protocol version does not have. `-32601`.
    UnknownMethod(String),
    /// The message is larger than permitted.
    TooLarge,
    /// The Content-Type is not JSON.
    UnsupportedMediaType,
    /// The Accept header leaves no answer that Witgate could give.
    NotAcceptable,
    /// An HTTP method that the endpoint does not have.
    MethodNotAllowed,
    /// A browser origin that is not allowed.
    ForbiddenOrigin,
    /// A Host that is not this server's.
    ForbiddenHost,
    /// A credential where none may be (in the query), or several where one may be.
    BadCredential(String),
}

/// The fault of a message that could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The message's id as JSON text, where it has one that could be read: JSON-RPC 2.0 §5 wants
    /// it in the answer.
    pub id: Option<Box<str>>,
    /// The fault.
    pub malformed: MessageFault,
}
