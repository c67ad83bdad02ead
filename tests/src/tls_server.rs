//! A TLS server for all kinds of requests. It answers a GET with a JWK Set, and a POST as an MCP server or an
//! authorization server would.

use std::collections::HashMap;
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
    counts: Arc<ServerCounts>,
}

#[derive(Default)]
struct ServerCounts {
    connections: AtomicU64,
    requests: AtomicU64,
}

impl SecureServer {
    /// Starts a server with this certificate.
    pub fn start(certificate: &Issued) -> Self {
        Self::with_documents(certificate, HashMap::new())
    }

    /// The same, which answers requests for these targets with documents.
    pub fn with_documents(certificate: &Issued, documents: HashMap<String, String>) -> Self {
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der.clone().into()], key)
            .unwrap();
        let (config, counts) = (Arc::new(config), Arc::new(ServerCounts::default()));
        let documents = Arc::new(documents);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), counts: Arc::clone(&counts) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, counts) = (Arc::clone(&config), Arc::clone(&counts));
                let documents = Arc::clone(&documents);
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    // A client that does not trust the certificate disconnects.
                    let _ = answer_all(StreamOwned::new(connection, stream), &counts, &documents);
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
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// The number of connections so far on which a request came.
    pub fn connection_count(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }
}

type Connection = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// Answers requests until the client closes the connection.
fn answer_all(
    stream: StreamOwned<ServerConnection, TcpStream>,
    counts: &ServerCounts,
    documents: &HashMap<String, String>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    if !stream.fill_buf()?.is_empty() {
        counts.connections.fetch_add(1, Ordering::Relaxed);
    }
    while !stream.fill_buf()?.is_empty() {
        counts.requests.fetch_add(1, Ordering::Relaxed);
        answer(&mut stream, documents)?;
    }
    Ok(())
}

fn answer(stream: &mut Connection, documents: &HashMap<String, String>) -> std::io::Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line)?;
    let document = line.split(' ').nth(1).and_then(|target| documents.get(target));
    line.clear();
    while stream.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = document.cloned().unwrap_or_else(|| response_body(&body).to_string());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
    stream.get_mut().write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes())?;
    stream.get_mut().flush()
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
