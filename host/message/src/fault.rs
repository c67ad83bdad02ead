//! The faults of a message, of its headers and of the names in them. None of them is a decision about a caller.

/// The fault of a message that is not passed to any policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageFault {
    /// Not one JSON-RPC message in strict JSON. `-32700`.
    Parse(String),
    /// JSON, but not a well-formed JSON-RPC or MCP message. `-32600`.
    InvalidRequest(String),
    /// A known method with invalid `params`. `-32602`.
    InvalidParams(String),
    /// Headers that contradict the body or each other. `-32020`.
    HeaderMismatch(String),
    /// A protocol version that Witgate does not support. `-32022`.
    UnsupportedVersion {
        /// The requested version.
        requested: String,
        /// The supported versions.
        supported: Vec<String>,
    },
    /// The request needs an extension that the client has not declared in it. `-32021`.
    MissingExtension(&'static str),
    /// A method that the protocol version does not have. `-32601`.
    UnknownMethod(String),
    /// The message is larger than permitted.
    TooLarge,
    /// The Content-Type is not JSON.
    UnsupportedMediaType,
    /// The Accept header permits no answer that Witgate could give.
    NotAcceptable,
    /// An HTTP method that the endpoint does not have.
    MethodNotAllowed,
    /// A browser origin that is not allowed.
    ForbiddenOrigin,
    /// A Host that is not this server's.
    ForbiddenHost,
    /// A credential at a place where none may be (in the query), or more credentials than permitted.
    BadCredential(String),
    /// The message contains the credential of its sender, or a key of Witgate.
    CredentialInArguments,
}

/// The fault of a message that could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The message's id as JSON text, if it could be read: JSON-RPC 2.0 §5 requires it in the answer.
    pub id: Option<Box<str>>,
    /// The fault.
    pub malformed: MessageFault,
}
