//! Another gateway, which gets the same calls.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::call::{self, RequestKind};
use super::cores::Cores;
use super::places::{PEER, Place};
use super::scene::free_address;
use crate::servers::Server;

/// Gateways in interpreted languages start slowly.
const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(50);

/// The options of a peer.
#[derive(Debug)]
pub(super) struct PeerOptions {
    /// A shell command that serves the MCP server at `$UPSTREAM` (a URL) on `$LISTEN` (an address with a port).
    pub(super) command: String,
    /// The path of its endpoint.
    pub(super) path: String,
    /// The header with the credential that it expects.
    pub(super) header: Option<(String, String)>,
}

impl PeerOptions {
    pub(super) fn of(command: &str) -> Self {
        Self { command: command.to_owned(), path: "/mcp".to_owned(), header: None }
    }

    /// Reads `NAME: VALUE`.
    pub(super) fn header(text: &str) -> Result<(String, String)> {
        let (name, value) = text.split_once(':').context("a header is written `NAME: VALUE`")?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    }

    /// Starts it in front of `upstream`, and waits until it answers.
    pub(super) fn start(&self, upstream: &Server, cores: Cores) -> Result<(Place, Server)> {
        let address = free_address()?;
        let mut shell = cores.gateway("sh");
        // The process is the gateway's own, whose processor time counts.
        shell.args(["-c", &format!("exec {}", self.command)]);
        shell.env("UPSTREAM", format!("http://{}/mcp", upstream.address)).env("LISTEN", &address);
        let mut server = Server::silent(&mut shell, &address)?;
        let place = Place {
            name: PEER,
            request: RequestKind::Call,
            address,
            path: self.path.clone(),
            credential: self.header.clone(),
            process: server.process(),
        };
        let begin = Instant::now();
        let mut last = None;
        while begin.elapsed() < PATIENCE && !server.has_ended() {
            match call::once(place.request, &place.address, &place.path, place.credential.as_ref()) {
                Ok(response) if call::is_answer(&response) => return Ok((place, server)),
                other => last = Some(other),
            }
            thread::sleep(PAUSE);
        }
        let state = if server.has_ended() { "has ended" } else { "does not answer the call with a result" };
        bail!("the peer `{}` {state}; last response: {last:?}", self.command)
    }
}
