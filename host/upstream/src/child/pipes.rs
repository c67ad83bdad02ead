//! The transport of a connection: the pipes of a child process, or of a server in this process.

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::process::Process;
use witgate_base::party::Principal;
use witgate_runtime::shares::Share;

/// Both ends of a conversation.
pub struct Pipes {
    /// The server reads from it.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// The server writes to it.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// None: the server runs in this process.
    pub process: Option<Process>,
}

/// Starts a server, as often as it is asked to.
pub trait Launch: Send + Sync {
    /// Starts one more, which holds `seat` for as long as it is there. `principal`: the one caller whose it is, of those that
    /// are told apart. Starting takes no time that its caller could
    /// use to go away; whoever has the pipes ends it.
    fn launch(&self, seat: Share, principal: Option<&Principal>) -> BoxFuture<'_, Result<Pipes, String>>;
}
