//! The answers to the commands of the control socket.

use std::sync::Arc;

use serde_json::Value;

use super::protocol::{self, ControlCommand, ForgottenToken};
use super::status::StatusReader;
use super::{ControlClient, recording};
use crate::operation::OperationLog;
use crate::reload::{Reloader, RollbackResult};
use witgate_base::digest::digest_of;
use witgate_policy::generation::Generations;

/// The handler of the control socket's commands.
pub(crate) struct Operator {
    pub(crate) status: Arc<StatusReader>,
    pub(crate) generations: Arc<Generations>,
    pub(crate) reloader: Option<Arc<Reloader>>,
    pub(crate) audit: OperationLog,
}

impl Operator {
    /// Carries out a command.
    ///
    /// # Errors
    /// With the sentence that the client reads.
    pub(crate) async fn answer(
        &self,
        command: ControlCommand,
        client: ControlClient,
    ) -> Result<Value, String> {
        match command {
            ControlCommand::PluginList => protocol::written(&self.status.read()),
            ControlCommand::PluginDiff => protocol::written(&self.status.differences()),
            ControlCommand::PluginRollback { to } => protocol::written(&self.roll_back(to).await?),
            ControlCommand::PluginRecord { policy, calls, seconds, claims } => {
                let bounds = recording::bounds(calls, seconds, claims)?;
                protocol::written(&recording::record(&self.generations, &policy, bounds, client).await?)
            }
            ControlCommand::PluginRecordStop { policy } => {
                protocol::written(&recording::stop(&self.generations, policy)?)
            }
            ControlCommand::TokenForget { digest } => protocol::written(&self.forget(&digest)?),
        }
    }

    async fn roll_back(&self, to: Option<u64>) -> Result<protocol::RollbackReport, String> {
        let reloader =
            self.reloader.as_ref().ok_or("without a configuration file there is no earlier generation")?;
        let RollbackResult { to, live, unkept } = reloader.roll_back(to).await?;
        Ok(protocol::RollbackReport { rolled_back_to: to, generation: live, unkept })
    }

    fn forget(&self, token: &str) -> Result<ForgottenToken, String> {
        let digest = digest_of(token).ok_or("this is no SHA-256 digest")?;
        let forgotten_by: Vec<_> = self.generations.forget(&digest).iter().map(ToString::to_string).collect();
        tracing::info!(policies = forgotten_by.join(","), "a token was forgotten");
        self.audit.token_forgotten(&forgotten_by);
        Ok(ForgottenToken { forgotten_by })
    }
}
