//! The requests that callers make, as bytes of HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

/// The tool. The fixture has it, too.
pub(super) const TOOL: &str = "greet";

/// Size of the body: 500 bytes, as in the targets.
const BODY: usize = 500;

/// Time limit for a call, which is answered in milliseconds or never.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// A `tools/call` of the stateless era.
    Call,
    /// A `tools/list`.
    List,
}

impl RequestKind {
    fn method(self) -> &'static str {
        match self {
            Self::Call => "tools/call",
            Self::List => "tools/list",
        }
    }

    pub(super) fn body(self) -> String {
        let with = |name: &str| {
            let target = match self {
                Self::Call => format!(r#""name":"{TOOL}","arguments":{{"name":"{name}"}},"#),
                Self::List => String::new(),
            };
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{}","params":{{{target}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#,
                self.method()
            )
        };
        let bare = with("").len();
        with(&"x".repeat(BODY.saturating_sub(bare)))
    }

    /// The headers of every request, without its credential.
    pub(super) fn headers(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("Mcp-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", self.method()),
        ];
        headers.into_iter().chain((self == Self::Call).then_some(("Mcp-Name", TOOL)))
    }
}

/// Sends a request once and returns the whole response.
pub(super) fn once(
    kind: RequestKind,
    address: &str,
    path: &str,
    credential: Option<&(String, String)>,
) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = kind.body();
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in kind.headers() {
        request += &format!("{name}: {value}\r\n");
    }
    if let Some((name, value)) = credential {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response).context("no answer")?;
    Ok(response)
}

/// True if a response is the answer to the call.
pub(super) fn is_answer(response: &str) -> bool {
    response.starts_with("HTTP/1.1 200") && response.contains(r#""result":"#)
}
