//! A web server that guests try to reach.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The server records its requests and answers all of them; `/redirect` leads to another server.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    leads_to: String,
}

impl Server {
    /// Starts it, for as long as the process lives.
    pub(super) fn start(leads_to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, asked: Arc::default(), leads_to };
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = shared.clone();
                std::thread::spawn(move || server.answer(&stream));
            }
        });
        server
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The paths that were asked for.
    pub(super) fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn answer(&self, mut stream: &TcpStream) -> Option<()> {
        // A connection without a request is recorded as well.
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push(path.clone());
        lines.find(String::is_empty)?;
        let head = match path.as_str() {
            "/redirect" => format!("302 Found\r\nLocation: {}", self.leads_to),
            _ => "200 OK".to_owned(),
        };
        let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        stream.write_all(answer.as_bytes()).ok()
    }
}
