//! Large answers that nobody reads, many at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some};
use witgate_tests::wire::{Answer, Request, contains};

use super::bodies::{metric, resident};

const MIB: usize = 1 << 20;
const HELD: &str = "witgate_answer_memory_bytes";
/// The memory for answers, of which one caller has half.
const MEMORY: usize = 64 * MIB;
/// Bytes that calls in the making may take in addition: for lines and bodies that are being read, for parsed values,
/// and for the allocator's reserve. All answers together have several times as much.
const AT_WORK: usize = 256 * MIB;

/// A server of the stateful era, which answers a call with as many characters as the call asks for.
const CHILD: &str = r#"
import json, sys
out = sys.stdout.buffer
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    id = json.dumps(message["id"]).encode()
    if message["method"] == "initialize":
        result = b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"large","version":"1"}}'
    elif message["method"] == "tools/list":
        result = b'{"tools":[{"name":"large","inputSchema":{"type":"object"}}]}'
    else:
        size = message["params"]["arguments"]["size"]
        result = b'{"content":[{"type":"text","text":"' + b"x" * size + b'"}]}'
    out.write(b'{"jsonrpc":"2.0","id":' + id + b',"result":' + result + b'}\n')
    out.flush()
"#;

/// The same server over HTTP, with answers in one piece or as an event.
fn server(events: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve_connection(&stream, events));
        }
    });
    url
}

fn serve_connection(stream: &TcpStream, events: bool) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).ok()? > 2 {
            if let Some((_, value)) =
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().ok()?;
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let message: Value = serde_json::from_slice(&body).ok()?;
        let answer = match (message["method"].as_str()?, message.get("id")) {
            (_, None) => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            ("initialize", Some(id)) => {
                let info = json!({ "name": "large", "version": "1" });
                let result =
                    json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info });
                answer(&json!({ "jsonrpc": "2.0", "id": id, "result": result }), false)
            }
            (_, Some(id)) => {
                let size = message["params"]["arguments"]["size"].as_u64()? as usize;
                let content = json!([{ "type": "text", "text": "x".repeat(size) }]);
                answer(&json!({ "jsonrpc": "2.0", "id": id, "result": { "content": content } }), events)
            }
        };
        (&*stream).write_all(answer.as_bytes()).ok()?;
    }
}

