//! An HTTP server for tests, on loopback: a function answers its requests.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

/// The server. It ends with the process.
#[derive(Clone, Debug)]
pub struct HttpDouble {
    address: String,
}

/// A request to the server.
#[derive(Clone, Debug)]
pub struct HttpDoubleRequest {
    /// The value of `Host`. Empty: there is none.
    pub host: String,
    /// The path, without the query.
    pub path: String,
    /// The query. Empty: there is none.
    pub query: String,
    /// The value of `Authorization`. Empty: there is none.
    pub authorization: String,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer of the server.
#[derive(Clone, Debug)]
pub struct HttpDoubleAnswer {
    status: u16,
    headers: String,
    body: String,
    sent: Option<Sender<()>>,
}

impl HttpDouble {
    /// Starts a server on a free port, each of whose connections has a thread.
    pub fn start(answer: impl Fn(&HttpDoubleRequest) -> HttpDoubleAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                // Its end is that of the client.
                thread::spawn(move || converse(&stream, &*answer));
            }
        });
        Self { address }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl HttpDoubleRequest {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let target = line(reader)?.split(' ').nth(1)?.to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (mut host, mut authorization, mut length) = (String::new(), String::new(), 0);
        while let Some((name, value)) = line(reader)?.trim().split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "host" => value.trim().clone_into(&mut host),
                "authorization" => value.trim().clone_into(&mut authorization),
                "content-length" => length = value.trim().parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { host, path: path.to_owned(), query: query.to_owned(), authorization, body })
    }
}

impl HttpDoubleAnswer {
    /// An answer without headers of its own.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: String::new(), body: body.into(), sent: None }
    }

    /// The same, with another header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// The same, with a body in JSON.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, body).header("Content-Type", "application/json")
    }

    /// The same. `sent` gets a value when it is sent.
    pub fn telling(self, sent: Sender<()>) -> Self {
        Self { sent: Some(sent), ..self }
    }

    fn send(self, mut stream: &TcpStream) -> Option<()> {
        let Self { status, headers, body, sent } = self;
        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let written = stream.write_all((head + &body).as_bytes()).ok();
        if let Some(sent) = sent {
            // The test may not wait for it any more.
            let _ = sent.send(());
        }
        written
    }
}

fn converse(
    stream: &TcpStream,
    answer: &(impl Fn(&HttpDoubleRequest) -> HttpDoubleAnswer + ?Sized),
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let request = HttpDoubleRequest::read(&mut reader)?;
        answer(&request).send(stream)?;
    }
}

/// The next line. None: there is none.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    Some(line)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_connection_has_several_requests() {
        let double = HttpDouble::start(|request| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            HttpDoubleAnswer::json(
                200,
                format!("{} {} {} {body}", request.path, request.query, request.authorization),
            )
        });
        let mut stream = TcpStream::connect(double.url("").trim_start_matches("http://")).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for _ in 0..2 {
            let request = "POST /a?b HTTP/1.1\r\nauthorization: c\r\nContent-Length: 1\r\n\r\nd";
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"/a b c d") {
                let mut byte = [0];
                reader.read_exact(&mut byte).unwrap();
                answer.extend(byte);
            }
            assert!(
                answer.starts_with(
                    b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 8\r\n"
                )
            );
        }
    }
}
