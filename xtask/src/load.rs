//! Measures the cost of the whole gateway: the same calls go to an upstream directly, through a proxy that checks
//! nothing, and through Witgate with its checks as components. The places take turns, so that other work on the
//! machine affects all of them alike.

mod build;
mod call;
mod comparison;
mod cores;
mod guesses;
mod lists;
mod measure;
mod median;
mod options;
mod peer;
mod places;
mod report;
mod revisions;
mod scene;
mod settings;
mod start;
mod training;
mod wrong_keys;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use build::Programs;
use cores::Cores;
use lists::ListPlaces;
use measure::{CONNECTIONS, measure};
use options::Options;
use peer::PeerOptions;
use places::{KEY, Plain, RMCP_KEY, RMCP_TOKEN, TOKEN, through};
use report::Report;
use scene::{Installation, Upstreams};
pub(crate) use training::train;
use witgate_build::apt;
use witgate_build::process::works;

/// Seconds of calls to each place in a round. With seven places, two numbers of connections and five rounds, a run
/// takes minutes.
const SECONDS: u32 = 3;

/// Time after the start in which the allocator returns what only the start needed.
const SETTLED: Duration = Duration::from_secs(3);

/// Builds, measures, and prints the table. All data stays on this machine.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments)?;
    need_wrk()?;
    let gateway = options.gateway.as_deref();
    match &options.against {
        _ if options.settings => settings::run(root, gateway, options.rounds()),
        Some(revision) => revisions::run(root, revision, gateway, options.rounds()),
        None => alone(root, gateway, options.rounds(), options.peer.as_ref()),
    }
}

/// Measures one gateway, and a peer if there is one.
fn alone(root: &Path, gateway: Option<&Path>, rounds: usize, peer: Option<&PeerOptions>) -> Result<()> {
    let Programs { gateway, others } = Programs::build(root, gateway)?;
    let directory = tempfile::tempdir()?;
    let cores = Cores::Shared;
    let upstreams = Upstreams::start(&others, cores)?;
    let installation = Installation::make(root, directory.path().to_owned(), gateway, &upstreams, cores)?;
    let mut report = Report::new(start::measure(&installation)?);
    let gateway = start::answering(&installation)?;
    let Plain { direct, proxy, rmcp, proxy_server: _server } = Plain::open(&others, &upstreams, cores)?;
    let [key, token, rmcp_key, rmcp_token] =
        through(&installation, &gateway, [KEY, TOKEN, RMCP_KEY, RMCP_TOKEN]);
    let mut places = vec![direct, proxy, key, token, rmcp, rmcp_key, rmcp_token];
    let mut lists = ListPlaces::open(&installation, &upstreams, &gateway)?;
    let peer = peer.map(|peer| peer.start(&upstreams.plain, cores)).transpose()?;
    let (peer, _peer_server) = peer.unzip();
    places.extend(peer);
    thread::sleep(SETTLED);
    report.idle(gateway.memory()?);
    for place in &places {
        place.check()?;
    }
    for round in 1..=rounds {
        eprintln!("load: round {round} of {rounds}");
        for connections in CONNECTIONS {
            for place in &places {
                report.add(place.name, connections, measure(place, connections, SECONDS, cores)?);
                installation.forget_log()?;
            }
        }
    }
    report.under_load(gateway.memory()?);
    if let Some(key) = places.iter().find(|place| place.name == KEY) {
        for round in 1..=rounds {
            eprintln!("load: lists: round {round} of {rounds}");
            lists.round(key, SECONDS, cores)?;
        }
    }
    println!("{report}{lists}");
    Ok(())
}

fn need_wrk() -> Result<()> {
    // wrk ends with an error for every option, so that the shell looks for its path.
    let is_installed = || works(Command::new("sh").args(["-c", "command -v wrk"]));
    if !is_installed() {
        apt::install(&["wrk"]).context("`wrk` is missing: install Debian's package of that name")?;
    }
    Ok(())
}
