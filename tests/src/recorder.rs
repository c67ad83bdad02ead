//! An MCP server that records everything that it gets: over HTTP in this process, over stdio as a program of its own
//! (`recording-upstream`).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// The recorder over HTTP. It keeps every byte that arrives.
#[derive(Clone, Debug)]
pub struct Recorder {
    address: String,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::start()
    }
}

impl Recorder {
    /// Starts a recorder on a free port, for as long as the process lives.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let recorder = Self { address, seen: Arc::default() };
        let shared = recorder.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let recorder = shared.clone();
                std::thread::spawn(move || recorder.converse(&stream));
            }
        });
        recorder
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// All bytes so far.
    pub fn seen(&self) -> Vec<u8> {
        self.seen.lock().unwrap().clone()
    }

    fn converse(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(body) = self.take(&mut reader) {
            let message = serde_json::from_slice::<Value>(&body).ok();
            let answer = message.and_then(|message| discovered(&message).or_else(|| answer(&message)));
            let answer = match answer {
                Some(answer) => {
                    let body = answer.to_string();
                    let length = body.len();
                    format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: recorded\r\n\
                         Content-Length: {length}\r\n\r\n{body}"
                    )
                }
                None => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            };
            let mut writer = stream;
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Reads the body of one request, and records the bytes before it parses them.
    fn take(&self, reader: &mut impl BufRead) -> Option<Vec<u8>> {
        let mut length = 0;
        loop {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line).ok()? == 0 {
                return None;
            }
            self.seen.lock().unwrap().extend_from_slice(&line);
            let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        self.seen.lock().unwrap().extend_from_slice(&body);
        Some(body)
    }
}

/// The answer to `server/discover`. Over HTTP the recorder supports both eras, so that it gets the messages of either
/// era without translation.
fn discovered(message: &Value) -> Option<Value> {
    let id = message.get("id")?;
    let is_discover = message.get("method")? == "server/discover";
    is_discover.then(|| {
        json!({ "jsonrpc": "2.0", "id": id, "result": {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28", "2025-11-25"],
        "capabilities": { "tools": {} },
        "ttlMs": 0,
        "cacheScope": "private",
    } })
    })
}

/// The answers of the recorders: a handshake, one tool, and `{}` to everything else.
pub fn answer(message: &Value) -> Option<Value> {
    let id = message.get("id")?;
    let method = message.get("method")?.as_str()?;
    let result = match method {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "recorder", "version": "1" },
        }),
        "server/discover" => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
        }
        "tools/list" => json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] }),
        "tools/call" => json!({ "content": [{ "type": "text", "text": "recorded" }] }),
        _ => json!({}),
    };
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

/// Runs the program: it writes its environment, its arguments and every line of stdin into the file at `path`.
///
/// # Errors
/// When the file or a stream fails.
pub fn record_stdio(path: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    for (name, value) in std::env::vars_os() {
        writeln!(file, "env {}={}", name.display(), value.display())?;
    }
    writeln!(file, "args {:?}", std::env::args_os().collect::<Vec<_>>())?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        writeln!(file, "{line}")?;
        file.flush()?;
        if let Some(answer) = serde_json::from_str(&line).ok().and_then(|message| answer(&message)) {
            writeln!(out, "{answer}")?;
            out.flush()?;
        }
    }
    Ok(())
}
