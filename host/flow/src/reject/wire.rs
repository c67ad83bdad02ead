//! Maps rejections to HTTP and JSON-RPC. The messages tell the caller what to do, and nothing about keys, users or
//! rules.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use witgate_plugin::{Denial, OFFLINE_ACCESS, is_scope};

use super::{RejectedMessage, Rejection, UpstreamFault};
use crate::decision::DecisionId;
use crate::dpop::{ALGORITHMS, ProofError};
use crate::limit_hit::{ExhaustedBound, LIMIT, LimitHit};
use witgate_config::Denials;
use witgate_credentials::fault::{Invitation, InvitationForm, OutboundFault, OutboundProblem};
use witgate_message::era::Era;
use witgate_message::fault::MessageFault;
use witgate_message::headers::DPOP_NONCE;
use witgate_message::input_round::INPUT;
use witgate_policy::answer::Failed;

#[cfg(test)]
mod tests;

/// JSON-RPC 2.0 §5.1.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
/// MCP 2026-07-28, "Error Codes".
const HEADER_MISMATCH: i64 = -32020;
const MISSING_CAPABILITY: i64 = -32021;
const UNSUPPORTED_VERSION: i64 = -32022;
/// MCP 2025-11-25, "URL Elicitation Required Error".
const URL_ELICITATION_REQUIRED: i64 = -32042;

/// The headers about the limit that a call has reached (draft-ietf-httpapi-ratelimit-headers-10).
pub const RATE_LIMIT: [HeaderName; 2] =
    [HeaderName::from_static("ratelimit-policy"), HeaderName::from_static("ratelimit")];

/// Seconds until a retry, if a policy names none. It is short, because most failures concern one call.
const RETRY_SOON_S: u32 = 1;

/// The form of a rejection for the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire {
    /// The HTTP status.
    pub status: StatusCode,
    /// The JSON-RPC error code: that of the protocol if it defines one, otherwise the HTTP status.
    pub code: i64,
    /// The message of the error, which says what to do.
    pub message: Cow<'static, str>,
    /// The reason code.
    pub reason: Cow<'static, str>,
    /// Other members of the error's `data`.
    pub data: Map<String, Value>,
    /// Seconds until a retry makes sense.
    pub retry_after: Option<u32>,
    /// The challenge for an OAuth client.
    pub challenge: Challenge,
    /// The value of the `Allow` header, if any.
    pub allow: Option<&'static str>,
    /// The limit that is reached, if any.
    pub limit: Option<Box<LimitHit>>,
    /// The era of a tool's call that is answered with a result in place of an error.
    pub as_result: Option<Era>,
    /// The result that asks the client for input, in place of an error.
    pub input_required: Option<Value>,
    /// The id of the message in the audit, if it has one.
    pub decision: Option<DecisionId>,
}

/// The content of `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Nothing.
    None,
    /// A credential is needed.
    Needed,
    /// The request has its credential in an invalid form (RFC 6750 §3.1).
    InvalidRequest,
    /// The credential is invalid.
    InvalidToken,
    /// A token with these scopes would be accepted (RFC 6750 §3.1).
    InsufficientScope(Vec<String>),
    /// The proof for the token is invalid (RFC 9449 §7.1).
    InvalidProof,
    /// A proof with this nonce would be accepted (RFC 9449 §9).
    UseNonce(Box<str>),
}

