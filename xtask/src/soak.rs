//! A soak: all kinds of failures at once, for as long as the user wants: changes, rollbacks, revocations, malicious
//! components, upstreams that crash, and an authorization server that fails and recovers. No call may ever be decided
//! wrongly.

mod authorization_server;
mod crashing_upstream;
mod hostile;
mod plan;
mod report;
mod side;
mod starvation;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::stress::Profile;
use crate::stress::gateway::{Driver, Gateway, Place, upstream};
use crate::stress::load::{Load, Phase};
use crate::stress::state::State;
use authorization_server::AuthorizationServer;
use crashing_upstream::CrashingUpstream;
use hostile::Hostile;
use plan::Plan;
use report::Report;
use side::Sides;

const MINUTES: u64 = 10;

/// Connections whose answers are all known beforehand.
const CONNECTIONS: usize = 3;

/// Builds, runs, and reports. All data stays on this machine.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    if let Some(("--starve", rest)) = arguments.split_first().map(|(first, rest)| (*first, rest)) {
        return starvation::run(root, starvation::Arguments::parse(rest)?);
    }
    let (time, profile) = parse(arguments)?;
    let programs = profile.build(root)?;
    let directory = tempfile::tempdir()?;
    let upstream = upstream(&programs)?;
    let server = AuthorizationServer::start()?;
    let crashing = CrashingUpstream::start(&programs)?;
    let more = configuration(&server, &crashing, &upstream.address);
    let hostile = Hostile::find(root)?;
    hostile.put_harmless(directory.path())?;
    let place = Place::set(root, directory.path(), &programs, &upstream.address, &more)?;
    place.add_components(root, &["oauth2-introspection.wasm", "rbac.wasm"])?;
    let gateway = place.start()?;
    let report = soak(&place, &gateway, time, server, crashing, &hostile);
    let report = report.with_context(|| format!("witgate's log:\n{}", gateway.audit.tail()))?;
    println!("{report}");
    report.conclude()
}

fn parse(arguments: &[&str]) -> Result<(Duration, Profile)> {
    let (mut minutes, mut profile) = (MINUTES, Profile::Release);
    for pair in arguments.chunks(2) {
        match *pair {
            ["--minutes", number] => minutes = number.parse().context("`--minutes` is a number")?,
            ["--profile", name] => profile = Profile::named(name)?,
            _ => anyhow::bail!("usage: cargo xtask soak [--minutes N] [--profile release|dev]"),
        }
    }
    ensure!(minutes > 0, "it takes a minute at least");
    Ok((Duration::from_secs(minutes * 60), profile))
}

fn soak(
    place: &Place,
    gateway: &Gateway,
    time: Duration,
    server: AuthorizationServer,
    crashing: CrashingUpstream,
    hostile: &Hostile,
) -> Result<Report> {
    let mut driver = Driver::new(place, gateway, State::FIRST)?;
    let mut load = Load::start(&place.door, CONNECTIONS, driver.timeline());
    load.phase(Phase::Changing);
    let mut sides = Sides::start(place);
    let server = server.flap();
    let crashing = crashing.crash();
    let mut report = Report::default();
    let mut plan = Plan::new(place, hostile, sides.live());
    let start = Instant::now();
    while start.elapsed() < time {
        plan.step(&mut driver)?;
        report.sample(start.elapsed(), gateway.vitals()?);
    }
    load.stop();
    sides.stop();
    drop((server, crashing));
    report.judge(&load.seen(), &Arc::clone(sides.live()).tally(), gateway, driver.calls, plan.done())?;
    Ok(report)
}

/// The configuration: beside the pipeline that is judged, one with a malicious authorizer, one with an upstream that
/// crashes, and one with an authorization server that fails and recovers.
fn configuration(server: &AuthorizationServer, crashing: &CrashingUpstream, upstream: &str) -> String {
    let (endpoint, crashing) = (server.endpoint(), crashing.address());
    format!(
        r#"[upstreams.hostile]
url = "http://{upstream}/mcp"
path = "/hostile"
pipeline = {{ authenticate = ["people"], authorize = ["hostile"] }}

[upstreams.crashing]
url = "http://{crashing}/mcp"
path = "/crashing"
timeout_s = 10
pipeline = {{ authenticate = ["people"], authorize = ["everything"] }}

[upstreams.asked]
url = "http://{upstream}/mcp"
path = "/asked"
pipeline = {{ authenticate = ["asked"], authorize = ["everything"] }}

[policies.people]
kind = "api-key"
component = "api-key.wasm"
limits = {{ timeout_ms = 20000 }}
config = {{ store = "people.toml" }}

[policies.everything]
kind = "rbac"
component = "rbac.wasm"
limits = {{ timeout_ms = 20000 }}
config = {{ roles = {{ user = {{ allow = ["*"], deny = ["never"] }} }} }}

[policies.asked]
kind = "oauth2-introspection"
component = "oauth2-introspection.wasm"
limits = {{ timeout_ms = 20000 }}

[policies.asked.config]
endpoint = "{endpoint}"
client_id = "witgate"
client_secret = {{ file = "secret" }}
audience = "https://mcp.example.com/mcp"
cache_ttl_s = 0
negative_ttl_s = 0

[policies.hostile]
kind = "custom"
component = "hostile.wasm"
limits = {{ timeout_ms = 50 }}
"#
    )
}
