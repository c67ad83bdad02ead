//! The way of a connection: directly to the server, or through a proxy's tunnel (RFC 9110, section 9.3.6).

use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::Uri;
use ::http::uri::{PathAndQuery, Scheme};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tower::Service;

use super::reach::{Reach, RefusedAddress};
use witgate_config::Network;
use witgate_runtime::workers;

/// Time limit for connecting. Within a data centre it takes milliseconds; a lost SYN is sent again after 1 s and 3 s.
pub const CONNECT: Duration = Duration::from_secs(5);

/// The target of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An upstream or another server of the configuration, with any address.
    Upstream,
    /// A server that is asked for keys, or by policies.
    Asked(Reach),
}

type BoxError = Box<dyn Error + Send + Sync>;
/// A connection to the server, or to a proxy.
pub(super) type ProxyStream = MaybeHttpsStream<TokioIo<TcpStream>>;
type ConnectFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// The proxies of the configuration.
#[derive(Debug, Default)]
pub(super) struct OutgoingProxies {
    matcher: Option<Matcher>,
    are_secure: bool,
    /// True if the proxy resolves names, and has to check their addresses.
    resolve: bool,
}

impl OutgoingProxies {
    pub(super) fn new(settings: &Network) -> Self {
        let proxies = [&settings.http_proxy, &settings.https_proxy];
        let written = proxies.map(|proxy| proxy.as_ref().map_or("", |proxy| proxy.expose_secret()));
        let [http, https] = written;
        let is_none = http.is_empty() && https.is_empty();
        let matcher = || Matcher::builder().http(http).https(https).no(settings.no_proxy.join(",")).build();
        Self {
            matcher: (!is_none).then(matcher),
            are_secure: written.iter().any(|proxy| proxy.starts_with("https:")),
            resolve: settings.proxy_resolves,
        }
    }

    /// True if the connection to the proxy uses TLS.
    pub(super) fn are_secure(&self) -> bool {
        self.are_secure
    }

    /// The proxy for `to`. Connections to this machine never use a proxy.
    fn on_the_way(&self, to: &Uri) -> Option<Intercept> {
        let host = to.host()?;
        // Names below `localhost` are this machine as well (RFC 6761, section 6.3).
        let last_label = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let is_here = last_label.eq_ignore_ascii_case("localhost")
            || address_of(host).is_some_and(|address| address.to_canonical().is_loopback());
        self.matcher.as_ref().filter(|_| !is_here)?.intercept(to)
    }
}

/// Opens connections.
#[derive(Clone)]
pub struct Way {
    to: Destination,
    is_open: bool,
    straight: HttpConnector<DnsResolver>,
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: Arc<OutgoingProxies>,
}

#[derive(Debug, thiserror::Error)]
#[error("[network] is invalid, so no outgoing connections are made")]
struct NetworkClosed;

impl Way {
    pub(super) fn new(
        to: Destination,
        proxies: Arc<OutgoingProxies>,
        trusted: ClientConfig,
        is_open: bool,
    ) -> Self {
        let mut straight = HttpConnector::new_with_resolver(DnsResolver { to });
        straight.set_nodelay(true);
        straight.enforce_http(false);
        straight.set_connect_timeout(Some(CONNECT));
        let mut plain = HttpConnector::new();
        plain.set_nodelay(true);
        plain.enforce_http(false);
        plain.set_connect_timeout(Some(CONNECT));
        let to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(trusted)
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        Self { to, is_open, straight, to_proxy, proxies }
    }

    /// Uses a tunnel, also without TLS inside, so that the proxy sees no headers and answers of others.
    async fn through(self, proxy: Intercept, to: Uri) -> Result<ProxyStream, BoxError> {
        let to = self.checked(&to).await?;
        let tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy);
        let mut tunnel = match proxy.basic_auth() {
            Some(credential) => tunnel.with_auth(credential.clone()),
            None => tunnel,
        };
        Ok(tunnel.call(to).await?)
    }

    /// The server for the proxy's request: a checked address, unless the proxy resolves names.
    async fn checked(&self, to: &Uri) -> Result<Uri, BoxError> {
        let host = to.host().ok_or("there is no host")?;
        let port = to.port_u16().unwrap_or(if to.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 });
        let host = match (self.to, address_of(host)) {
            (Destination::Asked(reach), Some(address)) if !reach.covers(address) => {
                return Err(RefusedAddress.into());
            }
            (Destination::Asked(_), None) if !self.proxies.resolve => {
                match resolved(self.to, host, port).await? {
                    first if first.is_ipv6() => format!("[{}]", first.ip()),
                    first => first.ip().to_string(),
                }
            }
            _ => host.to_owned(),
        };
        let authority = format!("{host}:{port}");
        let scheme = to.scheme().cloned().unwrap_or(Scheme::HTTPS);
        let path = PathAndQuery::from_static("/");
        Ok(Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()?)
    }
}

