//! Witgate's own small tools: an MCP server in this process, treated like a child. A bare `witgate serve` protects it,
//! and a first client can try it.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures_util::future::BoxFuture;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, ServiceExt, schemars, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};

use super::caller_tools::{CallerAnswer, CallerQuestion, CallerTools};
use super::child::pipes::{Launch, Pipes};
use witgate_base::clock;
use witgate_base::party::Principal;
use witgate_runtime::shares::Share;

/// Bytes in the buffer between the two ends; more than the answer of any of these tools.
const BUFFER: usize = 64 << 10;

/// The tools, with the data that they may show.
#[derive(Clone)]
pub struct OwnTools {
    auth: AuthStatusReader,
    limits: LimitReader,
    /// The tools about callers.
    callers: Option<Arc<dyn CallerTools>>,
    /// The caller, if callers are separated.
    caller: Option<Principal>,
}

/// Reads the limits of a caller.
pub type LimitReader = Arc<dyn Fn(Option<&Principal>) -> Vec<CallerLimit> + Send + Sync>;

/// Reads the data of `auth_status`.
pub type AuthStatusReader = Arc<dyn Fn() -> AuthStatus + Send + Sync>;

/// The answer of `limits_status`.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "Limits")]
struct CallerLimits {
    /// The limits that may apply to the caller's calls of this server.
    limits: Vec<CallerLimit>,
}

/// A limit, and what remains of it for a caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "Limit")]
pub struct CallerLimit {
    /// The name.
    pub name: String,
    /// Calls in a time, such as `100/min`.
    pub rate: Option<String>,
    /// Calls that may come at once.
    pub burst: Option<u32>,
    /// Calls that may run at the same time.
    pub concurrent: Option<u32>,
    /// The properties of a call that are limited separately.
    pub per: Vec<String>,
    /// Calls that may come at once now. Absent: it depends on the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// Running calls. Absent: it depends on the call, or is not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Seconds until all calls may come at once again. Absent: it depends on the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_in_s: Option<u64>,
}

/// The answer of `auth_status`: enough to see why a set-up does not work, nothing to get in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct AuthStatus {
    /// True if callers are authenticated at all.
    pub enabled: bool,
    /// True if there is a key to compare with.
    pub key_configured: bool,
}

impl OwnTools {
    /// Tools that report `auth`.
    pub fn new(auth: AuthStatus) -> Self {
        Self::reading(Arc::new(move || auth))
    }

    /// Tools that report what `auth` reads.
    pub fn reading(auth: AuthStatusReader) -> Self {
        Self { auth, limits: Arc::new(|_| Vec::new()), callers: None, caller: None }
    }

    /// The data of `auth_status`.
    pub(super) fn auth(&self) -> AuthStatus {
        (self.auth)()
    }

    /// The limits of a caller.
    pub(super) fn limits_of(&self, caller: &Principal) -> Vec<CallerLimit> {
        (self.limits)(Some(caller))
    }

    /// The answer to a call of a tool about callers.
    pub(super) async fn ask(&self, question: CallerQuestion) -> CallerAnswer {
        match &self.callers {
            Some(callers) => callers.answer(question).await,
            None => Err("This tool is not available here".to_owned()),
        }
    }

    /// The same, with the tools about callers.
    #[must_use]
    pub fn with_callers(self, callers: Option<Arc<dyn CallerTools>>) -> Self {
        Self { callers, ..self }
    }

    /// The same, with the limits that `limits` reads.
    #[must_use]
    pub fn with_limits(self, limits: LimitReader) -> Self {
        Self { limits, ..self }
    }
}

impl Launch for OwnTools {
    fn launch(&self, seat: Share, caller: Option<&Principal>) -> BoxFuture<'_, Result<Pipes, String>> {
        let server = Self { caller: caller.cloned(), ..self.clone() };
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(BUFFER);
            tokio::spawn(async move {
                let _seat = seat;
                // It ends when the other end is dropped, or if a client makes no handshake.
                match server.serve(tokio::io::split(theirs)).await {
                    Ok(running) => _ = running.waiting().await,
                    Err(error) => tracing::debug!(%error, "own tools: not opened"),
                }
            });
            let (output, input) = tokio::io::split(ours);
            Ok(Pipes { input: Box::new(input), output: Box::new(output), process: None })
        })
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Text")]
struct EchoText {
    /// The text.
    text: String,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Summands {
    /// One number.
    a: f64,
    /// The other.
    b: f64,
}

#[derive(Serialize, schemars::JsonSchema)]
struct Sum {
    sum: f64,
}

#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "Now")]
struct CurrentTime {
    /// UTC, RFC 3339.
    time: String,
    /// Seconds since 1970-01-01 UTC.
    unix: u64,
}

#[tool_router]
impl OwnTools {
    #[tool(description = "Returns the text that it is given")]
    fn echo(&self, Parameters(EchoText { text }): Parameters<EchoText>) -> String {
        text
    }

    #[tool(description = "Adds two numbers")]
    fn add(&self, Parameters(Summands { a, b }): Parameters<Summands>) -> Json<Sum> {
        Json(Sum { sum: a + b })
    }

    #[tool(description = "Tells the time in UTC")]
    fn get_time(&self) -> Json<CurrentTime> {
        let now = clock::system_time();
        let unix = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Json(CurrentTime { time: humantime::format_rfc3339_seconds(now).to_string(), unix })
    }

    #[tool(description = "Tells whether authentication is enabled and a key is configured")]
    fn auth_status(&self) -> Json<AuthStatus> {
        Json(self.auth())
    }

    #[tool(description = "Tells the limits of calls, and what remains of them")]
    fn limits_status(&self) -> Json<CallerLimits> {
        Json(CallerLimits { limits: (self.limits)(self.caller.as_ref()) })
    }
}

#[tool_handler]
impl ServerHandler for OwnTools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("witgate", env!("CARGO_PKG_VERSION")))
            .with_instructions("Witgate's own tools, to try a client and its credential with.")
    }
}

#[cfg(test)]
mod tests;
