//! The parts of a running gateway that health checks and metrics look at.

use std::sync::Arc;

use crate::operation::OperationLog;
use crate::reload::Reloader;
use witgate_policy::generation::Generations;
use witgate_runtime::metrics::Metrics;
use witgate_server::tls::TlsState;
use witgate_services::passwords::PasswordChecks;

/// The observed parts of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct GatewayState {
    /// The policies.
    pub generations: Arc<Generations>,
    /// The reloader. None: there is no configuration file.
    pub reloader: Option<Arc<Reloader>>,
    /// The checks of passwords.
    pub passwords: Arc<PasswordChecks>,
    /// The metrics, with the health of the upstreams.
    pub metrics: Arc<Metrics>,
    /// TLS towards clients. None: there is none, or it belongs to the program that embeds the gateway.
    pub tls: Option<Arc<TlsState>>,
    /// The audit log.
    pub audit: OperationLog,
}