impl Rejection {
    /// Maps a rejection to the HTTP status and the JSON-RPC error.
    pub fn wire(&self) -> Wire {
        match self {
            Self::Malformed(malformed) => of_malformed(malformed),
            Self::BodyTimeout => {
                plain(StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time")
            }
            Self::TooManyBodies => Wire {
                retry_after: Some(RETRY_SOON_S),
                ..plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too-many-bodies",
                    "Too many large messages are being received: send it again later",
                )
            },
            Self::TooManyAnswers => Wire {
                retry_after: Some(RETRY_SOON_S),
                ..plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too-many-answers",
                    "The answer is lost: too many large ones wait to be read, of yours or of all callers; read yours first",
                )
            },
            Self::TooManyConnections => Wire {
                retry_after: Some(RETRY_SOON_S),
                ..plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too-many-connections",
                    "Too many connections are open: try again later",
                )
            },
            Self::NoCredential => Wire {
                challenge: Challenge::Needed,
                ..plain(
                    StatusCode::UNAUTHORIZED,
                    "no-credential",
                    "Authentication failed: a credential is needed; send Authorization: Bearer, or your API key in its header",
                )
            },
            Self::Refused { reason, .. } => Wire {
                challenge: Challenge::InvalidToken,
                ..plain(StatusCode::UNAUTHORIZED, reason.clone(), RefusedCredential::of(reason).over_http())
            },
            Self::LockedOut { retry_after } => Wire {
                retry_after: Some(*retry_after),
                ..plain(
                    StatusCode::TOO_MANY_REQUESTS,
                    "locked-out",
                    "Too many credentials from here were not accepted: check yours, and try again later",
                )
            },
            Self::DeniedPeer => {
                plain(StatusCode::FORBIDDEN, "denied-peer", "Your address may not call this server")
            }
            Self::Proof(error) => error.wire(),
            Self::Denied { denial, .. } => denied(denial),
            Self::Failed(Failed { failure, retry_after, .. }) => Wire {
                retry_after: Some(retry_after.unwrap_or(RETRY_SOON_S)),
                ..plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    failure.reason(),
                    "Access could not be checked: try again later",
                )
            },
            Self::TaskNotFound => Wire {
                status: StatusCode::OK,
                code: INVALID_PARAMS,
                ..plain(StatusCode::OK, "task-not-found", "There is no such task")
            },
            Self::SessionRequired => plain(
                StatusCode::BAD_REQUEST,
                "session-required",
                "A session is needed: send initialize first, then its Mcp-Session-Id",
            ),
            Self::SessionNotFound => plain(
                StatusCode::NOT_FOUND,
                "session-not-found",
                "Session not found: send initialize again, without Mcp-Session-Id",
            ),
            Self::RateLimited { retry_after } => rate_limited(*retry_after),
            Self::LimitReached(hit) => limit_reached(hit),
            Self::Unrecorded => Wire {
                retry_after: Some(RETRY_SOON_S),
                ..plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "audit-unavailable",
                    "Calls cannot be recorded just now, so none is made: try again later",
                )
            },
            Self::Full { what, retry_after } => full(what, *retry_after),
            Self::UnsendableIdentity(_) => plain(
                StatusCode::FORBIDDEN,
                "identity-untold",
                "The MCP server needs your identity, which cannot be sent to it: tell the operator",
            ),
            Self::Outbound(fault) => outbound(fault),
            Self::Upstream { fault, message } => upstream(*fault, message),
        }
    }
}

impl ProofError {
    fn wire(&self) -> Wire {
        match self {
            Self::Bad { fault, nonce } => Wire {
                challenge: match nonce {
                    Some(nonce) => Challenge::UseNonce(nonce.clone()),
                    None => Challenge::InvalidProof,
                },
                ..plain(
                    StatusCode::UNAUTHORIZED,
                    fault.reason(),
                    "The proof of possession (DPoP) is not accepted: make a new one for this request",
                )
            },
            Self::Full { retry_after } => rate_limited(*retry_after),
        }
    }
}

fn of_malformed(malformed: &MessageFault) -> Wire {
    match malformed {
        MessageFault::Parse(what) => bad_request(
            PARSE_ERROR,
            "parse-error",
            format!("The body is not one JSON-RPC message in strict JSON: {what}"),
        ),
        MessageFault::InvalidRequest(what) => {
            bad_request(INVALID_REQUEST, "invalid-request", format!("Not a valid MCP message: {what}"))
        }
        MessageFault::InvalidParams(what) => {
            bad_request(INVALID_PARAMS, "invalid-params", format!("Invalid params: {what}"))
        }
        MessageFault::HeaderMismatch(what) => {
            bad_request(HEADER_MISMATCH, "header-mismatch", format!("Header mismatch: {what}"))
        }
        MessageFault::UnsupportedVersion { requested, supported } => unsupported(requested, supported),
        MessageFault::MissingExtension(name) => missing_extension(name),
        MessageFault::UnknownMethod(_) => Wire {
            code: METHOD_NOT_FOUND,
            ..plain(StatusCode::NOT_FOUND, "unknown-method", "Method not found")
        },
        MessageFault::TooLarge => {
            plain(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The message is larger than permitted here")
        }
        MessageFault::UnsupportedMediaType => plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Send Content-Type: application/json, in UTF-8 and not encoded",
        ),
        MessageFault::NotAcceptable => plain(
            StatusCode::NOT_ACCEPTABLE,
            "not-acceptable",
            "Send Accept: application/json, text/event-stream; JSON alone does where no event stream is needed (GET: text/event-stream)",
        ),
        MessageFault::MethodNotAllowed => Wire {
            allow: Some("POST"),
            ..plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This endpoint does not have this HTTP method",
            )
        },
        MessageFault::ForbiddenOrigin => {
            plain(StatusCode::FORBIDDEN, "forbidden-origin", "This browser origin is not allowed here")
        }
        MessageFault::ForbiddenHost => {
            plain(StatusCode::FORBIDDEN, "forbidden-host", "This server does not answer under this host name")
        }
        MessageFault::BadCredential(what) => Wire {
            challenge: Challenge::InvalidRequest,
            ..plain(StatusCode::BAD_REQUEST, "bad-credential", format!("Malformed authorization: {what}"))
        },
        MessageFault::CredentialInArguments => plain(
            StatusCode::BAD_REQUEST,
            "credential-in-arguments",
            "The message contains a credential, which the MCP server must not get: take it out of the arguments",
        ),
    }
}

