//! A proxy that makes tunnels (RFC 9110, section 9.3.6): all of them end at one server, whatever their target is.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The proxy. It ends with the process.
pub struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy whose tunnels end at 127.0.0.1:`port`.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let proxy = Self { port: listener.local_addr().unwrap().port(), asked: Arc::clone(&requests) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || tunnel(stream, port, &requests));
            }
        });
        proxy
    }

    /// The proxy's address, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The heads of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn tunnel(stream: TcpStream, port: u16, requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let is_tunnel = head.starts_with("CONNECT ");
    requests.lock().unwrap().push(head);
    let mut stream = stream;
    if !is_tunnel {
        return stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
    }
    let server = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from_server, mut to_client) = (server.try_clone()?, stream.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    let mut server = server;
    std::io::copy(&mut reader, &mut server).map(drop)
}
