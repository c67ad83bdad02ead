//! The senders of requests.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::HeaderMap;
use bytes::Bytes;
use witgate_plugin::Transport;

use crate::connections::ConnectionEnds;
use crate::connections::table::Connection;
use witgate_flow::Arrival;
use witgate_flow::in_flight::InFlight;
use witgate_flow::known_sender::KnownSender;
use witgate_message::certificate::ClientCertificate;

/// The sender of a request, apart from the content of the request.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// The address at the other end of the connection, or the client that a trusted proxy names.
    pub peer: Option<IpAddr>,
    /// The address at this end.
    pub local: Option<IpAddr>,
    /// The certificate from the TLS handshake.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The connection. None: an embedding program has its own connections.
    pub connection: Option<Arc<Connection>>,
}

impl From<ConnectionEnds> for Sender {
    fn from(ConnectionEnds { peer, local, certificate, connection }: ConnectionEnds) -> Self {
        // A socket for both families has IPv4 addresses as `::ffff:a.b.c.d`. Nobody writes them in that form.
        let [peer, local] = [peer, local].map(|end| Some(end.ip().to_canonical()));
        Self { peer, local, certificate, connection: Some(connection) }
    }
}

impl Sender {
    /// Notes that the whole request has arrived.
    pub(super) fn has_sent(&self) {
        if let Some(connection) = &self.connection {
            connection.answers();
        }
    }

    pub(super) fn known(&self) -> KnownSender {
        self.connection.as_ref().map(|connection| connection.known().clone()).unwrap_or_default()
    }
}

/// The message of a sender.
pub(super) fn arrival(headers: HeaderMap, body: Bytes, sender: Sender) -> Arrival {
    sender.has_sent();
    Arrival {
        transport: Transport::Http,
        peer: sender.peer,
        known: sender.known(),
        under_way: InFlight::default(),
        certificate: sender.certificate,
        headers,
        body,
        shown: None,
        session: None,
    }
}
