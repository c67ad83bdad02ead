//! The transport of a connection: the pipes of a child process, or of a server in this process.

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::process::Process;
use witgate_base::party::Principal;
use witgate_runtime::shares::Share;

/// Both directions of a connection.
pub struct Pipes {
    /// The server's standard input.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// The server's standard output.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// None: the server runs in this process.
    pub process: Option<Process>,
}

/// Starts a server, any number of times.
pub trait Launch: Send + Sync {
    /// Starts another server, which holds `seat` while it exists. `principal` is its only caller, if callers are
    /// separated. It waits for nothing but the server's tokens, and not for long. The owner of the pipes ends the
    /// server.
    fn launch(&self, seat: Share, principal: Option<&Principal>) -> BoxFuture<'_, Result<Pipes, String>>;

    /// True if the lifetime of a secret for the server is over, so that none may be started.
    fn has_expired(&self) -> bool {
        false
    }
}