fn answer(message: &Value, event: bool) -> String {
    let (media, body) = match event {
        false => ("application/json", message.to_string()),
        true => ("text/event-stream", format!("data: {message}\n\n")),
    };
    format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

struct Testbed {
    gateway: Running,
    keys: [String; 2],
}

/// Witgate in front of `upstream`, and the keys of two callers.
fn serve(upstream: &str) -> Testbed {
    let setup = Setup::new();
    let script = setup.file("large.py", CHILD);
    let upstream = upstream.replace("SCRIPT", &script.display().to_string());
    setup.config(
        &format!("answer_memory_mib = {}\nrequest_memory_mib = 4096", MEMORY / MIB),
        &format!(
            "[upstreams.large]\n{upstream}\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
        ),
    );
    let keys = ["ada", "bob"].map(|name| setup.key(&[name, "--policy", "keys", "--allow", "*"]));
    Testbed { gateway: setup.serve(), keys }
}

impl Testbed {
    fn request(&self, key: usize, tool: &str, size: usize) -> Request {
        let arguments = match tool {
            "echo" => json!({ "text": "x".repeat(size) }),
            _ => json!({ "size": size }),
        };
        let params = json!({ "name": tool, "arguments": arguments });
        let request = Request::stateless(&self.gateway.address(), "/mcp", "tools/call", params);
        request.bearer(&self.keys[key])
    }

    fn call(&self, key: usize, tool: &str, size: usize) -> Answer {
        self.request(key, tool, size).send()
    }

    /// One key requests many answers of `size` and reads none of them. The held bytes stay within its share, its other
    /// calls are refused, and another key gets answers as usual.
    fn is_attacked(&self, tool: &str, times: usize, size: usize) {
        let read = |answer: &Answer| answer.result()["content"][0]["text"].as_str().map_or(0, str::len);
        assert_eq!(read(&self.call(0, tool, size)), size, "it is answered as long as it reads");
        let before = resident(&self.gateway);
        let address = new_address();
        let streams: Vec<_> = (0..times).map(|_| self.request(0, tool, size).open_from(address)).collect();
        let beginnings: Vec<_> = streams.iter().map(beginning).collect();
        let refused: Vec<_> =
            beginnings.iter().filter(|text| contains(text, b"\"too-many-answers\"")).collect();
        assert!(!refused.is_empty() && refused.len() < times, "{} of {times} are refused", refused.len());
        for text in &refused {
            let text = String::from_utf8_lossy(text);
            let is_whole = text.starts_with("HTTP/1.1 503 ") && text.contains("retry-after: 1");
            // A call that began before there was an answer ends with an error.
            assert!(is_whole || text.contains("text/event-stream") && text.contains("503"), "{text}");
        }
        let bytes = metric(&self.gateway, HELD);
        assert!((size..=MEMORY / 2).contains(&bytes), "{bytes} bytes are held");
        let grown = resident(&self.gateway).saturating_sub(before);
        assert!(grown < MEMORY / 2 + AT_WORK, "{} MiB more than before", grown / MIB);
        assert_eq!(read(&self.call(1, tool, size)), size, "another caller has a share of its own");
        assert_eq!(read(&self.call(0, tool, 1000)), 1000, "a small answer needs no memory");
        drop(streams);
        await_some("all of it to be given back", || (metric(&self.gateway, HELD) == 0).then_some(()));
        assert_eq!(read(&self.call(0, tool, size)), size);
    }
}

/// A loopback address that hardly any connection has had.
fn new_address() -> Ipv4Addr {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let [a, b, c, _] = time.subsec_nanos().to_le_bytes();
    Ipv4Addr::new(127, a, b, c.max(2))
}

/// The beginning of the answer, or all of a short answer.
fn beginning(mut stream: &TcpStream) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    while bytes.len() < 4096 && !bytes.ends_with(b"}") {
        match stream.read(&mut buffer).expect("something comes") {
            0 => break,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    bytes
}

#[test]
fn unread_answers_of_a_shared_child_are_limited() {
    let testbed = serve("command = ['python3', 'SCRIPT']\nshared = true\neras = ['stateful']");
    testbed.is_attacked("large", 60, 15 * MIB);
}

#[test]
fn unread_answers_of_own_tools_are_limited() {
    serve("own_tools = true").is_attacked("echo", 200, 39 * MIB / 10);
}

#[test]
fn unread_answers_over_http_are_limited() {
    for (events, eras) in [(false, "stateful"), (true, "stateless"), (true, "stateful")] {
        let testbed = serve(&format!("url = '{}'\neras = ['{eras}']", server(events)));
        testbed.is_attacked("large", 200, 39 * MIB / 10);
    }
}

/// Of an answer that passes through, Witgate holds only parts.
#[test]
fn streamed_answers_hold_little_memory() {
    let testbed = serve(&format!("url = '{}'\neras = ['stateless']", server(false)));
    let before = resident(&testbed.gateway);
    let streams: Vec<_> = (0..200).map(|_| testbed.request(0, "large", 15 * MIB).open()).collect();
    streams.iter().for_each(|stream| _ = beginning(stream));
    assert!(metric(&testbed.gateway, HELD) <= MEMORY / 2);
    let grown = resident(&testbed.gateway).saturating_sub(before);
    assert!(grown < MEMORY / 2 + AT_WORK, "{} MiB more than before", grown / MIB);
    let answer = testbed.call(1, "large", 15 * MIB);
    assert_eq!(answer.result()["content"][0]["text"].as_str().map(str::len), Some(15 * MIB));
}
