//! The bridge from a 2026-07-28 client to an upstream of the stateful era: it translates plain requests, and their
//! answers. It consists of pure functions on JSON, and of the order in which they are used.
//!
//! It translates the lists, `tools/call`, `resources/read`, `prompts/get` and `completion/complete`. `server/discover`
//! gets "method not found", after which every client that supports both eras uses the stateful one and loses nothing.
//! So the bridge is for clients that support only 2026-07-28. The session that Witgate holds for them declares no
//! client capabilities, so the upstream sends no requests back.

use std::sync::Arc;

use bytes::Bytes;

use witgate_flow::reject::Rejection;
use witgate_message::call::{Access, Call};
use witgate_message::fault::MessageFault;
use witgate_message::json::{Members, quote, unquote};

/// The version of the stateless era.
pub const MODERN: &str = "2026-07-28";
/// The versions of the stateful era, newest first.
pub const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

const PREFIX: &str = "io.modelcontextprotocol/";
/// Members of `_meta` for the protocol itself, which the stateful era does not have.
const PROTOCOL_META: [&str; 4] = ["protocolVersion", "clientInfo", "clientCapabilities", "logLevel"];

/// The answer to `initialize` of an upstream of the stateful era.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitializeAnswer {
    /// The whole result, as JSON text.
    pub result: Box<str>,
    /// `protocolVersion`.
    pub version: Box<str>,
    /// `serverInfo`, as JSON text.
    pub server_info: Option<Box<str>>,
    /// `capabilities`, as JSON text.
    pub capabilities: Box<str>,
    /// `instructions`, as JSON text.
    pub instructions: Option<Box<str>>,
}

impl InitializeAnswer {
    /// Reads an InitializeResult.
    pub fn read(result: &str) -> Self {
        let members = Members::read(result).unwrap_or_default();
        let text = |name| members.get(name).map(Box::from);
        Self {
            result: result.into(),
            version: members.get("protocolVersion").and_then(unquote).unwrap_or_default().into(),
            server_info: text("serverInfo"),
            capabilities: text("capabilities").unwrap_or_else(|| "{}".into()),
            instructions: text("instructions"),
        }
    }
}

/// A session of the stateful era that Witgate holds for one principal.
pub trait HeldSession: Sync {
    /// The type of an answer.
    type Answer: Send;

    /// The upstream's answer to `initialize`. Opens the session if needed.
    fn opened(&self) -> impl Future<Output = Result<Arc<InitializeAnswer>, Rejection>> + Send;

    /// Sends a request and returns the answer. `compose` writes the request with an id and, if the caller has named
    /// one, a progress token.
    fn send(
        &self,
        compose: impl FnOnce(&str, Option<&str>) -> Bytes + Send,
    ) -> impl Future<Output = Result<Self::Answer, Rejection>> + Send;
}

/// Sends a request of a 2026-07-28 client over a session of the stateful era. [`Uplift`] then translates the answer.
///
/// # Errors
/// `UnknownMethod` for a request that cannot be bridged, such as `server/discover`; `UnsupportedVersion` for another
/// version; the errors of the session.
pub async fn carry<S: HeldSession>(session: &S, call: &Call) -> Result<(S::Answer, Uplift), Rejection> {
    bridgeable(call)?;
    let opened = session.opened().await?;
    let uplift = Uplift::new(call, &opened);
    let answer = session.send(|id, token| request_down(call, id, token)).await?;
    Ok((answer, uplift))
}

/// Checks that a request can be bridged.
///
/// # Errors
/// With the reason why not.
pub fn bridgeable(call: &Call) -> Result<(), Rejection> {
    if let Some(other) = call.meta_version().filter(|version| *version != MODERN) {
        return Err(MessageFault::UnsupportedVersion {
            requested: other.to_owned(),
            supported: [MODERN].into_iter().chain(LEGACY).map(str::to_owned).collect(),
        }
        .into());
    }
    if !ResultShape::of(call.method()).is_bridged() {
        return Err(MessageFault::UnknownMethod(call.method().to_owned()).into());
    }
    let params = params(call).unwrap_or_default();
    if params.get("inputResponses").is_some() || params.get("requestState").is_some() {
        return Err(MessageFault::InvalidParams("this server has asked for no input".to_owned()).into());
    }
    Ok(())
}

