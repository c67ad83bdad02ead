//! TLS towards clients: the certificate and key, which are reloaded when their files change, and the check of client
//! certificates.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use secrecy::ExposeSecret as _;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connections::socket::Socket;
use witgate_base::cause;
use witgate_base::pem;
use witgate_config::{ClientCertificates, TlsKey, TlsSettings};
use witgate_message::certificate::ClientCertificate;
use witgate_runtime::log::throttle::LogThrottle;

/// The time limit for a handshake. It allows two round trips and a signature, even over a bad line.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The protocol inside TLS, for ALPN.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The error in `[server.tls]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("server.tls.{setting}: {message}")]
pub struct TlsError {
    /// The setting at fault.
    pub setting: &'static str,
    /// The error, with advice.
    pub message: String,
}

/// The current TLS settings. A change applies to new connections.
pub struct TlsState {
    settings: ArcSwap<TlsSettings>,
    current: ArcSwap<LoadedTls>,
    failing: LogThrottle,
    /// Notifies the watcher of the files.
    replaced: Notify,
}

/// Settings whose files were read.
pub struct PreparedTls {
    settings: TlsSettings,
    loaded: LoadedTls,
}

/// The settings that were read from the files.
struct LoadedTls {
    config: Arc<ServerConfig>,
    expires_at: Option<u64>,
    /// The first certificate of the chain.
    leaf: Option<CertificateDer<'static>>,
}

impl std::fmt::Debug for TlsState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl TlsState {
    /// Reads the certificate and the key.
    ///
    /// # Errors
    /// With the first fault.
    pub fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(LoadedTls::read(&settings)?);
        let settings = ArcSwap::from_pointee(settings);
        Ok(Self { settings, current, failing: LogThrottle::default(), replaced: Notify::new() })
    }

    /// True if these settings are in use.
    pub fn uses(&self, settings: &TlsSettings) -> bool {
        let used = self.settings.load();
        let is_same_key = match (&used.key, &settings.key) {
            (TlsKey::File(one), TlsKey::File(other)) => one == other,
            (TlsKey::Text(one), TlsKey::Text(other)) => one.expose_secret() == other.expose_secret(),
            _ => false,
        };
        is_same_key
            && used.certificate == settings.certificate
            && used.client_ca == settings.client_ca
            && used.clients == settings.clients
    }

    /// Reads the files of other settings, without using them yet.
    ///
    /// # Errors
    /// With the first fault.
    pub fn prepare(settings: &TlsSettings) -> Result<PreparedTls, TlsError> {
        Ok(PreparedTls { settings: settings.clone(), loaded: LoadedTls::read(settings)? })
    }

    /// Uses other settings for new connections.
    pub fn replace(&self, PreparedTls { settings, loaded }: PreparedTls) {
        self.settings.store(Arc::new(settings));
        self.current.store(Arc::new(loaded));
        self.replaced.notify_one();
    }

    /// Waits until the settings are replaced, and so maybe the files.
    pub async fn replaced(&self) {
        self.replaced.notified().await;
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// With the first fault. The former settings then stay in force.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(LoadedTls::read(&self.settings.load())?));
        Ok(())
    }

    /// The time at which the first certificate of the chain expires, in seconds since the Unix epoch. None: no
    /// certificate of the chain can be read.
    pub fn expires_at(&self) -> Option<u64> {
        self.current.load().expires_at
    }

    /// True if the certificate is for a host name or an address, as clients check it (RFC 9525).
    pub fn is_for(&self, host: &str) -> bool {
        let current = self.current.load();
        let parsed = current.leaf.as_ref().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
        let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']'));
        parsed.zip(name.ok()).is_some_and(|(leaf, name)| verify_server_name(&leaf, &name).is_ok())
    }

    /// The files from which the settings are read.
    pub fn files(&self) -> Vec<PathBuf> {
        let settings = self.settings.load();
        let key = match &settings.key {
            TlsKey::File(path) => Some(path),
            TlsKey::Text(_) => None,
        };
        let files = [Some(&settings.certificate), key, settings.client_ca.as_ref()];
        files.into_iter().flatten().cloned().collect()
    }

    /// Performs the handshake of one connection. Returns the certificate of the client, if there is one. None: the
    /// handshake failed.
    pub(super) async fn accept(
        &self,
        stream: Socket,
        peer: IpAddr,
    ) -> Option<(TlsStream<Socket>, Option<Arc<ClientCertificate>>)> {
        let peer = Some(peer.to_canonical());
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.load().config));
        let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.failed(peer, &cause::with_sources(&error));
                return None;
            }
            Err(_) => {
                self.failed(peer, &format!("it took longer than {HANDSHAKE:?}"));
                return None;
            }
        };
        match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
            None => Some((stream, None)),
            Some(leaf) => match ClientCertificate::from_der(leaf) {
                Some(certificate) => Some((stream, Some(Arc::new(certificate)))),
                // Such a certificate identifies nobody, so the connection is refused.
                None => {
                    self.failed(peer, "the client's certificate is valid, but cannot be read");
                    None
                }
            },
        }
    }

    /// Logs a failed handshake. Anybody can cause failures, so the log is throttled.
    fn failed(&self, peer: Option<IpAddr>, why: &str) {
        if let Some(others) = self.failing.turn() {
            tracing::info!(peer = peer.map(tracing::field::display), why, others, "a TLS handshake failed");
        }
    }
}

impl LoadedTls {
    fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let chain = pem::certificates(&settings.certificate)
            .map_err(|unread| fault("certificate", unread.message))?;
        let readable = chain.iter().filter_map(|certificate| ClientCertificate::from_der(certificate));
        let expires_at = readable.map(|certificate| certificate.not_after()).min();
        let leaf = chain.first().cloned();
        Ok(Self { config: server_config(settings, chain)?, expires_at, leaf })
    }
}

fn server_config(
    settings: &TlsSettings,
    chain: Vec<CertificateDer<'static>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let key = private_key(&settings.key)?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault("certificate", error.to_string()))?;
    let verifier = verifier(settings)?;
    let asks = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let hint = "the key has to be the one of the first certificate in `certificate`";
        fault("key", format!("certificate and key cannot be used together: {error}; {hint}"))
    })?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    if asks {
        // A resumed session would not check the client's certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// The verifier of client certificates. None: clients are not asked for a certificate.
fn verifier(settings: &TlsSettings) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = settings.client_ca.as_ref().filter(|_| settings.clients != ClientCertificates::Off)
    else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        pem::authorities(path).map_err(|unread| fault("client_ca", unread.message))?,
    );
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::new(default_provider()));
    let builder = match settings.clients {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required | ClientCertificates::Off => builder,
    };
    builder.build().map(Some).map_err(|error| fault("client_ca", error.to_string()))
}

fn private_key(key: &TlsKey) -> Result<PrivateKeyDer<'static>, TlsError> {
    let read = match key {
        TlsKey::File(path) => {
            let bytes = zeroize::Zeroizing::new(
                std::fs::read(path)
                    .map_err(|error| fault("key", format!("{} cannot be read: {error}", path.display())))?,
            );
            PrivateKeyDer::from_pem_slice(&bytes)
        }
        TlsKey::Text(text) => PrivateKeyDer::from_pem_slice(text.expose_secret().as_bytes()),
    };
    // The parser's message may contain a part of the key.
    read.map_err(|_| fault("key", "this is not a private key in PEM (`BEGIN PRIVATE KEY`)".to_owned()))
}

fn fault(setting: &'static str, message: String) -> TlsError {
    TlsError { setting, message }
}
