//! The pages where callers connect accounts of their own: on the listener of the gateway, or over stdio on one of their
//! own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Host;

use witgate_config::credentials::OutboundSource;
use witgate_config::{Config, Transport};
use witgate_credentials::connect::ConnectDesk;
use witgate_flow::Flow;
use witgate_server::http::LocalPages;
use witgate_services::network::Ways;
use witgate_upstream::any_upstream::AnyUpstream;

/// The pages where callers connect accounts of their own.
pub(crate) struct AccountPages {
    /// The links to the pages.
    pub(crate) desk: Arc<ConnectDesk>,
    /// Over stdio: the listener of the pages, on this machine.
    local: Option<TcpListener>,
}

impl AccountPages {
    /// The pages, with their listener over stdio. None: there is no listener, so nobody gets a link.
    pub(crate) async fn prepare(config: &Config, ways: &Arc<Ways>) -> Result<Option<Self>, getrandom::Error> {
        if config.server.transport == Transport::Http {
            let desk = ConnectDesk::new(Arc::clone(ways), None)?;
            return Ok(Some(Self { desk, local: None }));
        }
        let Some(address) = local_page_address(config) else { return Ok(None) };
        match TcpListener::bind(address).await.and_then(|socket| Ok((socket.local_addr()?.port(), socket))) {
            Ok((port, socket)) => {
                let desk = ConnectDesk::new(Arc::clone(ways), Some(port))?;
                Ok(Some(Self { desk, local: Some(socket) }))
            }
            // Every client of a configuration for stdio starts its own Witgate; the first one has a fixed port.
            Err(error) => {
                tracing::warn!("callers cannot connect accounts at {address}: {error}");
                Ok(None)
            }
        }
    }

    /// Serves the pages of a listener of their own until `end`.
    pub(crate) fn serve(self, flow: &Arc<Flow<AnyUpstream>>, end: &CancellationToken) {
        if let Some(socket) = self.local {
            let pages = LocalPages::new(self.desk, Arc::clone(flow));
            tokio::spawn(pages.serve(socket, end.clone()));
        }
    }
}

/// The address of the pages over stdio: that of a credential's `redirect_uri`, or any port. None: no credential is that
/// of each caller.
fn local_page_address(config: &Config) -> Option<SocketAddr> {
    let own = config.upstreams.iter().find_map(|upstream| upstream.credentials.own.as_deref())?;
    let OutboundSource::Grant(grant) = &own.source else { return None };
    let redirect = grant.connect.as_ref()?.redirect_uri.as_ref();
    let address = match redirect.and_then(|url| url.host()) {
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Some(SocketAddr::new(address, redirect.and_then(|url| url.port()).unwrap_or(0)))
}