/// A call's `params`.
pub(super) fn params(call: &Call) -> Option<Members<'_>> {
    let body = std::str::from_utf8(call.body()).ok()?;
    Members::read(Members::read(body)?.came("params")?)
}

/// The request in the form of the stateful era: without the `_meta` keys of the stateless era, and otherwise
/// unchanged.
pub fn request_down(call: &Call, id: &str, token: Option<&str>) -> Bytes {
    let method = quote(call.method());
    let mut params = params(call).unwrap_or_default();
    if let Some(mut meta) = params.came("_meta").and_then(Members::read) {
        for name in PROTOCOL_META {
            meta.remove(&format!("{PREFIX}{name}"));
        }
        if let Some(token) = token {
            meta.set("progressToken", token.to_owned());
        }
        if meta.is_empty() {
            params.remove("_meta");
        } else {
            params.set("_meta", meta.render());
        }
    }
    let params = params.render();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#).into()
}

/// The difference of a method's result between the eras.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResultShape {
    /// A list, or a resource: the stateless era has cache hints.
    Cacheable,
    /// Any other bridged result.
    Plain,
    /// Not bridged.
    None,
}

impl ResultShape {
    fn of(method: &str) -> Self {
        match method {
            "tools/list"
            | "resources/list"
            | "resources/templates/list"
            | "prompts/list"
            | "resources/read" => Self::Cacheable,
            "tools/call" | "prompts/get" | "completion/complete" => Self::Plain,
            _ => Self::None,
        }
    }

    fn is_bridged(self) -> bool {
        self != Self::None
    }
}

/// The levels of log messages, in ascending order (RFC 5424).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

