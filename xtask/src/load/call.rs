//! The call that all callers make, as bytes of HTTP.

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

/// A `tools/call` of the stateless era.
pub(super) fn body() -> String {
    let with = |name: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{TOOL}","arguments":{{"name":"{name}"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        )
    };
    let bare = with("").len();
    with(&"x".repeat(BODY.saturating_sub(bare)))
}

/// The headers of every call, without its credential.
pub(super) const HEADERS: [(&str, &str); 5] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json, text/event-stream"),
    ("Mcp-Protocol-Version", "2026-07-28"),
    ("Mcp-Method", "tools/call"),
    ("Mcp-Name", TOOL),
];

/// Calls once and returns the whole response.
pub(super) fn once(address: &str, path: &str, credential: Option<&(String, String)>) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body();
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in HEADERS {
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
