//! Witgate's own small tools: an MCP server in this process, treated like a child. A bare `witgate serve` protects it,
//! and a first client can try it.

use std::time::UNIX_EPOCH;

use futures_util::future::BoxFuture;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, ServiceExt, schemars, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};

use super::child::pipes::{Launch, Pipes};
use witgate_base::clock;
use witgate_base::party::Principal;
use witgate_runtime::shares::Share;

/// Bytes in the buffer between the two ends; more than the answer of any of these tools.
const BUFFER: usize = 64 << 10;

/// The tools, with the data that they may show.
#[derive(Clone, Debug)]
pub struct OwnTools {
    auth: AuthStatus,
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
        Self { auth }
    }
}

impl Launch for OwnTools {
    fn launch(&self, seat: Share, _: Option<&Principal>) -> BoxFuture<'_, Result<Pipes, String>> {
        let server = self.clone();
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
        Json(self.auth)
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
