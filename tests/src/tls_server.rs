//! A TLS server for all kinds of requests. It answers a GET with a JWK Set, and a POST as an MCP server or an
//! authorization server would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::pki::Issued;

/// The server. It ends with the process.
pub struct SecureServer {
    port: u16,
    asked: Arc<AtomicU64>,
}

impl SecureServer {
    /// Starts a server with this certificate.
    pub fn start(certificate: &Issued) -> Self {
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der.clone().into()], key)
            .unwrap();
        let (config, count) = (Arc::new(config), Arc::new(AtomicU64::new(0)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), asked: Arc::clone(&count) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, count) = (Arc::clone(&config), Arc::clone(&count));
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    // A client that does not trust the certificate disconnects.
                    let _ = answer(StreamOwned::new(connection, stream), &count);
                });
            }
        });
        server
    }

    /// The server's port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of requests so far.
    pub fn request_count(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(stream: StreamOwned<ServerConnection, TcpStream>, count: &AtomicU64) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    count.fetch_add(1, Ordering::Relaxed);
    let body = response_body(&body).to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
    let stream = stream.get_mut();
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn response_body(body: &[u8]) -> Value {
    match serde_json::from_slice::<Value>(body) {
        Ok(message) => {
            let result = json!({
                "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "resultType": "complete",
                "tools": [], "serverInfo": { "name": "secure", "version": "1" },
            });
            json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })
        }
        Err(_) if body.is_empty() => json!({ "keys": [] }),
        Err(_) => json!({ "active": false }),
    }
}
