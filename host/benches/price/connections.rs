//! The memory of an idle connection over HTTP in the gateway's process. The kernel's memory is not in it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use witgate_runtime::metrics::Metrics;
use witgate_server::http::Gateway;

use crate::allocations::Usage;
use crate::average;
use crate::immediate_upstream::ImmediateUpstream;
use crate::scene::{Form, Scene};
use crate::scenes::{call, flow, generations, showing_key};

/// Connections that are averaged. Both ends are in this process, which may open a thousand file descriptors by
/// default.
const CONNECTIONS: usize = 300;

/// More than twice the second after which a connection gives its buffers back.
const PAUSE: Duration = Duration::from_millis(2500);

/// The kinds of connections by name, with their memory in bytes.
pub(crate) fn idle() -> [(&'static str, u64); 3] {
    let gateway = RunningGateway::start();
    let mut asked: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS);
    let mut witness = gateway.connect();
    gateway.ask(&mut witness);
    gateway.settle(&mut witness, 1);

    let before = Usage::now().kept();
    asked.extend((0..CONNECTIONS).map(|_| gateway.connect()));
    gateway.settle(&mut witness, CONNECTIONS + 1);
    let silent = Usage::now().kept() - before;

    asked.iter_mut().for_each(|connection| gateway.ask(connection));
    gateway.settle(&mut witness, CONNECTIONS + 1);
    let answered = Usage::now().kept() - before;
    thread::sleep(PAUSE);
    // The witness is one more of those that had a pause.
    let idle = Usage::now().kept() - before;
    [
        ("connection before its first request", average(silent, CONNECTIONS)),
        ("connection after a request", average(answered, CONNECTIONS)),
        ("connection after a pause", average(idle, CONNECTIONS)),
    ]
}

/// A gateway that serves on a thread of its own.
struct RunningGateway {
    address: SocketAddr,
    metrics: Metrics,
    request: Vec<u8>,
    stop: CancellationToken,
    _runtime: Runtime,
    _scene: Scene,
}

impl RunningGateway {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let scene = runtime.block_on(Scene::with_keys(Form::Native));
        let generations = generations(&scene, &runtime);
        let flow = flow(&scene, &generations, ImmediateUpstream::empty());
        let gateway = Gateway::new(&scene.config, [flow], generations);
        let metrics = Metrics::default();
        gateway.register(&metrics);
        let socket = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), CancellationToken::new());
        runtime.spawn(gateway.serve(socket, None, stop.clone(), Duration::ZERO));
        let (headers, body) = call();
        let request = written(&scene.config.upstreams[0].path, &showing_key(&scene, headers), &body);
        Self { address, metrics, request, stop, _runtime: runtime, _scene: scene }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Sends a request and reads the whole answer.
    fn ask(&self, connection: &mut TcpStream) {
        connection.write_all(&self.request).unwrap();
        let (mut answer, mut length) = ([0; 4096], 0);
        while !is_whole(&answer[..length]) {
            let read = connection.read(&mut answer[length..]).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer[..length]));
            length += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
    }

    /// Waits until the gateway has accepted `count` connections and has nothing left to do for them. Its one thread
    /// takes turns: when it has answered on `witness` twice, it is done with earlier work.
    fn settle(&self, witness: &mut TcpStream, count: usize) {
        let line = format!("witgate_connections {count}\n");
        while !self.metrics.render().contains(&line) {
            self.ask(witness);
        }
        self.ask(witness);
        self.ask(witness);
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn written(path: &str, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut text = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// True if an answer is complete: the answer of the scene ends like this.
fn is_whole(answer: &[u8]) -> bool {
    answer.ends_with(br#""result":{"content":[]}}"#)
}