impl Service<Uri> for Way {
    type Response = ProxyStream;
    type Error = BoxError;
    type Future = ConnectFuture<ProxyStream, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.straight.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        if !self.is_open {
            return Box::pin(async { Err(NetworkClosed.into()) });
        }
        if let Some(proxy) = self.proxies.on_the_way(&to) {
            return Box::pin(self.clone().through(proxy, to));
        }
        let connecting = self.straight.call(to);
        Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
    }
}

/// Resolves names, and returns only permitted addresses. The checked addresses are those that are used, so a name that
/// resolves differently the second time has no effect.
#[derive(Clone, Copy, Debug)]
struct DnsResolver {
    to: Destination,
}

impl Service<Name> for DnsResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = ConnectFuture<Self::Response, std::io::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let to = self.to;
        Box::pin(async move { Ok(addresses(to, name.as_str(), 0).await?.into_iter()) })
    }
}

/// The first permitted address of a name.
async fn resolved(to: Destination, name: &str, port: u16) -> std::io::Result<SocketAddr> {
    let found = addresses(to, name, port).await?;
    found.first().copied().ok_or_else(|| std::io::Error::other(RefusedAddress))
}

async fn addresses(to: Destination, name: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    // The system's resolver blocks a thread, which a worker has none to spare for.
    let name = name.to_owned();
    let lookup = async move { tokio::net::lookup_host((name, port)).await.map(Iterator::collect) };
    let mut found: Vec<_> = workers::background().spawn(lookup).await??;
    if let Destination::Asked(reach) = to {
        found.retain(|address| reach.covers(address.ip()));
        if found.is_empty() {
            return Err(std::io::Error::other(RefusedAddress));
        }
    }
    Ok(found)
}

fn address_of(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{is_refused, roots};

    fn way(to: Destination, resolve: bool) -> Way {
        let proxies = OutgoingProxies::new(&Network {
            https_proxy: Some("http://proxy.test:1".to_owned().into()),
            http_proxy: Some("http://proxy.test:1".to_owned().into()),
            no_proxy: vec!["10.0.0.0/8".to_owned()],
            proxy_resolves: resolve,
            ..Network::default()
        });
        Way::new(to, Arc::new(proxies), roots::none(), true)
    }

    /// URL parsers read `127.1` as a name, and the system's resolver reads it as an address.
    #[tokio::test]
    async fn a_proxy_gets_the_checked_address() {
        let uri = Uri::from_static("https://127.1/x?secret");
        let checked = async |to, resolve| way(to, resolve).checked(&uri).await.map(|uri| uri.to_string());
        let private = Destination::Asked(Reach::Private);
        assert_eq!(checked(private, false).await.unwrap(), "https://127.0.0.1:443/");
        assert_eq!(checked(private, true).await.unwrap(), "https://127.1:443/");
        assert_eq!(checked(Destination::Upstream, false).await.unwrap(), "https://127.1:443/");
        let refused = checked(Destination::Asked(Reach::Public), false).await.unwrap_err();
        assert!(is_refused(&*refused));
        let literal = Uri::from_static("http://[::ffff:10.0.0.1]/");
        let refused = way(Destination::Asked(Reach::Public), true).checked(&literal).await.unwrap_err();
        assert!(is_refused(&*refused));
        let plain = Uri::from_static("http://[2606:2800:220:1::1]/");
        let told = way(Destination::Asked(Reach::Public), false).checked(&plain).await.unwrap();
        assert_eq!(told, "http://[2606:2800:220:1::1]:80/");
    }

    #[test]
    fn local_and_excepted_hosts_need_no_proxy() {
        let proxies = way(Destination::Upstream, false).proxies;
        let goes = |uri: &'static str| proxies.on_the_way(&Uri::from_static(uri)).is_some();
        for straight in [
            "http://localhost/",
            "https://LOCALHOST./",
            "http://x.localhost:1/",
            "http://127.9.9.9:1/",
            "http://[::1]/",
            "http://10.1.2.3/",
        ] {
            assert!(!goes(straight), "{straight}");
        }
        assert!(
            goes("https://example.com/")
                && goes("http://192.168.0.1/")
                && goes("http://localhost.example.com/")
        );
    }
}
