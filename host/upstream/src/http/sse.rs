//! The HTTP+SSE transport of 2024-11-05, for servers that support no other. A GET opens an event stream, whose first
//! event names the URL for messages; the server's messages come in the stream. For the rest of Witgate it is a child
//! that reads and writes lines, so sessions, ids and owners of messages are handled as for a child.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered};
use http_body_util::Full;
use secrecy::SecretString;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use super::events::{NamedEvent, StreamCut, read_named};
use super::fault::bad_answer;
use super::line::UpstreamLine;
use super::media::{Media, media};
use super::outgoing::Outgoing;
use super::refusal::CHECKED_ANSWER;
use super::request_settings::{SetUpError, own_headers};
use crate::child::pipes::{Launch, Pipes};
use crate::child::wire::{Incoming, MessageType};
use witgate_base::cause::with_sources;
use witgate_base::party::Principal;
use witgate_config::secret_programs::SecretLifetime;
use witgate_flow::account::Account;
use witgate_flow::body::{BodyReadError, gather};
use witgate_runtime::lines::input::{LineOutcome, LineReader, one_line};
use witgate_runtime::shares::Share;
use witgate_services::network::Ways;

/// Bytes in the buffer between the two ends.
const BUFFER: usize = 64 << 10;

/// Maximum number of messages that the server has not accepted yet.
const AT_ONCE: usize = 32;

/// Time that the next message waits until the previous one is accepted. Most servers accept it at once.
const IN_ORDER: Duration = Duration::from_secs(1);

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A server with HTTP+SSE. Each launch is a separate stream, and thus a separate session of the server.
pub struct Sse {
    line: Arc<UpstreamLine>,
    url: Url,
    /// Headers of the configuration, such as the upstream's credential.
    own: HeaderMap,
    /// Time limit for the event that names the URL for messages.
    patience: Duration,
    /// The largest message of the server, in bytes.
    max_message: usize,
    /// The lifetimes of the secrets in the headers.
    lifetimes: Vec<SecretLifetime>,
}

impl Sse {
    /// A server with its event stream at `url`.
    ///
    /// # Errors
    /// If a header is invalid.
    pub fn new(
        ways: &Arc<Ways>,
        url: &Url,
        headers: &[(String, SecretString)],
        patience: Duration,
        max_message: usize,
    ) -> Result<Self, SetUpError> {
        let line = Arc::new(UpstreamLine::over_the_network(Arc::clone(ways)));
        let (own, lifetimes) = (own_headers(headers)?, Vec::new());
        Ok(Self { line, url: url.clone(), own, patience, max_message, lifetimes })
    }

    /// The same server, with the lifetimes of the secrets in its headers.
    pub fn with_lifetimes(self, lifetimes: &[SecretLifetime]) -> Self {
        Self { lifetimes: lifetimes.to_vec(), ..self }
    }

    /// The same server with other headers.
    ///
    /// # Errors
    /// If one is invalid.
    pub fn with_headers(&self, headers: &[(String, SecretString)]) -> Result<Self, SetUpError> {
        let (line, url) = (Arc::clone(&self.line), self.url.clone());
        let Self { patience, max_message, .. } = *self;
        let (own, lifetimes) = (own_headers(headers)?, Vec::new());
        Ok(Self { line, url, own, patience, max_message, lifetimes })
    }
}

impl Launch for Sse {
    fn launch(&self, seat: Share, _: Option<&Principal>) -> BoxFuture<'_, Result<Pipes, String>> {
        Box::pin(async move {
            let opened = timeout(self.patience, self.open()).await;
            let (events, place) = opened
                .map_err(|_| format!("{} does not open an event stream in time", shown(&self.url)))??;
            let (ours, theirs) = tokio::io::duplex(BUFFER);
            let (lines, answers) = tokio::io::split(theirs);
            let talk = SseConversation {
                line: Arc::clone(&self.line),
                place,
                own: self.own.clone(),
                lifetimes: self.lifetimes.clone(),
                answers: Mutex::new(answers),
            };
            tokio::spawn(async move {
                // It ends with the stream, with this end of the pipe, or when the server accepts no messages any more.
                let _seat = seat;
                tokio::select! {
                    () = talk.pass_on(events) => {}
                    () = talk.post_all(lines) => {}
                }
            });
            let (output, input) = tokio::io::split(ours);
            Ok(Pipes { input: Box::new(input), output: Box::new(output), process: None })
        })
    }

    fn has_expired(&self) -> bool {
        self.lifetimes.iter().any(SecretLifetime::is_over)
    }
}

type Events = BoxStream<'static, Result<NamedEvent, StreamCut>>;

