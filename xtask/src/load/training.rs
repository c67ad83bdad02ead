//! The calls under which a profile is recorded.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Result;

use super::cores::Cores;
use super::lists::ListPlaces;
use super::measure::{CONNECTIONS, measure};
use super::places::{KEY, RMCP_KEY, RMCP_TOKEN, TOKEN, through};
use super::scene::{Installation, Upstreams};
use super::{SECONDS, SETTLED, build, need_wrk, start};

/// Starts of the gateway, so that what happens once in each of them counts, too.
const STARTS: usize = 3;

/// Calls the gateway in each way that is measured, and ends it as an operator does, so that it writes its counts.
pub(crate) fn train(root: &Path, gateway: PathBuf) -> Result<()> {
    need_wrk()?;
    let others = build::others(root)?;
    let (directory, cores) = (tempfile::tempdir()?, Cores::Shared);
    let upstreams = Upstreams::start(&others, cores)?;
    let installation = Installation::make(root, directory.path().to_owned(), gateway, &upstreams, cores)?;
    for start in 1..=STARTS {
        eprintln!("load: calls for a profile, {start} of {STARTS}");
        let gateway = start::answering(&installation)?;
        // The compiler of components works beside the first calls.
        thread::sleep(SETTLED);
        let places = through(&installation, &gateway, [KEY, TOKEN, RMCP_KEY, RMCP_TOKEN]);
        for place in &places {
            for connections in CONNECTIONS {
                measure(place, connections, SECONDS, cores)?;
                installation.forget_log()?;
            }
        }
        let [key, ..] = &places;
        ListPlaces::open(&installation, &upstreams, &gateway)?.round(key, SECONDS, cores)?;
        gateway.end()?;
    }
    Ok(())
}
