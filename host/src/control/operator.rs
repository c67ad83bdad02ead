//! The answers to the commands of the control socket.

use std::sync::Arc;

use serde_json::Value;

use super::protocol::{self, Command, Forgotten};
use super::status::Status;
use super::{Client, recording};
use crate::reload::{Reloader, RollbackResult};
use witgate_base::digest::digest_of;
use witgate_policy::generation::Generations;

/// The handler of the control socket's commands.
pub(crate) struct Operator {
    pub(crate) status: Arc<Status>,
    pub(crate) generations: Arc<Generations>,
    pub(crate) reloader: Option<Arc<Reloader>>,
}

impl Operator {
    /// Carries out a command.
    ///
    /// # Errors
    /// With the sentence that the client is told.
    pub(crate) async fn answer(&self, command: Command, client: Client) -> Result<Value, String> {
        match command {
            Command::PluginList => protocol::written(&self.status.read()),
            Command::PluginDiff => protocol::written(&self.status.differences()),
            Command::PluginRollback { to } => protocol::written(&self.roll_back(to).await?),
            Command::PluginRecord { policy, calls, seconds, claims } => {
                let bounds = recording::bounds(calls, seconds, claims)?;
                protocol::written(&recording::record(&self.generations, &policy, bounds, client).await?)
            }
            Command::PluginRecordStop { policy } => {
                protocol::written(&recording::stop(&self.generations, policy)?)
            }
            Command::TokenForget { digest } => protocol::written(&self.forget(&digest)?),
        }
    }

    async fn roll_back(&self, to: Option<u64>) -> Result<protocol::RolledBack, String> {
        let reloader =
            self.reloader.as_ref().ok_or("without a configuration file there is no earlier generation")?;
        let RollbackResult { to, live, unkept } = reloader.roll_back(to).await?;
        Ok(protocol::RolledBack { rolled_back_to: to, generation: live, unkept })
    }

    fn forget(&self, token: &str) -> Result<Forgotten, String> {
        let digest = digest_of(token).ok_or("this is no SHA-256 digest")?;
        let forgotten_by: Vec<_> = self.generations.forget(&digest).iter().map(ToString::to_string).collect();
        tracing::info!(policies = forgotten_by.join(","), "a token was forgotten");
        Ok(Forgotten { forgotten_by })
    }
}
