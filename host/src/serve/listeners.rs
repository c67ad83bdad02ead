//! The sockets that a gateway listens on.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::error::ServeError;
use witgate_config::{self as config, Config, Transport};

/// Connections that wait to be accepted, as of other sockets here.
const BACKLOG: u32 = 1024;

/// The listeners of a gateway.
pub(super) struct Listeners {
    /// The listener for clients. None: over stdio.
    pub(super) public: Option<TcpListener>,
    /// The listener of health checks and metrics.
    pub(super) admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds the listeners of a configuration.
    pub(super) async fn bind(config: &Config) -> Result<Self, ServeError> {
        let server = &config.server;
        let public = match server.transport {
            Transport::Http => Some(bind(server.listen, "server.listen").await?),
            Transport::Stdio => None,
        };
        let admin = match (bind_admin(server).await, server.transport) {
            // Every client of a configuration for stdio starts its own Witgate; the first one has the listener.
            (Err(error), Transport::Stdio) => {
                tracing::warn!("no health checks and metrics from this process: {error}");
                None
            }
            (admin, _) => admin?,
        };
        Ok(Self { public, admin })
    }
}

/// Binds the listener of health checks and metrics, if the configuration has one.
pub(crate) async fn bind_admin(server: &config::Server) -> Result<Option<TcpListener>, ServeError> {
    match server.admin_listen {
        Some(address) => bind(address, "server.admin_listen").await.map(Some),
        None => Ok(None),
    }
}

/// Binds another socket for clients, while one is in use.
pub(super) fn bind_beside(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error| ServeError::Listen { address, setting: "server.listen", error })
}

async fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| ServeError::Listen { address, setting, error })
}
