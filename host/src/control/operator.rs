//! The answers to the commands of the control socket.

use std::sync::Arc;

use futures_util::StreamExt as _;
use ipnet::IpNet;
use serde_json::Value;

use parking_lot::Mutex;

use super::protocol::{
    self, AllowedAccess, ClearedLockouts, ControlCommand, DeniedPeersReport, EndpointSummary, ForgottenToken,
    LockoutReport, LockoutStatus, LogLevelReport, RecipeReport, TraceBegun,
};
use super::reloading::{self, ReloadReport};
use super::status::StatusReader;
use super::{ControlAnswer, ControlClient, overview, recording};
use super::{definitions, limits};
use crate::operation::OperationLog;
use crate::reload::{Reloader, RollbackResult, RollbackWish};
use crate::revocation::forget_token;
use witgate_base::digest::digest_of;
use witgate_config::resolve::network_of;
use witgate_flow::audit::{DecisionFeed, DecisionFilter};
use witgate_flow::definitions::DefinitionWatches;
use witgate_flow::lockout::{LockedOut, LockoutTable};
use witgate_policy::generation::{Generations, Recipe};
use witgate_runtime::log::{LevelChange, Logs};

/// Networks and credentials in a list.
const LISTED: usize = 1_000;

/// The handler of the control socket's commands.
pub(crate) struct Operator {
    pub(crate) status: StatusReader,
    pub(crate) generations: Arc<Generations>,
    pub(crate) reloader: Option<Arc<Reloader>>,
    /// The log. None: it belongs to the program that embeds the gateway.
    pub(crate) logs: Option<Arc<Logs>>,
    pub(crate) lockout: Arc<LockoutTable>,
    pub(crate) audit: OperationLog,
    /// The decisions for operators who watch.
    pub(crate) feed: Arc<DecisionFeed>,
    /// The definitions that upstreams show.
    pub(crate) definitions: Arc<DefinitionWatches>,
    pub(crate) endpoints: Arc<Mutex<Vec<EndpointSummary>>>,
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
    ) -> Result<ControlAnswer, String> {
        match command {
            ControlCommand::Trace { subject, tool, outcome, upstream } => {
                self.watch(DecisionFilter { subject, target: tool, outcome, upstream }, client)
            }
            command => self.answer_once(command, client).await.map(ControlAnswer::One),
        }
    }

    async fn answer_once(&self, command: ControlCommand, client: ControlClient) -> Result<Value, String> {
        match command {
            ControlCommand::Status => {
                let live = self.generations.live();
                protocol::written(&overview::overview(
                    &self.status,
                    &live,
                    (&self.definitions, &self.endpoints.lock()),
                ))
            }
            ControlCommand::PluginList => protocol::written(&self.status.read(&self.definitions)),
            ControlCommand::Reload { check } => protocol::written(&self.reload(check, client).await?),
            ControlCommand::PluginDiff => protocol::written(&self.status.differences()),
            ControlCommand::PluginRollback { to, allow_new_access: allows_new_access } => {
                let wish = RollbackWish { to, allows_new_access };
                protocol::written(&self.roll_back(wish, client).await?)
            }
            ControlCommand::PluginAllowAccess { change } => {
                protocol::written(&self.allow_access(&change, client)?)
            }
            ControlCommand::GenerationRecipe { generation } => {
                protocol::written(&self.recipe_of(generation)?)
            }
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
            ControlCommand::TokenForget { digest } => protocol::written(&self.forget(&digest, client)?),
            ControlCommand::Limits => protocol::written(&limits::report(&self.generations)),
            ControlCommand::LockoutList => protocol::written(&self.locked_out()),
            ControlCommand::LockoutClear { address } => {
                protocol::written(&self.clear(address.as_deref(), client)?)
            }
            ControlCommand::PeersDeny { network } => protocol::written(&self.deny(&network, client)?),
            ControlCommand::PeersAllow { network } => protocol::written(&self.allow(&network, client)?),
            ControlCommand::PeersList => protocol::written(&self.denied_peers()),
            ControlCommand::UpstreamList => {
                protocol::written(&definitions::upstreams(&self.generations.live(), &self.definitions))
            }
            ControlCommand::UpstreamDefinitions { upstream } => {
                let live = self.generations.live();
                protocol::written(&definitions::shown(&live, &self.definitions, &upstream)?)
            }
            ControlCommand::Trace { .. } => Err("this command has more than one answer".to_owned()),
        }
    }

    /// The decisions that fulfil `filter`, as they are made.
    fn watch(&self, filter: DecisionFilter, client: ControlClient) -> Result<ControlAnswer, String> {
        let decisions = self.feed.watch(filter).ok_or("too many operators watch decisions already")?;
        let ControlClient { uid, pid } = client;
        tracing::info!(uid, pid, "an operator watches decisions");
        let begun = protocol::written(&TraceBegun { generation: self.generations.live().number() })?;
        let begun = futures_util::stream::iter([begun.to_string()]);
        Ok(ControlAnswer::Many(begun.chain(decisions).boxed()))
    }

    async fn reload(&self, check: bool, client: ControlClient) -> Result<ReloadReport, String> {
        let reloader = self.reloader.as_ref().ok_or("there is no configuration file to reload")?;
        if check {
            return reloading::check(reloader).await;
        }
        let ControlClient { uid, pid } = client;
        tracing::info!(uid, pid, "an operator asks for a reload");
        Ok(reloading::reload(reloader).await)
    }

    async fn roll_back(
        &self,
        wish: RollbackWish,
        client: ControlClient,
    ) -> Result<protocol::RollbackReport, String> {
        let reloader =
            self.reloader.as_ref().ok_or("without a configuration file there is no earlier generation")?;
        let RollbackResult { to, live, unkept } = reloader.roll_back(wish, client.into()).await?;
        Ok(protocol::RollbackReport { rolled_back_to: to, generation: live, unkept })
    }

    fn allow_access(&self, change: &str, client: ControlClient) -> Result<AllowedAccess, String> {
        let reloader = self.reloader.as_ref().ok_or("without a configuration file there are no changes")?;
        reloader.allow_new_access(change, client.into())?;
        Ok(AllowedAccess { generation: self.generations.live().number() })
    }

    /// The recipe of a generation that is kept.
    fn recipe_of(&self, generation: u64) -> Result<RecipeReport, String> {
        let kept = self.generations.kept();
        let found = kept.iter().find(|kept| kept.number == generation).ok_or_else(|| {
            let numbers: Vec<_> = kept.iter().map(|kept| kept.number.to_string()).collect();
            format!(
                "generation {generation} is not kept; there are {} (`witgate plugin list`)",
                numbers.join(", ")
            )
        })?;
        let recipe = Recipe::clone(&found.recipe);
        Ok(RecipeReport { generation, is_whole: found.is_whole, recipe })
    }

    fn log_level(&self, wanted: Option<&str>, client: ControlClient) -> Result<LogLevelReport, String> {
        let logs = self.logs.as_ref().ok_or("the log belongs to the program that embeds Witgate")?;
        let Some(wanted) = wanted else {
            return Ok(LogLevelReport { level: logs.level(), before: None });
        };
        let LevelChange { level, before } =
            logs.set_level(wanted, &client.to_string()).map_err(|error| error.to_string())?;
        self.audit.log_level_changed(&level, &before, client.into());
        Ok(LogLevelReport { level, before: Some(before) })
    }

    fn locked_out(&self) -> LockoutReport {
        let status = |LockedOut { network, failures, rest }: LockedOut| LockoutStatus {
            network: network.map(|network| network.to_string()),
            failures,
            rest_s: rest.as_secs() + u64::from(rest.subsec_nanos() > 0),
        };
        let locked = self.lockout.list(LISTED).into_iter().map(status).collect();
        LockoutReport { is_configured: self.generations.live().lockout().is_some(), locked }
    }

    fn clear(&self, address: Option<&str>, client: ControlClient) -> Result<ClearedLockouts, String> {
        let peer = address.map(|text| text.parse().map_err(|_| format!("`{text}` is no address")));
        let cleared = self.lockout.clear(peer.transpose()?);
        self.audit.lockout_cleared(cleared, address, client.into());
        tracing::info!(cleared, address, "failed authentications were forgotten");
        Ok(ClearedLockouts { cleared })
    }

    fn deny(&self, network: &str, client: ControlClient) -> Result<DeniedPeersReport, String> {
        let network = network_in(network)?;
        self.generations.denied_peers().deny(network).map_err(|error| error.to_string())?;
        self.audit.peers_denied(network, client.into());
        tracing::info!(%network, "peers are denied");
        Ok(self.denied_peers())
    }

    fn allow(&self, network: &str, client: ControlClient) -> Result<DeniedPeersReport, String> {
        let network = network_in(network)?;
        if !self.generations.denied_peers().allow(network) {
            return Err(self.still_denied(network));
        }
        self.audit.peers_allowed(network, client.into());
        tracing::info!(%network, "peers are allowed again");
        Ok(self.denied_peers())
    }

    fn still_denied(&self, network: IpNet) -> String {
        let configured = self.denied_peers().configured;
        if configured.contains(&network.to_string()) {
            return format!("the configuration denies {network}: remove it from `server.deny_peers`");
        }
        format!(
            "`witgate peers deny` has not denied exactly {network}; `witgate peers list` shows what it has"
        )
    }

    fn denied_peers(&self) -> DeniedPeersReport {
        let texts = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect();
        DeniedPeersReport {
            configured: texts(self.generations.live().denied_peers()),
            denied: texts(&self.generations.denied_peers().all()),
        }
    }

    fn forget(&self, token: &str, client: ControlClient) -> Result<ForgottenToken, String> {
        let digest = digest_of(token).ok_or("this is no SHA-256 digest")?;
        let forgotten_by = forget_token(&self.generations, &self.audit, &digest, client.into());
        Ok(ForgottenToken { forgotten_by })
    }
}

fn network_in(text: &str) -> Result<IpNet, String> {
    network_of(text).map_err(|(message, help)| format!("{message}; {help}"))
}
