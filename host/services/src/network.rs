//! Outgoing connections: to upstreams, to key sets, and to the servers that policies ask. It determines the trusted
//! authorities, the proxies, and the permitted addresses.

pub mod reach;
mod roots;
pub mod upstream_client;
mod way;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use reach::Reach;
pub use reach::is_refused;
use upstream_client::UpstreamClient;
pub use way::{CONNECT, Destination};
use way::{OutgoingProxies, Way};
use witgate_config::Network;
use witgate_runtime::workers::PerWorker;

/// Bytes of an answer that are read in advance, and the size of the largest head, as for clients.
const READ_AHEAD: usize = 64 << 10;

/// Time after which idle connections are closed. Servers on Node and uvicorn close them after 5 s, and reusing one at
/// that moment would lose a call.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// A client for servers that are no upstreams.
pub(crate) type HttpClient = Client<HttpsConnector<Way>, Full<Bytes>>;

/// A body that is passed on while it arrives.
pub type StreamedBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A client for requests whose bodies are passed on while they arrive.
pub type StreamClient = Client<HttpsConnector<Way>, StreamedBody>;

/// The outgoing connections of the process, by the current `[network]`. New settings apply to new connections; running
/// requests end with the former ones.
#[derive(Debug)]
pub struct Ways {
    current: ArcSwap<NetworkState>,
}

/// The settings, and the clients made from them.
#[derive(Debug)]
struct NetworkState {
    /// None: no connections are permitted.
    settings: Option<Network>,
    proxies: Arc<OutgoingProxies>,
    /// Read when needed, because reading the system's authorities takes milliseconds.
    trusted: OnceLock<ClientConfig>,
    /// The clients without and with TLS. Each worker has its own connections.
    upstreams: [PerWorker<Arc<UpstreamClient>>; 2],
    /// For servers that the operator names, such as collectors.
    named: [PerWorker<HttpClient>; 2],
    public: [PerWorker<HttpClient>; 2],
    private: [PerWorker<HttpClient>; 2],
    apis: [PerWorker<StreamClient>; 2],
}

impl Ways {
    /// Without connections, until settings are set.
    pub fn closed() -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(NetworkState::new(None)) })
    }

    /// With these settings.
    pub fn new(settings: &Network) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(NetworkState::new(Some(settings))) })
    }

    /// Applies new settings. None, because they are invalid: the former settings stay.
    pub fn take(&self, settings: Option<&Network>) {
        let Some(settings) = settings else { return };
        let before = self.current.load();
        if before.settings.as_ref().is_some_and(|before| before.is_same(settings)) {
            return;
        }
        if before.settings.is_some() {
            tracing::info!("new connections use the changed [network]");
        }
        self.current.store(Arc::new(NetworkState::new(Some(settings))));
    }

    /// A client of its own, for a thread without a lasting runtime: it keeps no connections.
    pub fn unshared_client(&self, to: Destination, secure: bool) -> HttpClient {
        let current = self.current.load();
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(0).build(current.connector(to, secure))
    }

    /// The client for requests of child processes to APIs, with TLS or without.
    pub fn api_client(&self, secure: bool) -> StreamClient {
        let current = self.current.load();
        let [plain, tls] = &current.apis;
        let client = if secure { tls } else { plain };
        let connect = || {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_idle_timeout(IDLE_CONNECTION).pool_timer(TokioTimer::new());
            builder.http1_max_buf_size(READ_AHEAD);
            builder.build(current.connector(Destination::Asked(Reach::Private), secure))
        };
        client.get_or_init(connect).clone()
    }

    /// The client for requests to upstreams, with TLS or without.
    pub fn upstream_client(&self, secure: bool) -> Arc<UpstreamClient> {
        self.current.load().upstream_client(secure)
    }

    /// The client for other requests, with TLS or without.
    pub fn client(&self, to: Destination, secure: bool) -> HttpClient {
        self.current.load().client(to, secure)
    }
}

impl NetworkState {
    fn new(settings: Option<&Network>) -> Self {
        Self {
            settings: settings.cloned(),
            proxies: Arc::new(settings.map(OutgoingProxies::new).unwrap_or_default()),
            trusted: OnceLock::new(),
            upstreams: Default::default(),
            named: Default::default(),
            public: Default::default(),
            private: Default::default(),
            apis: Default::default(),
        }
    }

    fn upstream_client(&self, secure: bool) -> Arc<UpstreamClient> {
        let [plain, tls] = &self.upstreams;
        let connected =
            || Arc::new(UpstreamClient::new(self.connector(Destination::Upstream, secure), IDLE_CONNECTION));
        Arc::clone(if secure { tls } else { plain }.get_or_init(connected))
    }

    fn client(&self, to: Destination, secure: bool) -> HttpClient {
        let [plain, tls] = match to {
            Destination::Upstream => &self.named,
            Destination::Asked(Reach::Public) => &self.public,
            Destination::Asked(Reach::Private) => &self.private,
        };
        let client = if secure { tls } else { plain };
        client.get_or_init(|| self.connected(to, secure)).clone()
    }

    /// The settings of TLS with all authorities, or with none where they are not needed.
    fn tls(&self, needed: bool) -> ClientConfig {
        match self.settings.as_ref().filter(|_| needed) {
            Some(settings) => self.trusted.get_or_init(|| roots::of(settings)).clone(),
            None => roots::none(),
        }
    }

    fn connector(&self, to: Destination, secure: bool) -> HttpsConnector<Way> {
        let to_proxy = self.tls(self.proxies.are_secure());
        let way = Way::new(to, Arc::clone(&self.proxies), to_proxy, self.settings.is_some());
        HttpsConnectorBuilder::new()
            .with_tls_config(self.tls(secure))
            .https_or_http()
            .enable_http1()
            .wrap_connector(way)
    }

    fn connected(&self, to: Destination, secure: bool) -> HttpClient {
        let mut builder = Client::builder(TokioExecutor::new());
        if to == Destination::Upstream {
            builder.pool_idle_timeout(IDLE_CONNECTION).pool_timer(TokioTimer::new());
            builder.http1_max_buf_size(READ_AHEAD);
        }
        builder.build(self.connector(to, secure))
    }
}