impl Rejection {
    /// The code of [`Rejection::wire`], without the other parts for frequent rejections.
    pub fn code(&self) -> i64 {
        match self {
            Self::NoCredential | Self::Refused { .. } => 401,
            Self::Denied { denial, .. } => denied_status(denial).as_u16().into(),
            Self::Failed(_) => 503,
            other => other.wire().code,
        }
    }

    /// The form at an endpoint with this setting for denials. A denial that a login or more scopes can change stays as
    /// it is, because clients act on its status and challenge.
    pub fn wire_at(&self, denials: Denials) -> Wire {
        let wire = self.wire();
        match (self, denials) {
            (Self::Denied { .. }, Denials::JsonRpc) if wire.challenge == Challenge::None => {
                Wire { status: StatusCode::OK, ..wire }
            }
            _ => wire,
        }
    }
}

impl RejectedMessage {
    /// The form at an endpoint with this setting for denials, with the id of the message in the audit.
    pub fn wire_at(&self, denials: Denials) -> Wire {
        let wire = Wire { decision: self.decision, ..self.rejection.wire_at(denials) };
        let is_final = match self.rejection {
            Rejection::Denied { .. } => wire.challenge == Challenge::None,
            Rejection::LimitReached(_) | Rejection::RateLimited { .. } | Rejection::Full { .. } => true,
            _ => false,
        };
        match (denials, self.tool_call) {
            (Denials::Result, Some(era)) if is_final && self.id.is_some() => {
                Wire { status: StatusCode::OK, as_result: Some(era), ..wire }
            }
            _ => wire,
        }
    }

    /// The form over stdio, where the environment of Witgate has the credential, and there is no status.
    pub fn wire_over_stdio(&self, denials: Denials) -> Wire {
        let wire = self.wire_at(denials);
        match &self.rejection {
            Rejection::NoCredential => Wire { message: NO_VARIABLE.into(), ..wire },
            Rejection::Refused { reason, .. } => {
                Wire { message: RefusedCredential::of(reason).over_stdio().into(), ..wire }
            }
            _ => wire,
        }
    }
}

const NO_VARIABLE: &str = "Authentication failed: a credential is needed; set MCP_API_KEY, or MCP_BEARER_TOKEN, in the environment of Witgate";

/// The kind of a credential that is refused, for the message. The reason code says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RefusedCredential {
    /// A token that was issued, and is not or no longer valid here.
    Token,
    /// Any other text.
    Other,
}

impl RefusedCredential {
    /// The kind that a reason of a shipped policy is about.
    fn of(reason: &str) -> Self {
        match reason {
            "malformed" | "bad-signature" | "algorithm" | "expired" | "not-yet-valid" | "revoked"
            | "inactive" | "wrong-issuer" | "wrong-audience" | "missing-claim" | "wrong-claim"
            | "wrong-type" | "not-proven" | "wrong-key" | "not-bound" | "dpop-required"
            | "unknown-binding" => Self::Token,
            _ => Self::Other,
        }
    }

    fn over_http(self) -> &'static str {
        match self {
            Self::Token => "Invalid or expired token: get a new one, or check that it is complete",
            Self::Other => {
                "Authentication failed: the credential is not accepted; get a new one, or check that it is complete"
            }
        }
    }

    fn over_stdio(self) -> &'static str {
        match self {
            Self::Token => {
                "Invalid or expired token: check that MCP_BEARER_TOKEN, or MCP_API_KEY, is complete in the environment of Witgate"
            }
            Self::Other => {
                "Authentication failed: the credential is not accepted; check that MCP_API_KEY, or MCP_BEARER_TOKEN, is complete in the environment of Witgate"
            }
        }
    }
}

