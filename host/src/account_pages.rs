//! The pages where callers connect accounts of their own: on the listener of the gateway, or over stdio on one of their
//! own.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::loopback;

use witgate_config::credentials::OutboundSource;
use witgate_config::{Config, Transport};
use witgate_credentials::connect::ConnectDesk;
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::Flow;
use witgate_server::http::LocalPages;
use witgate_upstream::any_upstream::AnyUpstream;

/// The pages where callers connect accounts of their own.
pub(crate) struct AccountPages {
    /// The links to the pages.
    pub(crate) desk: Arc<ConnectDesk>,
    /// Over stdio: the listeners of the pages, on this machine.
    local: Vec<TcpListener>,
}

impl AccountPages {
    /// The pages, with their listener over stdio. None: there is no listener, so nobody gets a link.
    pub(crate) async fn prepare(
        config: &Config,
        credentials: &Arc<OutboundCredentials>,
    ) -> Result<Option<Self>, getrandom::Error> {
        if config.server.transport == Transport::Http {
            let desk = ConnectDesk::new(Arc::clone(credentials), None)?;
            return Ok(Some(Self { desk, local: Vec::new() }));
        }
        let Some((address, port)) = local_page_address(config) else { return Ok(None) };
        match loopback::listen(&address, port).await {
            Ok((local, port)) => {
                let desk = ConnectDesk::new(Arc::clone(credentials), Some(port))?;
                Ok(Some(Self { desk, local }))
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
        if !self.local.is_empty() {
            let pages = LocalPages::new(self.desk, Arc::clone(flow));
            tokio::spawn(pages.serve(self.local, end.clone()));
        }
    }
}

/// The host of the pages over stdio, and their port, or 0: those of a credential's `redirect_uri`. None: no credential is
/// that of each caller.
fn local_page_address(config: &Config) -> Option<(Url, u16)> {
    let own = config.upstreams.iter().find_map(|upstream| upstream.credentials.own.as_deref())?;
    let OutboundSource::Grant(grant) = &own.source else { return None };
    match &grant.connect.as_ref()?.redirect_uri {
        Some(url) => Some((url.clone(), url.port_or_known_default()?)),
        None => Some((grant.redirect_uri.clone(), 0)),
    }
}