impl Sse {
    /// Opens an event stream, and finds the URL for messages.
    async fn open(&self) -> Result<(Events, Uri), String> {
        let at = shown(&self.url);
        let uri: Uri = self.url.as_str().parse().map_err(|_| format!("{at} is not a URL of HTTP"))?;
        let mut headers = self.own.clone();
        headers.insert(ACCEPT, EVENTS);
        let response = self.line.request(outgoing(Method::GET, uri, headers, Bytes::new())).await;
        let response =
            response.map_err(|error| format!("{at} cannot be reached: {}", with_sources(&*error)))?;
        let status = response.status();
        if status != StatusCode::OK || !matches!(media(response.headers()), Media::Events) {
            return Err(format!("{at} answers a GET with no event stream (HTTP {})", status.as_u16()));
        }
        let mut events = read_named(response.into_body(), self.max_message, Account::default()).boxed();
        while let Some(Ok(NamedEvent { name, event })) = events.next().await {
            if name.as_deref() == Some("endpoint") {
                return Ok((events, place(&self.url, &event.data)?));
            }
        }
        Err(format!("the event stream of {at} names no URL for messages: it does not speak HTTP+SSE"))
    }
}

/// The URL for messages, which has to be in the server's origin, because the headers of the configuration are not sent
/// elsewhere. It contains the id of a session, so it is in no error message.
fn place(url: &Url, named: &[u8]) -> Result<Uri, String> {
    let text = std::str::from_utf8(named).unwrap_or_default().trim();
    let wrong = || format!("{} names an invalid URL for messages", shown(url));
    let mut place = url.join(text).map_err(|_| wrong())?;
    if place.origin() != url.origin() || !place.username().is_empty() || place.password().is_some() {
        let origin = place.origin().ascii_serialization();
        return Err(format!("{} names a URL for messages at another origin, {origin}", shown(url)));
    }
    place.set_fragment(None);
    place.as_str().parse().map_err(|_| wrong())
}

/// A URL without its query, which may contain a secret.
fn shown(url: &Url) -> String {
    url.origin().ascii_serialization() + url.path()
}

/// The exchange of messages over one event stream.
struct SseConversation {
    line: Arc<UpstreamLine>,
    place: Uri,
    own: HeaderMap,
    lifetimes: Vec<SecretLifetime>,
    answers: Mutex<WriteHalf<DuplexStream>>,
}

/// The server has dropped the session, or cannot be reached.
struct SessionOver;

impl SseConversation {
    /// Passes on the server's messages, until it ends or the receiver is gone.
    async fn pass_on(&self, mut events: Events) {
        while let Some(Ok(named)) = events.next().await {
            let said = named.message().map(|event| event.data).unwrap_or_default();
            if !said.is_empty() && self.say(said).await.is_err() {
                return;
            }
        }
    }

    /// Posts the messages, each after the previous one is accepted. A server that accepts a message only after
    /// handling it may send a request in between, so the wait is short.
    async fn post_all(&self, lines: ReadHalf<DuplexStream>) {
        // These lines come from Witgate.
        let mut lines = LineReader::new(lines, usize::MAX);
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(taken) = open.next() => if let Err(SessionOver) = taken { return },
                line = lines.next(), if open.len() < AT_ONCE => {
                    let Ok(LineOutcome::Line(line)) = line else { return };
                    let mut posting = Box::pin(self.post(line));
                    match timeout(IN_ORDER, &mut posting).await {
                        Ok(Ok(())) => {}
                        Ok(Err(SessionOver)) => return,
                        Err(_) => open.push(posting),
                    }
                }
            }
        }
    }

    async fn post(&self, line: Bytes) -> Result<(), SessionOver> {
        if self.lifetimes.iter().any(SecretLifetime::is_over) {
            return Err(SessionOver);
        }
        let mut headers = self.own.clone();
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, JSON);
        let sent = async {
            let sent = self.line.request(outgoing(Method::POST, self.place.clone(), headers, line.clone()));
            let sent = sent.await.map_err(BodyReadError::Broken)?;
            let status = sent.status();
            // Read to the end, so that the connection can be used again.
            gather(sent.into_body(), CHECKED_ANSWER, &Account::default()).await.map(|_| status)
        };
        match sent.await {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) if status.is_client_error() && !is_gone(status) => self.refused(&line, status).await,
            _ => Err(SessionOver),
        }
    }

    /// A message that the server refuses fails only its own call.
    async fn refused(&self, line: &[u8], status: StatusCode) -> Result<(), SessionOver> {
        let request =
            Incoming::read(line).filter(|message| matches!(message.what, MessageType::Request { .. }));
        let Some(id) = request.as_ref().and_then(Incoming::id) else { return Ok(()) };
        let why = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "The MCP server does not accept the gateway's own credential: tell the operator".to_owned()
            }
            status => format!("The MCP server does not take the message (HTTP {})", status.as_u16()),
        };
        self.say(bad_answer(&why).wire().body(Some(id))).await.map_err(|_| SessionOver)
    }

    async fn say(&self, message: Bytes) -> std::io::Result<()> {
        let mut answers = self.answers.lock().await;
        answers.write_all(&one_line(message)).await?;
        answers.write_all(b"\n").await
    }
}

