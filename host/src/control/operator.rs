//! The answers to the commands of the control socket.

use std::sync::Arc;

use serde_json::Value;

use super::protocol::{self, ControlCommand, ForgottenToken, LogLevelReport};
use super::status::StatusReader;
use super::{ControlClient, recording};
use crate::reload::{Reloader, RollbackResult};
use witgate_base::digest::digest_of;
use witgate_policy::generation::Generations;
use witgate_runtime::log::{LevelChange, Logs};

/// The handler of the control socket's commands.
pub(crate) struct Operator {
    pub(crate) status: StatusReader,
    pub(crate) generations: Arc<Generations>,
    pub(crate) reloader: Option<Arc<Reloader>>,
    /// The log. None: it belongs to the program that embeds the gateway.
    pub(crate) logs: Option<Arc<Logs>>,
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
            ControlCommand::LogLevel { level } => {
                protocol::written(&self.log_level(level.as_deref(), client)?)
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

    fn log_level(&self, wanted: Option<&str>, client: ControlClient) -> Result<LogLevelReport, String> {
        let logs = self.logs.as_ref().ok_or("the log belongs to the program that embeds Witgate")?;
        let Some(wanted) = wanted else {
            return Ok(LogLevelReport { level: logs.level(), before: None });
        };
        let LevelChange { level, before } =
            logs.set_level(wanted, &client.to_string()).map_err(|error| error.to_string())?;
        Ok(LogLevelReport { level, before: Some(before) })
    }

    fn forget(&self, token: &str) -> Result<ForgottenToken, String> {
        let digest = digest_of(token).ok_or("this is no SHA-256 digest")?;
        let forgotten_by: Vec<_> = self.generations.forget(&digest).iter().map(ToString::to_string).collect();
        tracing::info!(policies = forgotten_by.join(","), "a token was forgotten");
        Ok(ForgottenToken { forgotten_by })
    }
}
