//! A client with a permanent connection: HTTP/1.1, written and read by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::state::Verdict;

/// Time limit for an answer, which takes milliseconds; a call without an answer by then is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer. A usual answer has half a kilobyte.
const LARGEST: usize = 1 << 20;

/// The caller's credential, and the address.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) address: String,
    pub(crate) path: String,
    /// Name and value of the header.
    pub(crate) credential: (String, String),
}

/// One connection.
pub(crate) struct Caller {
    door: Door,
    stream: BufReader<TcpStream>,
}

/// The response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The verdict. An error: it is neither a result nor a refusal.
    pub(crate) fn verdict(&self) -> Result<Verdict> {
        if self.body.get("result").is_some() && self.status == 200 {
            return Ok(Verdict::Allowed);
        }
        let reason = self.body.pointer("/error/data/reason").and_then(Value::as_str);
        match reason {
            Some(reason) => Ok(Verdict::refused(reason)),
            None => bail!("neither a result nor a reason: {} {}", self.status, self.body),
        }
    }
}

impl Caller {
    pub(crate) fn connect(door: &Door) -> Result<Self> {
        let stream = TcpStream::connect(&door.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { door: door.clone(), stream: BufReader::new(stream) })
    }

    /// Calls a tool by the protocol version 2026-07-28.
    pub(crate) fn call(&mut self, tool: &str) -> Result<Answer> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        );
        let Door { address, path, credential: (name, value) } = &self.door;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\n{name}: {value}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.read()
    }

    fn read(&mut self) -> Result<Answer> {
        let head = self.line()?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no status: {head:?}"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        let body = if chunked { self.chunks()? } else { self.exactly(length)? };
        let text = std::str::from_utf8(&body)?;
        let text = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or(text);
        let body = serde_json::from_str(text).with_context(|| format!("{status}: {text:?}"))?;
        Ok(Answer { status, body })
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16)?;
            all.extend(self.exactly(length)?);
            self.line()?;
            if length == 0 {
                return Ok(all);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        ensure!(length <= LARGEST, "an answer of {length} bytes");
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "the connection was closed");
        Ok(line.trim_end().to_owned())
    }
}
