//! A call with everything around it that a policy may ask for: one value, shared by the stages.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use witgate_plugin::Transport;

use super::decision::DecisionId;
use witgate_config::Extension;
use witgate_message::call::Call;
use witgate_message::certificate::ClientCertificate;
use witgate_message::era::Era;

/// The route of a call, as the policies know it.
#[derive(Debug)]
pub struct Route {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The upstream's resource identifier.
    pub resource: Arc<str>,
    /// The pipeline of the generation that judges it: the upstream's place in the config.
    pub pipeline: usize,
    /// Extensions of MCP authorization that its clients learn of.
    pub extensions: Vec<Extension>,
}

/// A call on its way.
#[derive(Debug)]
pub struct Request {
    /// The parsed message.
    pub call: Call,
    /// The id of the message.
    pub decision: DecisionId,
    /// The era that it speaks.
    pub era: Era,
    /// The headers, without those that carry credentials. Empty over stdio.
    pub headers: HeaderMap,
    /// The address of the sender. None over stdio.
    pub peer: Option<IpAddr>,
    /// The transport of the message.
    pub transport: Transport,
    /// The route.
    pub route: Arc<Route>,
    /// The client certificate of its connection.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Request {
    /// The same request, if `call` were what it asks.
    pub(super) fn asking(&self, call: Call) -> Self {
        Self {
            call,
            decision: self.decision,
            era: self.era,
            headers: self.headers.clone(),
            peer: self.peer,
            transport: self.transport,
            route: Arc::clone(&self.route),
            certificate: self.certificate.clone(),
        }
    }
}
