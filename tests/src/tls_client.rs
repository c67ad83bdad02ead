//! A TLS client whose connections stay open for as long as a test wants.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::gateway::PATIENCE;
use crate::pki::{Authority, Issued};
use crate::wire::{Answer, Request};

/// A client.
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// A client that trusts servers of `authority`, and sends the certificate `own` if the server asks for one.
    pub fn new(authority: &Authority, own: Option<&Issued>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![own.der.clone().into()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { config: Arc::new(config) }
    }

    /// Connects to `address`.
    pub fn connect(&self, address: &str) -> TlsConnection {
        self.connect_after(address, &[])
    }

    /// Connects to `address`, and sends these bytes before anything else.
    pub fn connect_after(&self, address: &str, bytes: &[u8]) -> TlsConnection {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = address.rsplit_once(':').unwrap().0.to_owned().try_into().unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        TlsConnection { stream: StreamOwned::new(connection, stream) }
    }

    /// Sends one request over a connection of its own. None: the server closed the connection.
    pub fn send(&self, request: &Request) -> Option<Answer> {
        self.connect(request.address()).send(request)
    }
}

/// A connection.
pub struct TlsConnection {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl TlsConnection {
    /// Sends a request and reads its answer; the connection may stay open. None: the server closed the connection.
    pub fn send(&mut self, request: &Request) -> Option<Answer> {
        self.stream.write_all(&request.bytes()).ok()?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                // The server closed without `close_notify`: the bytes so far are the whole answer.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(_) => return None,
            }
            if let Some(answer) = Answer::whole(&bytes) {
                return Some(answer);
            }
        }
        Some(Answer::ended(&bytes)).filter(|answer| answer.status != 0)
    }

    /// The server's certificate, in DER, known after the first request.
    pub fn server_certificate(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// The negotiated protocol inside TLS.
    pub fn protocol(&self) -> Option<Vec<u8>> {
        self.stream.conn.alpn_protocol().map(<[u8]>::to_vec)
    }

    /// Keeps the connection idle for a while.
    pub fn idle(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
