//! HTTP/1.1 byte by byte: tests must be able to send requests that no HTTP client would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::PATIENCE;

/// The newest stateful revision.
pub const STATEFUL: &str = "2025-11-25";
/// The stateless revision.
pub const STATELESS: &str = "2026-07-28";

/// A request that a test builds.
#[derive(Clone, Debug)]
pub struct Request {
    address: String,
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    chunked: bool,
    before: Vec<u8>,
}

impl Request {
    /// A POST of a JSON message, with the headers that every client sends.
    pub fn post(address: &str, target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", address, target)
            .with("Content-Type", "application/json")
            .with("Accept", "application/json, text/event-stream")
            .body(body)
    }

    /// A request without a body, which accepts events.
    pub fn new(method: &str, address: &str, target: &str) -> Self {
        let request = Self {
            address: address.to_owned(),
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
            before: Vec::new(),
        };
        request.with("Host", address).with("Connection", "close")
    }

    /// A JSON-RPC request of the stateful era.
    pub fn stateful(address: &str, target: &str, method: &str, params: Value) -> Self {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        Self::post(address, target, message.to_string()).with("MCP-Protocol-Version", STATEFUL)
    }

    /// A JSON-RPC request of the stateless era, with all headers and metadata of that era.
    pub fn stateless(address: &str, target: &str, method: &str, params: Value) -> Self {
        let mut params = params;
        if params["_meta"].is_null() {
            params["_meta"] = meta();
        }
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[key].as_str().map(str::to_owned));
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = Self::post(address, target, message.to_string());
        let request = request.with("MCP-Protocol-Version", STATELESS).with("Mcp-Method", method);
        match name {
            Some(name) => request.with("Mcp-Name", &name),
            None => request,
        }
    }

    /// Adds a header. Others of the same name stay.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.with_bytes(name, value.as_bytes())
    }

    /// As [`Request::with`], with any bytes.
    pub fn with_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes the headers of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces the headers of this name with one.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// Adds this bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.set("Authorization", &format!("Bearer {token}"))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the request target in place of the path.
    pub fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Sends the body in chunks, without its length.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Sends these bytes before the request, on the same connection.
    pub fn preceded_by(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.before);
        self
    }

    /// The address: `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The bytes of the request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.before.clone();
        bytes.extend_from_slice(format!("{} {} HTTP/1.1\r\n", self.method, self.target).as_bytes());
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if self.chunked {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in self.body.chunks(64 << 10) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            if !self.body.is_empty() || self.method == "POST" {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    /// Sends the request and reads the whole answer.
    pub fn send(&self) -> Answer {
        exchange(&self.address, &self.bytes())
    }

    /// Sends the request and reads until the answer contains `text`, or for `time`.
    pub fn send_until(&self, text: &str, time: Duration) -> Answer {
        read_answer(&self.open(), time, |bytes| contains(bytes, text.as_bytes()))
    }

    /// Sends the request and leaves the answer unread.
    pub fn open(&self) -> TcpStream {
        self.open_on(TcpStream::connect(&self.address).unwrap())
    }

    /// The same, from another loopback address. What Linux remembers of connections with an address can let it take all
    /// of an answer of some megabytes, which then nobody has to hold.
    pub fn open_from(&self, address: Ipv4Addr) -> TcpStream {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let stream = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&stream, &SocketAddrV4::new(address, 0)).unwrap();
        connect(&stream, &self.address.parse::<SocketAddrV4>().unwrap()).unwrap();
        self.open_on(stream.into())
    }

    fn open_on(&self, stream: TcpStream) -> TcpStream {
        let mut writer = &stream;
        writer.write_all(&self.bytes()).unwrap();
        stream
    }
}

/// `_meta` of the stateless era.
pub fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// Sends bytes and reads the answer until the other end closes.
pub fn exchange(address: &str, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    // A server that refuses a large body closes before it has read all of it.
    let _ = stream.write_all(bytes);
    read_answer(&stream, PATIENCE, |_| false)
}

/// Reads an answer until it ends, until `is_enough`, or for `time`.
pub fn read_answer(mut stream: &TcpStream, time: Duration, is_enough: impl Fn(&[u8]) -> bool) -> Answer {
    let end = Instant::now() + time;
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 << 10];
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    while Instant::now() < end && !is_enough(&bytes) {
        match stream.read(&mut buffer) {
            Ok(0) => return Answer::parse(&bytes, true),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Answer::parse(&bytes, true),
        }
    }
    Answer::parse(&bytes, false)
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; 0 if there was no answer.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body, with chunks joined.
    pub body: Vec<u8>,
    /// True if the other end has closed.
    pub ended: bool,
}

impl Answer {
    fn parse(bytes: &[u8], ended: bool) -> Self {
        let Some(head_end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Self { status: 0, headers: Vec::new(), body: Vec::new(), ended };
        };
        let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers: Vec<_> = lines.filter_map(header).collect();
        let mut answer = Self { status, headers, body: bytes[head_end + 4..].to_owned(), ended };
        if answer.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            answer.body = unchunk(&answer.body);
        }
        answer
    }

    /// The answer whose end is the end of the connection.
    pub(crate) fn ended(bytes: &[u8]) -> Self {
        Self::parse(bytes, true)
    }

    /// The answer, if it is complete by its length or its last chunk.
    pub(crate) fn whole(bytes: &[u8]) -> Option<Self> {
        let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let answer = Self::parse(bytes, false);
        let came = &bytes[head_end + 4..];
        let is_whole = match answer.header("content-length") {
            Some(length) => came.len() >= length.parse().ok()?,
            None => came.ends_with(b"0\r\n\r\n"),
        };
        is_whole.then_some(answer)
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The whole answer as text, to search it for secrets.
    pub fn text(&self) -> String {
        format!("{:?}\n{}", self.headers, String::from_utf8_lossy(&self.body))
    }

    /// The JSON-RPC messages: the body, or the data of its events.
    pub fn messages(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body);
        if self.header("content-type").is_some_and(|media| media.starts_with("text/event-stream")) {
            let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
            return data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect();
        }
        serde_json::from_str(&text).into_iter().collect()
    }

    /// The answer to the request: a message with a result or an error.
    pub fn message(&self) -> Value {
        let answers = |message: &Value| message.get("result").is_some() || message.get("error").is_some();
        self.messages().into_iter().find(answers).unwrap_or_default()
    }

    /// The result.
    pub fn result(&self) -> Value {
        self.message()["result"].clone()
    }

    /// Status, code and reason of a refusal.
    pub fn refusal(&self) -> (u16, i64, String) {
        let error = &self.message()["error"];
        let reason = error["data"]["reason"].as_str().unwrap_or("(none)");
        (self.status, error["code"].as_i64().unwrap_or(0), reason.to_owned())
    }

    /// The names of a list in the result.
    pub fn names(&self, list: &str, key: &str) -> Vec<String> {
        let result = self.result();
        let items = result[list].as_array().unwrap_or_else(|| panic!("no {list}: {self:?}"));
        items.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line_end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..line_end]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else { break };
        let rest = &bytes[line_end + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if size == 0 || rest.len() < size + 2 {
            break;
        }
        bytes = &rest[size + 2..];
    }
    body
}

/// True if `bytes` contains `part`.
pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
