//! HTTP servers with one fault each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The faults of a bad server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bad {
    /// No fault.
    Not,
    /// Closes the connection instead of answering.
    HangsUp,
    /// Closes the connection in the middle of the answer.
    BreaksOff,
    /// Never answers.
    Hangs,
    /// Begins an answer and never ends it.
    HangsInTheMiddle,
    /// Answers with an HTML page.
    Html,
    /// Answers with a page that claims to be JSON.
    NoJson,
    /// Speaks another protocol.
    NoHttp,
    /// Answers with status 500.
    Fails,
    /// Answers with status 401: it does not know the gateway.
    Refuses,
    /// Answers with endless JSON.
    FloodsJson,
    /// Answers with endless events.
    FloodsEvents,
    /// Answers with events that are cut off before the response.
    CutsEvents,
    /// Answers another request.
    OtherId,
    /// Answers with JSON that is no JSON-RPC.
    OtherJson,
    /// Answers with the id as a text.
    TextId,
    /// A JSON-RPC error under a made-up id, with this status.
    ErrorWith(&'static str),
    /// Redirects to another path, with status 307.
    Moves,
    /// Redirects to another server, with status 308.
    MovesAway,
    /// The transport of 2024-11-05, which has no POST at its URL.
    OldTransport,
}

/// A server, as long as the test runs.
pub(super) struct Server {
    pub(super) url: String,
    sent: Arc<AtomicU64>,
    left: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(bad: Bad) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (sent, left) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let server = Self { url, sent: Arc::clone(&sent), left: Arc::clone(&left) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sent, left) = (Arc::clone(&sent), Arc::clone(&left));
                std::thread::spawn(move || {
                    let _ = answer(stream, bad, &sent);
                    left.store(true, Ordering::Relaxed);
                });
            }
        });
        server
    }

    /// The number of bytes of a flood that were accepted.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// True if a connection has ended.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}

fn answer(stream: TcpStream, bad: Bad, sent: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let (path, request) = read_request(&mut reader)?;
    let head = |status: &str, media: &str, more: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\n{more}\r\n\r\n")
    };
    let json = "application/json";
    let close = "Connection: close";
    let result = r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[]}}"#;
    if matches!(bad, Bad::Moves) && path == "/mcp" {
        return stream.write_all(
            (head("307 Temporary Redirect", json, "Location: /moved\r\nConnection: close")).as_bytes(),
        );
    }
    // Each server answers the question about its era correctly, and shows its fault in calls.
    if let Some(discovered) = discovered(&request) {
        return stream.write_all((head("200 OK", json, close) + &discovered).as_bytes());
    }
    let text = match bad {
        Bad::Not => head("200 OK", json, close) + result,
        Bad::Moves if path == "/moved" && request.ends_with(b"}") => head("200 OK", json, close) + result,
        Bad::Moves => head("404 Not Found", json, close),
        Bad::MovesAway => {
            head("308 Permanent Redirect", json, "Location: http://127.0.0.2/mcp\r\nConnection: close")
        }
        Bad::OldTransport => head("405 Method Not Allowed", "text/plain", "Allow: GET\r\nConnection: close"),
        Bad::OtherId => head("200 OK", json, close) + &result.replace('7', "8"),
        Bad::OtherJson => head("200 OK", json, close) + r#"{"detail":"Welcome"}"#,
        Bad::TextId => head("200 OK", json, close) + &result.replace('7', r#""7""#),
        Bad::ErrorWith(status) => {
            head(status, json, close)
                + r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32000,"message":"row 3 is locked"}}"#
        }
        Bad::HangsUp => String::new(),
        Bad::BreaksOff => head("200 OK", json, "Content-Length: 1000") + "{\"jsonrpc\":",
        Bad::Hangs => return pause(),
        Bad::HangsInTheMiddle => {
            stream.write_all((head("200 OK", json, "Content-Length: 1000") + "{\"jsonrpc\":").as_bytes())?;
            return pause();
        }
        Bad::Html => head("200 OK", "text/html", close) + "<h1>Welcome</h1>",
        Bad::NoJson => head("200 OK", json, close) + "no JSON at all",
        Bad::NoHttp => "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
        Bad::Fails => head("500 Internal Server Error", "text/plain", close) + "secret stack trace",
        Bad::Refuses => {
            head("401 Unauthorized", "text/plain", "WWW-Authenticate: Bearer\r\nConnection: close")
        }
        Bad::CutsEvents => {
            head("200 OK", "text/event-stream", "Transfer-Encoding: chunked") + "7\r\n: hello\r\n"
        }
        Bad::FloodsJson => {
            stream.write_all(
                (head("200 OK", json, close) + "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"").as_bytes(),
            )?;
            return flood(&mut stream, &[b'x'; 1 << 16], sent);
        }
        Bad::FloodsEvents => {
            stream.write_all(head("200 OK", "text/event-stream", close).as_bytes())?;
            let event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n";
            return flood(&mut stream, event.repeat(1000).as_bytes(), sent);
        }
    };
    stream.write_all(text.as_bytes())
}

fn flood(stream: &mut TcpStream, part: &[u8], sent: &AtomicU64) -> std::io::Result<()> {
    loop {
        stream.write_all(part)?;
        sent.fetch_add(part.len() as u64, Ordering::Relaxed);
    }
}

fn pause() -> std::io::Result<()> {
    std::thread::sleep(Duration::from_secs(1000));
    Ok(())
}

fn discovered(request: &[u8]) -> Option<String> {
    let message: serde_json::Value = serde_json::from_slice(request).ok()?;
    (message["method"] == "server/discover").then(|| {
        serde_json::json!({ "jsonrpc": "2.0", "id": message["id"], "result": {
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
            "ttlMs": 0, "cacheScope": "private",
        } })
        .to_string()
    })
}

/// The path and the body of a request.
fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<(String, Vec<u8>)> {
    let mut length = 0;
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("content-length:") {
            length = rest.trim().parse().unwrap_or(0);
        }
        if line.is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            return Ok((path, body));
        }
    }
}
