//! An introspection endpoint with one fault at a time, which counts its requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The time that a server takes over tokens that it does not know.
pub(super) const SLOW: Duration = Duration::from_secs(3);

/// The faults of a bad server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bad {
    /// No fault: the server gives this answer.
    Not(String),
    /// No fault, but a late answer.
    Slow(Duration, String),
    /// The answer for tokens with this prefix. For all others the server says, after [`SLOW`], that they are not
    /// active.
    Knows(&'static str, String),
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
    /// Answers with status 500.
    Fails,
    /// Answers with status 503 and `Retry-After`.
    Busy,
    /// Answers with status 401: it does not know the gateway.
    Refuses,
    /// Redirects to another server, which would say that the token is active.
    Redirects(String),
    /// Says both that the token is active and that it is not.
    SaysBoth,
    /// Says that the token is active, as a text.
    SaysYesInWords,
    /// Answers with endless JSON.
    Floods,
    /// Speaks another protocol.
    NoHttp,
}

/// A server, as long as the test runs.
pub(super) struct BadServer {
    pub(super) endpoint: String,
    bad: Arc<Mutex<Bad>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl BadServer {
    pub(super) fn start(bad: Bad) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/introspect", listener.local_addr().unwrap());
        let (bad, counts) = (Arc::new(Mutex::new(bad)), Arc::new(Counts::default()));
        let server = Self { endpoint, bad: Arc::clone(&bad), counts: Arc::clone(&counts) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (bad, counts) = (Arc::clone(&bad), Arc::clone(&counts));
                std::thread::spawn(move || {
                    let open = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
                    counts.most_open.fetch_max(open, Ordering::Relaxed);
                    let _ = answer(stream, &bad, &counts.asked);
                    counts.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        server
    }

    /// Sets the fault from now on.
    pub(super) fn turn(&self, bad: Bad) {
        *self.bad.lock().unwrap() = bad;
    }

    /// The number of requests so far.
    pub(super) fn request_count(&self) -> usize {
        self.counts.asked.load(Ordering::Relaxed)
    }

    /// The maximum number of connections at the same time.
    pub(super) fn most_open(&self) -> usize {
        self.counts.most_open.load(Ordering::Relaxed)
    }
}

fn answer(stream: TcpStream, bad: &Mutex<Bad>, count: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let question = read_request(&mut reader)?;
    count.fetch_add(1, Ordering::Relaxed);
    let bad = bad.lock().unwrap().clone();
    let head = |status: &str, media: &str, more: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nConnection: close\r\n{more}\r\n")
    };
    let json = "application/json";
    let text = match bad {
        Bad::Not(body) => head("200 OK", json, "") + &body,
        Bad::Slow(delay, body) => {
            std::thread::sleep(delay);
            head("200 OK", json, "") + &body
        }
        Bad::Knows(token, body) if question.contains(&format!("token={token}")) => {
            head("200 OK", json, "") + &body
        }
        Bad::Knows(..) => {
            std::thread::sleep(SLOW);
            head("200 OK", json, "") + r#"{"active":false}"#
        }
        Bad::HangsUp => String::new(),
        Bad::BreaksOff => head("200 OK", json, "Content-Length: 1000\r\n") + "{\"active\":true,",
        Bad::Hangs => return wait_for_the_end(&mut reader),
        Bad::HangsInTheMiddle => {
            stream.write_all(
                (head("200 OK", json, "Content-Length: 1000\r\n") + "{\"active\":true").as_bytes(),
            )?;
            return wait_for_the_end(&mut reader);
        }
        Bad::Html => head("200 OK", "text/html", "") + "<h1>Welcome</h1>",
        Bad::NoJson => head("200 OK", json, "") + "active: true",
        Bad::Fails => head("500 Internal Server Error", json, "") + r#"{"active":true}"#,
        Bad::Busy => head("503 Service Unavailable", "text/plain", "Retry-After: 17\r\n") + "later",
        Bad::Refuses => head("401 Unauthorized", json, "WWW-Authenticate: Basic\r\n") + r#"{"active":true}"#,
        Bad::Redirects(to) => head("307 Temporary Redirect", json, &format!("Location: {to}\r\n")),
        Bad::SaysBoth => head("200 OK", json, "") + r#"{"active":false,"active":true}"#,
        Bad::SaysYesInWords => head("200 OK", json, "") + r#"{"active":"true"}"#,
        Bad::Floods => {
            stream.write_all((head("200 OK", json, "") + "{\"active\":true,\"x\":\"").as_bytes())?;
            loop {
                stream.write_all(&[b'x'; 1 << 16])?;
            }
        }
        Bad::NoHttp => "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
    };
    stream.write_all(text.as_bytes())
}

/// Waits until the other side disconnects.
fn wait_for_the_end(reader: &mut impl Read) -> std::io::Result<()> {
    reader.read(&mut [0]).map(drop)
}

/// The body of a request.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut length = 0;
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
            return Ok(String::from_utf8_lossy(&body).into_owned());
        }
    }
}