impl Wire {
    /// The JSON-RPC error, under the request's id as JSON text. For clients that show only results, it is the result of a
    /// tool that has failed.
    pub fn body(&self, id: Option<&str>) -> Bytes {
        let mut data = self.data.clone();
        data.insert("reason".to_owned(), Value::from(&*self.reason));
        if let Some(decision) = self.decision {
            data.insert("decision".to_owned(), Value::from(decision.to_string()));
        }
        let id = id.unwrap_or("null");
        if let Some(era) = self.as_result {
            let result = failed_tool(&self.message, data, era);
            return Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
        }
        if let Some(result) = &self.input_required {
            return Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
        }
        let error = json!({ "code": self.code, "message": self.message, "data": data });
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
    }

    /// The HTTP status for a message with or without an id. An upstream's fault, and with the setting also a denial,
    /// is a JSON-RPC error with status 200, which reaches the caller's code. Without an id, only the status can report
    /// it.
    pub fn status(&self, has_id: bool) -> StatusCode {
        match u16::try_from(self.code).ok().and_then(|code| StatusCode::from_u16(code).ok()) {
            Some(code) if self.status == StatusCode::OK && !has_id => code,
            _ => self.status,
        }
    }

    /// The HTTP headers. `metadata` is the URL of the RFC 9728 document, if there is one. `scopes` are those that a
    /// first login should ask for.
    pub fn headers(&self, metadata: Option<&str>, scopes: &[String]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(challenge) = self.challenge.header(metadata, scopes) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        for (name, value) in RATE_LIMIT.into_iter().zip(self.limit.iter().flat_map(|hit| hit.fields())) {
            headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        }
        headers.extend(self.decision.map(DecisionId::header));
        headers
    }
}

impl Wire {
    /// Additional headers if a policy accepts tokens with a proof of possession. They come after the others.
    pub fn dpop_headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let nonce = match &self.challenge {
            Challenge::UseNonce(nonce) => HeaderValue::try_from(&**nonce).ok(),
            _ => None,
        };
        let challenge = self.challenge.dpop_header().map(|value| (WWW_AUTHENTICATE, value));
        challenge.into_iter().chain(nonce.map(|nonce| (DPOP_NONCE, nonce)))
    }

    /// The challenge for user names and passwords in `realm`, if a policy accepts them. It is a field of its own after
    /// the others, because clients for OAuth may ignore a field that begins with another scheme.
    pub fn basic_challenge(&self, realm: &str) -> Option<HeaderValue> {
        self.challenge.basic_header(realm)
    }
}

/// The result of a tool's call with `isError`. The stateless era also requires a `resultType`.
fn failed_tool(message: &str, data: Map<String, Value>, era: Era) -> Value {
    let mut result = json!({
        "content": [{ "type": "text", "text": message }],
        "isError": true,
        "_meta": { REFUSAL: data },
    });
    if let (Era::Stateless, Some(members)) = (era, result.as_object_mut()) {
        members.insert("resultType".to_owned(), "complete".into());
    }
    result
}

/// The member of a result's `_meta` with the data that an error would have.
const REFUSAL: &str = "witgate/refusal";

impl Challenge {
    /// RFC 9449 §7.1: a challenge in addition to that for bearer tokens, which clients without DPoP read.
    fn dpop_header(&self) -> Option<HeaderValue> {
        let error = match self {
            Self::None => return None,
            Self::Needed => String::new(),
            Self::InvalidRequest => "error=\"invalid_request\", ".to_owned(),
            Self::InvalidToken => "error=\"invalid_token\", ".to_owned(),
            Self::InsufficientScope(scopes) => {
                format!("error=\"insufficient_scope\", scope=\"{}\", ", scope_list(scopes))
            }
            Self::InvalidProof => "error=\"invalid_dpop_proof\", ".to_owned(),
            Self::UseNonce(_) => "error=\"use_dpop_nonce\", ".to_owned(),
        };
        HeaderValue::try_from(format!("DPoP {error}algs=\"{ALGORITHMS}\"")).ok()
    }

    /// RFC 7617 §2 and §2.1, if another credential would help.
    fn basic_header(&self, realm: &str) -> Option<HeaderValue> {
        match self {
            Self::Needed | Self::InvalidToken | Self::InvalidProof | Self::UseNonce(_) => {
                HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")).ok()
            }
            Self::None | Self::InvalidRequest | Self::InsufficientScope(_) => None,
        }
    }

