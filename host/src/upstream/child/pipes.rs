//! What a connection runs over: the pipes of a child process, or of a server in this process.

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::process::Process;

/// Both ends of a conversation.
pub struct Pipes {
    /// The server reads from it.
    pub(crate) input: Box<dyn AsyncWrite + Send + Unpin>,
    /// The server writes to it.
    pub(crate) output: Box<dyn AsyncRead + Send + Unpin>,
    /// None: the server runs in this process.
    pub(crate) process: Option<Process>,
}

/// Starts a server, as often as it is asked to.
pub trait Launch: Send + Sync {
    /// Starts one more.
    fn launch(&self) -> BoxFuture<'_, Result<Pipes, String>>;
}
