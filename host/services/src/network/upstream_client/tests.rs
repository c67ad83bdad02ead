//! Tests of the client for upstreams, against scripted servers.

mod answers;
mod connections;
mod hyper_client;
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::fault::WireFault;
use super::{UpstreamBody, UpstreamClient};
use crate::network::{Destination, Ways};
use witgate_config::Network;

/// The time for events that have to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A step of a server on one connection.
#[derive(Clone, Debug)]
enum Step {
    /// Reads one request with its body.
    Read,
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Waits for [`Server::go_on`].
    Wait,
    /// Closes the connection. Without it, the server reads until the client closes.
    Close,
}

/// Reads a request and answers it.
fn answer(text: &str) -> Vec<Step> {
    vec![Step::Read, Step::Write(text.into())]
}

/// A server with a script for each connection. The last one is that of all further connections.
struct Server {
    url: String,
    log: Arc<ServerLog>,
}

#[derive(Debug, Default)]
struct ServerLog {
    requests: Mutex<Vec<String>>,
    opened: AtomicUsize,
    closed: AtomicUsize,
    go_on: Notify,
}

impl Server {
    async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let log = Arc::new(ServerLog::default());
        let shared = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = shared.opened.fetch_add(1, Ordering::SeqCst);
                let script = scripts.get(number).or(scripts.last()).unwrap().clone();
                let log = Arc::clone(&shared);
                tokio::spawn(async move {
                    // The client may close the connection at any moment.
                    _ = perform(stream, script, &log).await;
                    log.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { url, log }
    }

    fn requests(&self) -> Vec<String> {
        self.log.requests.lock().clone()
    }

    fn opened(&self) -> usize {
        self.log.opened.load(Ordering::SeqCst)
    }

    fn go_on(&self) {
        self.log.go_on.notify_one();
    }

    /// Waits until so many connections have ended.
    async fn wait_for_closed(&self, count: usize) {
        let closed = async {
            while self.log.closed.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, closed).await.unwrap();
    }
}

async fn perform(mut stream: TcpStream, script: Vec<Step>, log: &ServerLog) -> std::io::Result<()> {
    let mut received = Vec::new();
    for step in script {
        match step {
            Step::Read => {
                let request = read_request(&mut stream, &mut received).await?;
                log.requests.lock().push(request);
            }
            Step::Write(bytes) => stream.write_all(&bytes).await?,
            Step::Wait => log.go_on.notified().await,
            Step::Close => return stream.shutdown().await,
        }
    }
    while stream.read_buf(&mut received).await? > 0 {
        received.clear();
    }
    Ok(())
}

async fn read_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> std::io::Result<String> {
    loop {
        let text = String::from_utf8_lossy(received).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Ok(String::from_utf8(received.drain(..head.len() + 4 + length).collect()).unwrap());
            }
        }
        if stream.read_buf(received).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A client with connections of its own.
fn client() -> Arc<UpstreamClient> {
    Ways::new(&Network::default()).upstream_client(false)
}

/// A client that keeps idle connections for this time.
fn client_with_lifetime(lifetime: Duration) -> UpstreamClient {
    let ways = Ways::new(&Network::default());
    let connector = ways.current.load().connector(Destination::Upstream, false);
    UpstreamClient::new(connector, lifetime)
}

fn post(server: &Server, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    request(Method::POST, server, body)
}

fn request(method: Method, server: &Server, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(&server.url).header("x-test", "1");
    request.body(Full::new(body.into())).unwrap()
}

/// An answer as a whole.
#[derive(Debug, PartialEq, Eq)]
struct WholeAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl WholeAnswer {
    async fn receive(response: Response<UpstreamBody>) -> Result<Self, WireFault> {
        let (head, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.unwrap()?.to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Ok(Self { status: head.status, headers: head.headers, body })
    }
}

async fn send(
    client: &UpstreamClient,
    request: &Request<Full<Bytes>>,
) -> Result<Response<UpstreamBody>, WireFault> {
    timeout(PATIENCE, client.request(request)).await.unwrap()
}

async fn ask(client: &UpstreamClient, server: &Server) -> Result<WholeAnswer, WireFault> {
    WholeAnswer::receive(send(client, &post(server, "{}")).await?).await
}