    /// RFC 6750 §3, with RFC 9728 §5.1. A scheme needs at least one parameter, so there is a realm if there is no
    /// other. Without metadata, a client has no reason to start a login.
    fn header(&self, metadata: Option<&str>, scopes: &[String]) -> Option<HeaderValue> {
        let error = match self {
            Self::None => return None,
            Self::Needed | Self::InvalidProof | Self::UseNonce(_) => None,
            Self::InvalidRequest => Some("error=\"invalid_request\"".to_owned()),
            Self::InvalidToken => Some("error=\"invalid_token\"".to_owned()),
            Self::InsufficientScope(scopes) => {
                Some(format!("error=\"insufficient_scope\", scope=\"{}\"", scope_list(scopes)))
            }
        };
        let metadata_is_there = metadata.is_some();
        let metadata = match metadata {
            Some(url) => format!("resource_metadata=\"{url}\""),
            None => "realm=\"mcp\"".to_owned(),
        };
        // Scopes are for logins, which need the metadata.
        let scopes = match self {
            Self::Needed | Self::InvalidToken if !scopes.is_empty() && metadata_is_there => {
                format!(", scope=\"{}\"", scope_list(scopes))
            }
            _ => String::new(),
        };
        let value = match error {
            Some(error) => format!("Bearer {error}, {metadata}{scopes}"),
            None => format!("Bearer {metadata}{scopes}"),
        };
        HeaderValue::try_from(value).ok()
    }
}

/// Scope tokens (RFC 6749 §3.3), without the one that concerns only the authorization server.
fn scope_list(scopes: &[String]) -> String {
    let scopes: Vec<_> = scopes.iter().map(String::as_str).filter(|scope| is_offered(scope)).collect();
    scopes.join(" ")
}

/// True if challenges may name a scope.
pub fn is_offered(scope: &str) -> bool {
    is_scope(scope) && scope != OFFLINE_ACCESS
}

/// A denial that ends by itself is about the number of calls. If more scopes help, the caller need not wait.
fn denied_status(denial: &Denial) -> StatusCode {
    match denial.retry_after {
        Some(_) if denial.scopes.is_empty() => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    }
}

fn denied(denial: &Denial) -> Wire {
    let status = denied_status(denial);
    let (message, challenge): (Cow<'static, str>, _) = match denial.retry_after {
        _ if !denial.scopes.is_empty() => (
            "Permission denied: this needs a token with more scopes".into(),
            Challenge::InsufficientScope(denial.scopes.clone()),
        ),
        Some(seconds) => (format!("Not now: try again in {seconds} s").into(), Challenge::None),
        None => ("Permission denied: ask for access if you need it".into(), Challenge::None),
    };
    let mut wire = plain(status, denial.reason.clone(), message);
    if let (StatusCode::TOO_MANY_REQUESTS, Some(seconds)) = (status, denial.retry_after) {
        wire.data.insert("retryAfter".to_owned(), Value::from(seconds));
    }
    if !denial.scopes.is_empty() {
        wire.data.insert("scopes".to_owned(), Value::from(denial.scopes.clone()));
    }
    if wire.reason.is_empty() {
        wire.reason = Cow::Borrowed("not-allowed");
    }
    Wire { challenge, retry_after: denial.retry_after, ..wire }
}

fn unsupported(requested: &str, supported: &[String]) -> Wire {
    let mut wire = bad_request(
        UNSUPPORTED_VERSION,
        "unsupported-version",
        format!("Unsupported protocol version; supported: {}", supported.join(", ")),
    );
    wire.data.insert("supported".to_owned(), Value::from(supported));
    wire.data.insert("requested".to_owned(), Value::from(requested));
    wire
}

fn missing_extension(name: &str) -> Wire {
    let mut wire = bad_request(
        MISSING_CAPABILITY,
        "missing-extension",
        format!("Missing required client capability: the extension {name}"),
    );
    wire.data.insert("requiredCapabilities".to_owned(), json!({ "extensions": { name: {} } }));
    wire
}

