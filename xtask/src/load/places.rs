//! The places that are compared, and the processes behind them.

use std::process::Command;

use anyhow::{Result, bail};

use super::scene::Scene;
use super::{call, start};
use crate::servers::Server;

/// Somewhere to send calls.
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) address: String,
    pub(super) path: String,
    pub(super) credential: Option<(String, String)>,
    /// The process whose processor time counts.
    pub(super) process: u32,
}

/// All places, for as long as the servers run.
pub(super) struct Places {
    all: Vec<Place>,
    gateway: Server,
    _proxy: Server,
}

pub(super) const DIRECT: &str = "plain upstream, directly";
pub(super) const PROXY: &str = "  plain proxy";
pub(super) const KEY: &str = "  Witgate, API key";
pub(super) const TOKEN: &str = "  Witgate, JWT RS256";
pub(super) const RMCP: &str = "rmcp upstream, directly";
pub(super) const RMCP_KEY: &str = "  Witgate, API key (rmcp)";
pub(super) const RMCP_TOKEN: &str = "  Witgate, JWT RS256 (rmcp)";

impl Place {
    /// Checks that calls are answered there.
    pub(super) fn check(&self) -> Result<()> {
        let response = call::once(&self.address, &self.path, self.credential.as_ref())?;
        if !call::is_answer(&response) {
            bail!("{} does not answer the call:\n{response}", self.name);
        }
        Ok(())
    }
}

impl Places {
    /// Starts Witgate and the proxy, and names the places.
    pub(super) fn open(scene: &Scene) -> Result<Self> {
        let gateway = start::answering(scene)?;
        let mut proxy = Command::new(scene.programs.join("plain-proxy"));
        let proxy =
            Server::announced(proxy.args(["--upstream", &format!("http://{}/mcp", scene.upstream.address)]))?;
        let through = |name, path: &str, credential: &(String, String)| Place {
            name,
            address: scene.address.clone(),
            path: path.to_owned(),
            credential: Some(credential.clone()),
            process: gateway.process(),
        };
        let straight = |name, server: &Server| Place {
            name,
            address: server.address.clone(),
            path: "/mcp".to_owned(),
            credential: None,
            process: server.process(),
        };
        let all = vec![
            straight(DIRECT, &scene.upstream),
            straight(PROXY, &proxy),
            through(KEY, "/key", &scene.key),
            through(TOKEN, "/token", &scene.token),
            straight(RMCP, &scene.fixture),
            through(RMCP_KEY, "/rmcp-key", &scene.key),
            through(RMCP_TOKEN, "/rmcp-token", &scene.token),
        ];
        Ok(Self { all, gateway, _proxy: proxy })
    }

    pub(super) fn all(&self) -> &[Place] {
        &self.all
    }

    /// Resident memory of Witgate, in KiB.
    pub(super) fn gateway_memory(&self) -> Result<u64> {
        self.gateway.memory()
    }
}
