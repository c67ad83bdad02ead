//! A call with all the data that a policy may ask for: one value, which the stages share.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use witgate_plugin::Transport;

use super::decision::DecisionId;
use super::definitions::DefinitionLife;
use super::disagreement_log::DisagreementLog;
use witgate_config::Extension;
use witgate_message::call::Call;
use witgate_message::certificate::ClientCertificate;
use witgate_message::era::Era;
use witgate_message::headers::PROTOCOL_VERSION;
use witgate_message::input_round::InputRound;
use witgate_services::subject::HookLog;

/// The route of a call.
#[derive(Clone, Debug)]
pub struct Route {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The upstream's resource identifier.
    pub resource: Arc<str>,
    /// The place of the upstream in the configuration, which determines the pipeline.
    pub pipeline: usize,
    /// The extensions of MCP authorization that clients are told about.
    pub extensions: Vec<Extension>,
    /// True if clients are told which kinds of credentials are accepted.
    pub advertise_auth: bool,
    /// The audit log, which gets the disagreements of shadow policies.
    pub disagreements: Option<Arc<dyn DisagreementLog>>,
}

/// A call with its context.
#[derive(Debug)]
pub struct Request {
    /// The parsed message.
    pub call: Call,
    /// The id of the message.
    pub decision: DecisionId,
    /// The era of the message.
    pub era: Era,
    /// The headers, without those that contain credentials. Empty over stdio.
    pub headers: HeaderMap,
    /// The address of the sender. None over stdio.
    pub peer: Option<IpAddr>,
    /// The transport of the message.
    pub transport: Transport,
    /// The route.
    pub route: Arc<Route>,
    /// The client certificate of the connection.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The answer of the client to a request of Witgate for input, which was cut out of the call.
    pub round: Option<InputRound>,
    /// The hooks that are asked about the request, if it is traced or watched.
    pub hooks: OnceLock<Arc<HookLog>>,
    /// The comparisons of definitions in the life of the server that answers, if there are any.
    pub definitions: OnceLock<Arc<DefinitionLife>>,
}

impl Request {
    /// The same request, with `call` in place of its own.
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
            round: None,
            hooks: self.hooks.clone(),
            definitions: self.definitions.clone(),
        }
    }

    /// A request of the same sender for a list. Of the headers, it keeps only the version of the protocol: all others
    /// are about the message.
    pub(super) fn listing(&self, call: Call) -> Self {
        let version = self.headers.get(PROTOCOL_VERSION).cloned();
        let headers = version.into_iter().map(|version| (PROTOCOL_VERSION, version)).collect();
        Self { headers, hooks: OnceLock::new(), ..self.asking(call) }
    }
}