fn rate_limited(retry_after: u32) -> Wire {
    Wire {
        retry_after: Some(retry_after),
        ..plain(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many calls: try again later")
    }
}

fn limit_reached(hit: &LimitHit) -> Wire {
    let LimitHit { limit, bound, retry_after } = hit;
    let message = match bound {
        ExhaustedBound::Rate { .. } => {
            format!("Too many calls for the limit `{limit}`: try again in {retry_after} s")
        }
        ExhaustedBound::Concurrent(most) => format!(
            "More than {most} calls at the same time for the limit `{limit}`: wait for the end of one"
        ),
        ExhaustedBound::Buckets => {
            format!("Calls of too many different targets for the limit `{limit}`: try again later")
        }
    };
    let mut wire = plain(StatusCode::TOO_MANY_REQUESTS, "rate-limited", message);
    wire.data.insert(LIMIT.to_owned(), Value::from(&**limit));
    wire.data.insert("retryAfter".to_owned(), Value::from(*retry_after));
    Wire { retry_after: Some(*retry_after), limit: Some(Box::new(hit.clone())), ..wire }
}

fn full(what: &'static str, retry_after: u32) -> Wire {
    let message = format!(
        "There are too many {what} of yours, or of all callers together: end some, or try again later"
    );
    let mut wire = plain(StatusCode::TOO_MANY_REQUESTS, "rate-limited", message);
    wire.data.insert("full".to_owned(), Value::from(what));
    Wire { retry_after: Some(retry_after), ..wire }
}

fn upstream(fault: UpstreamFault, message: &str) -> Wire {
    let code = match fault {
        UpstreamFault::Unreachable
        | UpstreamFault::BadAnswer
        | UpstreamFault::Flood
        | UpstreamFault::SecretExpired => 502,
        UpstreamFault::Timeout => 504,
    };
    Wire { code, ..plain(StatusCode::OK, fault.reason(), message.to_owned()) }
}

/// A JSON-RPC error with status 200, as for an upstream's fault: the caller cannot change it by a login at the gateway.
fn outbound(fault: &OutboundFault) -> Wire {
    let mut wire = plain(StatusCode::OK, fault.reason(), fault.message());
    wire.code = match fault.problem {
        OutboundProblem::NoCallerToken
        | OutboundProblem::NotConnected
        | OutboundProblem::NoPrincipal
        | OutboundProblem::ConnectDenied { .. }
        | OutboundProblem::StateMismatch => 403,
        OutboundProblem::Unreachable { .. } => 503,
        OutboundProblem::Missing(_)
        | OutboundProblem::Rejected
        | OutboundProblem::Refused { .. }
        | OutboundProblem::Ended => 502,
    };
    wire.data.insert("credential".to_owned(), Value::from(&*fault.credential));
    wire.data.insert("how".to_owned(), Value::from(fault.advice()));
    match &fault.invitation {
        Some(invitation) => invite(wire, &fault.credential, invitation),
        None => wire,
    }
}

/// The form of an invitation: the URL in the error for all clients, and a request to open it for those that can.
fn invite(mut wire: Wire, credential: &str, Invitation { url, code, form }: &Invitation) -> Wire {
    wire.data.insert("url".to_owned(), Value::from(url.as_str()));
    let number = code.as_ref().map_or_else(String::new, |code| format!(". The page shows the number {code}"));
    let message = format!("Connect your account for `{credential}`{number}");
    match form {
        InvitationForm::Text => wire,
        InvitationForm::Elicitation { id } => {
            let elicitation =
                json!({ "mode": "url", "elicitationId": id, "url": url.as_str(), "message": message });
            wire.data.insert("elicitations".to_owned(), json!([elicitation]));
            Wire { code: URL_ELICITATION_REQUIRED, ..wire }
        }
        InvitationForm::Input { state } => {
            let params = json!({ "mode": "url", "url": url.as_str(), "message": message });
            let request = json!({ "method": "elicitation/create", "params": params });
            let result = json!({
                "resultType": "input_required",
                "inputRequests": { INPUT: request },
                "requestState": state,
            });
            Wire { input_required: Some(result), ..wire }
        }
    }
}

fn bad_request(code: i64, reason: &'static str, message: String) -> Wire {
    Wire { code, ..plain(StatusCode::BAD_REQUEST, reason, message) }
}

fn plain(
    status: StatusCode,
    reason: impl Into<Cow<'static, str>>,
    message: impl Into<Cow<'static, str>>,
) -> Wire {
    Wire {
        status,
        code: i64::from(status.as_u16()),
        message: message.into(),
        reason: reason.into(),
        data: Map::new(),
        retry_after: None,
        challenge: Challenge::None,
        allow: None,
        limit: None,
        as_result: None,
        input_required: None,
        decision: None,
    }
}