fn is_gone(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

fn outgoing(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Outgoing {
    let mut outgoing = Outgoing::new(Full::new(body));
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers;
    outgoing
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::Value;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::{Notify, broadcast};

    use super::*;
    use witgate_base::party::Party;
    use witgate_config::Network;
    use witgate_runtime::shares::{Capacity, Shares};

    /// A server whose first event is `endpoint`. It accepts the message `late` after `early`, refuses `large`, and
    /// answers each accepted message in the stream.
    struct Server {
        endpoint: &'static str,
        said: broadcast::Sender<String>,
        early: Notify,
        posts: AtomicU32,
    }

    impl Server {
        async fn start(endpoint: &'static str) -> (Arc<Self>, Url) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/sse", listener.local_addr().unwrap()).parse().unwrap();
            let (said, early, posts) = (broadcast::Sender::new(8), Notify::new(), AtomicU32::new(0));
            let server = Arc::new(Self { endpoint, said, early, posts });
            let serving = Arc::clone(&server);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let server = Arc::clone(&serving);
                    tokio::spawn(async move { server.answer(stream).await });
                }
            });
            (server, url)
        }

        async fn answer(&self, stream: TcpStream) -> Option<()> {
            let mut stream = BufReader::new(stream);
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).await.ok()?;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.ok()?;
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            if first.starts_with("GET /sse ") {
                return self.stream(stream).await;
            }
            assert!(first.starts_with("POST /m?s=1 "), "{first}");
            self.posts.fetch_add(1, Ordering::Relaxed);
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.ok()?;
            let message: Value = serde_json::from_slice(&body).unwrap();
            let status = match message["method"].as_str() {
                Some("late") => {
                    self.early.notified().await;
                    "202 Accepted"
                }
                Some("large") => "413 Too Large",
                _ => {
                    self.early.notify_one();
                    "202 Accepted"
                }
            };
            if status.starts_with("202") {
                let said = format!(
                    "event: message\r\ndata: {{\"id\":{},\r\ndata: \"result\":{{}}}}\r\n\r\n",
                    message["id"]
                );
                self.said.send(said).ok()?;
            }
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok()
        }

        async fn stream(&self, mut stream: BufReader<TcpStream>) -> Option<()> {
            let mut said = self.said.subscribe();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            let first = format!("{head}: hello\n\nevent: endpoint\ndata: {}\n\n", self.endpoint);
            stream.write_all(first.as_bytes()).await.ok()?;
            while let Ok(event) = said.recv().await {
                stream.write_all(event.as_bytes()).await.ok()?;
            }
            None
        }
    }

    async fn launched(url: &Url) -> Result<Pipes, String> {
        let sse =
            Sse::new(&Ways::new(&Network::default()), url, &[], Duration::from_secs(60), 16 << 20).unwrap();
        let seats = Shares::new(Capacity { most: 1, most_of_one: 1 });
        sse.launch(seats.take(&Party::Everybody).unwrap(), None).await
    }

    #[tokio::test]
    async fn a_faulty_message_fails_only_its_call() {
        let (_server, url) = Server::start("/m?s=1").await;
        let Pipes { mut input, output, .. } = launched(&url).await.unwrap_or_else(|why| panic!("{why}"));
        let mut lines = BufReader::new(output).lines();
        for (id, method) in [(1, "late"), (2, "large"), (3, "early")] {
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\"}}\n");
            input.write_all(line.as_bytes()).await.unwrap();
        }
        let mut answers = Vec::new();
        for _ in 0..3 {
            let answer: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
            answers.push((
                answer["id"].as_u64().unwrap(),
                answer["error"]["data"]["reason"].as_str().map(str::to_owned),
            ));
        }
        answers.sort();
        assert_eq!(answers, [(1, None), (2, Some("upstream-bad-answer".to_owned())), (3, None)]);
    }

    #[tokio::test]
    async fn no_message_is_posted_to_another_origin() {
        let (server, url) = Server::start("http://127.0.0.2:9/m?s=1").await;
        let Err(why) = launched(&url).await else { panic!("it is taken") };
        assert!(why.ends_with("names a URL for messages at another origin, http://127.0.0.2:9"), "{why}");
        assert_eq!(server.posts.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn messages_are_posted_only_within_the_origin() {
        let url = Url::parse("http://a:8080/sse?key=hidden").unwrap();
        for (named, expected) in [
            ("/messages/?session_id=1", Some("http://a:8080/messages/?session_id=1")),
            ("message?sessionId=1#x", Some("http://a:8080/message?sessionId=1")),
            ("http://a:8080/m", Some("http://a:8080/m")),
            ("http://A:8080/m", Some("http://a:8080/m")),
            ("https://a:8080/m", None),
            ("http://a/m", None),
            ("//b:8080/m", None),
            ("\\\\b:8080/m", None),
            ("http://user@a:8080/m", None),
            ("http://:word@a:8080/m", None),
            ("file:///m", None),
            ("javascript:1", None),
            ("http://", None),
        ] {
            let place = place(&url, named.as_bytes());
            assert_eq!(place.as_ref().ok().map(Uri::to_string).as_deref(), expected, "{named}: {place:?}");
            assert!(!place.err().unwrap_or_default().contains("hidden"), "{named}");
        }
    }
}
