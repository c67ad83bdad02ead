//! The comparison of two builds of the gateway, called in turns.

use std::path::Path;

use anyhow::Result;

use super::build::Programs;
use super::comparison::Comparison;
use super::cores::Cores;
use super::measure::{CONNECTIONS, measure};
use super::places::{
    KEY_BEFORE, KEY_NOW, Place, Plain, RMCP_KEY_BEFORE, RMCP_KEY_NOW, TOKEN_BEFORE, TOKEN_NOW, through,
};
use super::scene::{Installation, Upstreams};
use super::{build, start};

/// Seconds of calls to each place in a round: short, so that other work on the machine affects both builds alike.
const SECONDS: u32 = 1;

/// Compares this build with that of another commit, first with all processes on the same cores, then with the gateway
/// alone on one core.
pub(super) fn run(root: &Path, revision: &str, gateway: Option<&Path>, rounds: usize) -> Result<()> {
    let before = build::revision(root, revision)?;
    let programs = Programs::build(root, gateway)?;
    for cores in [Cores::Shared, Cores::Apart] {
        let comparison = compare(root, &programs, &before, cores, rounds)?;
        println!("\n{cores}, {rounds} rounds; before: {revision}\n\n{comparison}");
    }
    Ok(())
}

fn compare(
    root: &Path,
    programs: &Programs,
    before: &Path,
    cores: Cores,
    rounds: usize,
) -> Result<Comparison> {
    let directory = tempfile::tempdir()?;
    let upstreams = Upstreams::start(&programs.others, cores)?;
    let make = |name: &str, program: &Path| {
        Installation::make(root, directory.path().join(name), program.to_owned(), &upstreams, cores)
    };
    let installations = [make("before", before)?, make("now", &programs.gateway)?];
    let [first, second] = &installations;
    let (first_gateway, second_gateway) = (start::answering(first)?, start::answering(second)?);
    let Plain { direct: _, proxy, rmcp, proxy_server: _server } =
        Plain::open(&programs.others, &upstreams, cores)?;
    let [key_before, token_before, rmcp_before, _] =
        through(first, &first_gateway, [KEY_BEFORE, TOKEN_BEFORE, RMCP_KEY_BEFORE, ""]);
    let [key, token, rmcp_key, _] = through(second, &second_gateway, [KEY_NOW, TOKEN_NOW, RMCP_KEY_NOW, ""]);
    let mut places = [proxy, key_before, key, token_before, token, rmcp, rmcp_before, rmcp_key];
    for place in &places {
        place.check()?;
    }
    let mut comparison = Comparison::default();
    for round in 1..=rounds {
        eprintln!("load: {cores}: round {round} of {rounds}");
        call_each(&places, cores, &mut comparison)?;
        installations.iter().try_for_each(Installation::forget_log)?;
        // The second place of a round benefits from warm caches, and suffers from a warm processor. Turns cancel that.
        places.reverse();
    }
    Ok(comparison)
}

fn call_each(places: &[Place], cores: Cores, comparison: &mut Comparison) -> Result<()> {
    for connections in CONNECTIONS {
        for place in places {
            comparison.add(place.name, connections, measure(place, connections, SECONDS, cores)?);
        }
    }
    Ok(())
}
