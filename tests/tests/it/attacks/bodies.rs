//! Large messages and heads without credentials, many at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use witgate_tests::gateway::{Running, Setup, await_some};
use witgate_tests::wire::{Answer, Request};

use super::testbed::Findings;

/// The largest message, without its last byte.
const ALMOST: usize = (4 << 20) - 1;

fn serve(server: &str) -> (Running, String) {
    let setup = Setup::new();
    setup.config(
        server,
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
    );
    let key = setup.key(&["someone", "--policy", "keys", "--allow", "*"]);
    (setup.serve(), key)
}

fn call(gateway: &Running, key: &str, size: usize) -> Answer {
    let echo = json!({ "name": "echo", "arguments": { "message": "x".repeat(size) } });
    Request::stateless(&gateway.address(), "/mcp", "tools/call", echo).bearer(key).send()
}

pub(super) fn metric(gateway: &Running, name: &str) -> usize {
    let metrics = Request::new("GET", gateway.admin_url().trim_start_matches("http://"), "/metrics").send();
    let text = String::from_utf8(metrics.body).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Bytes of memory that the process has for itself.
pub(super) fn resident(gateway: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// A message that comes from `source`, an address of this machine, up to its last byte.
fn almost(gateway: &Running, source: &str, size: usize, chunked: bool) -> TcpStream {
    let address: std::net::SocketAddr = gateway.address().parse().unwrap();
    let stream = connect_from(source, address);
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", size + 1)
    };
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{framing}\r\n\r\n"
    );
    // The gateway closes the connection of a refused message before it has all of it.
    let _ = (&stream).write_all(head.as_bytes());
    let body = vec![b' '; size];
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    if chunked {
        for chunk in body.chunks(1000) {
            let sent =
                (&stream).write_all(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            if sent.is_err() {
                break;
            }
        }
    } else {
        let _ = (&stream).write_all(&body);
    }
    stream
}

/// A connection from an address of 127.0.0.0/8.
fn connect_from(source: &str, address: std::net::SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
        let stream = socket.connect(address).await.unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    })
}

fn received_text(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The attack is a hundred messages of 4 MiB. Witgate holds no more than its bound, and half of it from one address;
/// small messages pass.
#[test]
fn bodies_of_strangers_have_a_common_limit() {
    let (gateway, key) = serve("request_memory_mib = 32");
    let mut findings = Findings::default();
    assert_eq!(call(&gateway, &key, 1 << 20).status, 200);
    let before = resident(&gateway);
    for chunked in [false, true] {
        let streams: Vec<_> = (0..50).map(|_| almost(&gateway, "127.0.0.1", ALMOST, chunked)).collect();
        let bytes = metric(&gateway, "witgate_request_memory_bytes");
        assert!((8 << 20..=16 << 20).contains(&bytes), "one address holds {bytes} bytes");
        let refused: Vec<_> = streams.iter().map(received_text).filter(|text| !text.is_empty()).collect();
        for text in &refused {
            assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("retry-after: 1"), "{text}");
            assert!(text.contains("\"too-many-bodies\""), "{text}");
        }
        // Other addresses get through, with large messages as well.
        let other = almost(&gateway, "127.0.0.2", ALMOST, chunked);
        assert_eq!(received_text(&other), "");
        let more: Vec<_> = (0..20).map(|_| almost(&gateway, "127.0.0.2", ALMOST, chunked)).collect();
        let bytes = metric(&gateway, "witgate_request_memory_bytes");
        assert!((16 << 20..=32 << 20).contains(&bytes), "two addresses hold {bytes} bytes");
        let grown = resident(&gateway).saturating_sub(before);
        assert!(grown < 100 << 20, "{} MiB more than before", grown >> 20);
        // A message of the usual size needs no share of the bound.
        let answer = call(&gateway, &key, 1000);
        findings.check("a small call", answer.status == 200, &answer);
        let answer = call(&gateway, &key, 100_000);
        findings.expect("a large call from the same address", &answer, (503, 503, "too-many-bodies"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        drop((streams, other, more));
        await_some("all of it to be given back", || {
            (metric(&gateway, "witgate_request_memory_bytes") == 0).then_some(())
        });
        assert_eq!(call(&gateway, &key, 1 << 20).status, 200);
    }
    findings.report();
}

/// An announced body that does not come takes no memory from others.
#[test]
fn announced_bodies_reserve_no_memory() {
    let (gateway, key) = serve("request_memory_mib = 8");
    let streams: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.address()).unwrap();
            let head = format!(
                "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
                 Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{{",
                gateway.address(),
                4 << 20
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(call(&gateway, &key, 1 << 20).status, 200);
    assert_eq!(metric(&gateway, "witgate_request_memory_bytes"), 0);
    drop(streams);
}

/// Heads count as long as their connections are open, because the read buffers stay.
#[test]
fn large_heads_have_the_same_limit() {
    let (gateway, key) = serve("request_memory_mib = 8");
    let before = resident(&gateway);
    let head = format!("GET /mcp HTTP/1.1\r\nHost: {}\r\nX-Long: {}", gateway.address(), "a".repeat(60_000));
    let streams: Vec<_> = (0..400)
        .map(|_| {
            let stream = TcpStream::connect(gateway.address()).unwrap();
            let _ = (&stream).write_all(head.as_bytes());
            stream
        })
        .collect();
    await_some("them to be read", || {
        (metric(&gateway, "witgate_request_memory_bytes") > 3 << 20).then_some(())
    });
    std::thread::sleep(Duration::from_millis(200));
    let bytes = metric(&gateway, "witgate_request_memory_bytes");
    assert!(bytes <= 4 << 20, "{bytes} bytes are held");
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 40 << 20, "{} MiB more than before", grown >> 20);
    assert_eq!(call(&gateway, &key, 1000).status, 200);
    drop(streams);
    await_some("all of it to be given back", || {
        (metric(&gateway, "witgate_request_memory_bytes") == 0).then_some(())
    });
}

/// Heads of one connection do not add up.
#[test]
fn many_small_requests_on_one_connection_hold_no_memory() {
    let (gateway, key) = serve("request_memory_mib = 8");
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nX-Long: {}\r\nContent-Length: {}\r\n\r\n{body}",
        gateway.address(),
        "a".repeat(4000),
        body.len()
    );
    for _ in 0..30 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..read]));
    }
    assert_eq!(metric(&gateway, "witgate_request_memory_bytes"), 0);
}