fn severity(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// The translation of answers to one bridged request.
#[derive(Clone, Debug)]
pub struct Uplift {
    shape: ResultShape,
    /// The URI, for `resources/read`.
    uri: Option<Box<str>>,
    server_info: Option<Box<str>>,
    /// The lowest level of log messages. None: the client wants none.
    level: Option<usize>,
}

impl Uplift {
    /// For the answers to `call` of an upstream with this answer to `initialize`.
    pub fn new(call: &Call, opened: &InitializeAnswer) -> Self {
        let uri = match call.access() {
            Access::Target(target) if call.method() == "resources/read" => Some(target.name.clone()),
            _ => None,
        };
        let meta = call.meta().and_then(Members::read).unwrap_or_default();
        let level = meta.get(&format!("{PREFIX}logLevel")).and_then(unquote);
        Self {
            shape: ResultShape::of(call.method()),
            uri,
            server_info: opened.server_info.clone(),
            level: level.as_deref().and_then(severity),
        }
    }

    /// A response of the stateful era in the form of 2026-07-28. A message that is not a response stays unchanged.
    pub fn response(&self, response: &Bytes) -> Bytes {
        let Some(mut message) = std::str::from_utf8(response).ok().and_then(Members::read) else {
            return response.clone();
        };
        if let Some(mut result) = message.came("result").and_then(Members::read) {
            self.lift_result(&mut result);
            message.set("result", result.render());
        } else if let Some(mut error) = message.came("error").and_then(Members::read) {
            self.lift_error(&mut error);
            message.set("error", error.render());
        } else {
            return response.clone();
        }
        message.render().into()
    }

    /// A notification on the stream of a request. None: the client has not asked for it.
    pub fn notification(&self, line: Bytes) -> Option<Bytes> {
        let text = std::str::from_utf8(&line).ok()?;
        let message = Members::read(text)?;
        match message.get("method").and_then(unquote)?.as_str() {
            "notifications/message" => {
                let params = message.came("params").and_then(Members::read)?;
                let level = params.get("level").and_then(unquote).as_deref().and_then(severity);
                (self.level? <= level?).then_some(line)
            }
            "notifications/progress" => Some(line),
            _ => None,
        }
    }

    fn lift_result(&self, result: &mut Members<'_>) {
        // A member of this name in an older result has another meaning.
        result.set("resultType", r#""complete""#.to_owned());
        if self.shape == ResultShape::Cacheable {
            result.set_if_absent("ttlMs", "0");
            result.set("cacheScope", r#""private""#.to_owned());
        }
        let Some(info) = &self.server_info else { return };
        let own = result.get("_meta").map(str::to_owned);
        let mut meta = own.as_deref().and_then(Members::read).unwrap_or_default();
        meta.set_if_absent(&format!("{PREFIX}serverInfo"), info);
        let meta = meta.render();
        result.set("_meta", meta);
    }

    /// Translates codes that differ between the eras.
    fn lift_error(&self, error: &mut Members<'_>) {
        let code = error.get("code").and_then(|code| code.parse().ok());
        match (code, &self.uri) {
            (Some(RESOURCE_NOT_FOUND), uri) => {
                error.set("code", INVALID_PARAMS.to_string());
                if let Some(uri) = uri {
                    name_resource(error, uri);
                }
            }
            // Clients would read these codes as errors about versions and headers, and negotiate again.
            (Some(code), _) if (-32099..=-32020).contains(&code) || code == URL_ELICITATION_REQUIRED => {
                error.set("code", INTERNAL_ERROR.to_string());
            }
            _ => {}
        }
    }
}

const RESOURCE_NOT_FOUND: i64 = -32002;
const URL_ELICITATION_REQUIRED: i64 = -32042;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL_ERROR: i64 = -32603;

/// Clients recognise a missing resource by `data.uri`.
fn name_resource(error: &mut Members<'_>, uri: &str) {
    let old = error.get("data").map(str::to_owned);
    let mut data = old.as_deref().and_then(Members::read).unwrap_or_default();
    data.set_if_absent("uri", &quote(uri));
    let data = data.render();
    error.set("data", data);
}

/// The `initialize` request of Witgate with id 0, and the position of the id.
pub fn initialize(capabilities: &str) -> (Bytes, std::ops::Range<usize>) {
    let start = r#"{"jsonrpc":"2.0","id":"#;
    let version = env!("CARGO_PKG_VERSION");
    let newest = LEGACY[0];
    let request = format!(
        r#"{start}0,"method":"initialize","params":{{"protocolVersion":"{newest}","capabilities":{capabilities},"clientInfo":{{"name":"witgate","version":"{version}"}}}}}}"#
    );
    (request.into(), start.len()..start.len() + 1)
}

/// The DiscoverResult for an upstream of the stateful era, with the features that the bridge supports.
pub fn discover_result(opened: &InitializeAnswer) -> String {
    let mut result = Members::default();
    result.set("resultType", r#""complete""#.to_owned());
    let versions: Vec<String> = [MODERN].into_iter().chain(LEGACY).map(quote).collect();
    result.set("supportedVersions", format!("[{}]", versions.join(",")));
    result.set("capabilities", bridged_capabilities(&opened.capabilities));
    if let Some(instructions) = &opened.instructions {
        result.set("instructions", instructions.to_string());
    }
    result.set("ttlMs", "0".to_owned());
    result.set("cacheScope", r#""private""#.to_owned());
    if let Some(info) = &opened.server_info {
        result.set("_meta", format!(r#"{{"{PREFIX}serverInfo":{info}}}"#));
    }
    result.render()
}

/// The capabilities that the bridge supports: no change notifications, no subscriptions, and no `tasks`, which is not
/// the extension of that name.
fn bridged_capabilities(capabilities: &str) -> String {
    let has = Members::read(capabilities).unwrap_or_default();
    let mut bridged = Members::default();
    for name in ["tools", "resources", "prompts", "completions"] {
        if has.get(name).is_some() {
            bridged.set(name, "{}".to_owned());
        }
    }
    bridged.render()
}

#[cfg(test)]
mod tests;
