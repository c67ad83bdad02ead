//! The places that are compared.

use std::path::Path;

use anyhow::{Result, bail};

use super::call::{self, RequestKind};
use super::cores::Cores;
use super::scene::{Installation, Upstreams};
use crate::servers::Server;

/// An address to send calls to.
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) request: RequestKind,
    pub(super) address: String,
    pub(super) path: String,
    pub(super) credential: Option<(String, String)>,
    /// The process whose processor time is measured.
    pub(super) process: u32,
}

pub(super) const DIRECT: &str = "plain upstream, directly";
pub(super) const PROXY: &str = "  plain proxy";
pub(super) const KEY: &str = "  Witgate, API key";
pub(super) const TOKEN: &str = "  Witgate, JWT RS256";
pub(super) const PEER: &str = "  peer";
pub(super) const RMCP: &str = "rmcp upstream, directly";
pub(super) const RMCP_KEY: &str = "  Witgate, API key (rmcp)";
pub(super) const RMCP_TOKEN: &str = "  Witgate, JWT RS256 (rmcp)";

pub(super) const KEY_BEFORE: &str = "API key, before";
pub(super) const KEY_NOW: &str = "API key, now";
pub(super) const TOKEN_BEFORE: &str = "JWT RS256, before";
pub(super) const TOKEN_NOW: &str = "JWT RS256, now";
pub(super) const RMCP_KEY_BEFORE: &str = "API key (rmcp), before";
pub(super) const RMCP_KEY_NOW: &str = "API key (rmcp), now";

impl Place {
    /// Checks that calls to the place are answered.
    pub(super) fn check(&self) -> Result<()> {
        let response = call::once(self.request, &self.address, &self.path, self.credential.as_ref())?;
        if !call::is_answer(&response) {
            bail!("{} does not answer the call:\n{response}", self.name);
        }
        Ok(())
    }
}

/// The places that every comparison has: both upstreams without a gateway, and the plain proxy.
pub(super) struct Plain {
    pub(super) direct: Place,
    pub(super) proxy: Place,
    pub(super) rmcp: Place,
    /// The proxy's process, which ends when this value is dropped.
    pub(super) proxy_server: Server,
}

impl Plain {
    /// Starts the proxy.
    pub(super) fn open(programs: &Path, upstreams: &Upstreams, cores: Cores) -> Result<Self> {
        let mut proxy = cores.gateway(programs.join("plain-proxy"));
        let proxy = Server::announced(
            proxy.args(["--upstream", &format!("http://{}/mcp", upstreams.plain.address)]),
        )?;
        let straight = |name, server: &Server| Place {
            name,
            request: RequestKind::Call,
            address: server.address.clone(),
            path: "/mcp".to_owned(),
            credential: None,
            process: server.process(),
        };
        Ok(Self {
            direct: straight(DIRECT, &upstreams.plain),
            proxy: straight(PROXY, &proxy),
            rmcp: straight(RMCP, &upstreams.rmcp),
            proxy_server: proxy,
        })
    }
}

/// The places of a running gateway, in the order of their names.
pub(super) fn through(installation: &Installation, gateway: &Server, names: [&'static str; 4]) -> [Place; 4] {
    let [key, token, rmcp_key, rmcp_token] = names;
    let place = |name, path: &str, credential: &(String, String)| Place {
        name,
        request: RequestKind::Call,
        address: installation.address.clone(),
        path: path.to_owned(),
        credential: Some(credential.clone()),
        process: gateway.process(),
    };
    [
        place(key, "/key", &installation.key),
        place(token, "/token", &installation.token),
        place(rmcp_key, "/rmcp-key", &installation.key),
        place(rmcp_token, "/rmcp-token", &installation.token),
    ]
}
