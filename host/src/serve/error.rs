//! The error when Witgate cannot start.

use std::net::SocketAddr;
use std::path::Path;

use crate::control::ControlError;
use crate::operation::AuditLogError;
use witgate_accounts::error::AccountsError;
use witgate_component::engine::EngineError;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::resolve::{fault_at, policy_fault};
use witgate_policy::PolicyError;
use witgate_server::tls::TlsError;
use witgate_upstream::http::SetUpError;

/// The error when Witgate could not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// WebAssembly does not work on this machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The system gives no thread for the watcher of files.
    #[error("changes of files could not be seen, because the system gives no thread: {0}")]
    Thread(std::io::Error),
    /// The system gives no threads for connections.
    #[error("connections cannot be served, because the system gives no thread: {0}")]
    Workers(std::io::Error),
    /// Some policies cannot be used.
    #[error("{}", lines(.0))]
    Policies(Vec<PolicyError>),
    /// The program of an upstream is missing.
    #[error("upstream `{upstream}`: {message}")]
    Command {
        /// The upstream's name.
        upstream: String,
        /// The reason.
        message: String,
    },
    /// An upstream cannot be set up.
    #[error("upstream `{upstream}`: {error}")]
    Upstream {
        /// The upstream's name.
        upstream: String,
        /// The error.
        error: SetUpError,
    },
    /// The system refuses to listen on an address.
    #[error("cannot listen on {address} ({setting}): {error}{}", hint(.error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting with the address.
        setting: &'static str,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The system gives no thread for the admin listener.
    #[error("health checks and metrics cannot be served: {0}")]
    Admin(std::io::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system has no random numbers.
    #[error("no random numbers for nonces: {0}")]
    Random(#[from] getrandom::Error),
    /// A variable of OpenTelemetry is invalid.
    #[error("traces cannot be sent: {0}")]
    Traces(String),
    /// The control socket cannot be made.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
    /// The accounts cannot be used.
    #[error("accounts: {0}")]
    Accounts(#[from] AccountsError),
}

impl ServeError {
    /// The faults of the configuration, each with its place in the file at `path`.
    ///
    /// # Errors
    /// When the configuration is not at fault: the same error.
    pub(crate) fn in_file(self, path: Option<&Path>) -> Result<Vec<Diagnostic>, Self> {
        match self {
            Self::Policies(errors) => {
                let fault = |error: &PolicyError| policy_fault(path, &error.policy, &error.message);
                Ok(errors.iter().map(fault).collect())
            }
            Self::Upstream { upstream, error: error @ SetUpError::Embedded } => {
                Ok(vec![fault_at(path, &["upstreams", &upstream, "embedded"], &error.to_string())])
            }
            Self::Audit(error) => Ok(vec![fault_at(path, &["audit", "directory"], &error.to_string())]),
            Self::Accounts(error) => Ok(vec![fault_at(path, &["accounts"], &error.to_string())]),
            Self::Tls(error) => Ok(vec![fault_at(path, &["server", "tls", error.setting], &error.message)]),
            other => Err(other),
        }
    }
}

fn lines(errors: &[PolicyError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
        std::io::ErrorKind::PermissionDenied => {
            "; choose a port above 1023, or give the process the right to this one"
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}
