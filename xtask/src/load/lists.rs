//! The cost of filtering lists, and how much a long one delays others.

use std::fmt::{self, Display};
use std::thread;

use anyhow::{Result, bail};

use super::call::RequestKind;
use super::cores::Cores;
use super::measure::measure;
use super::median::median;
use super::places::Place;
use super::scene::{Installation, LISTS, Upstreams};
use crate::servers::Server;

/// The figures of one round: latencies in milliseconds.
struct ListFigures {
    /// For each length, the time of a list directly, and through Witgate.
    took: Vec<[f64; 2]>,
    /// The p99 of calls beside a caller of the longest list, and alone.
    beside: f64,
    alone: f64,
}

/// The places of lists: each directly and through Witgate.
pub(super) struct ListPlaces {
    pairs: Vec<[Place; 2]>,
    rounds: Vec<ListFigures>,
}

impl ListPlaces {
    pub(super) fn open(installation: &Installation, upstreams: &Upstreams, gateway: &Server) -> Result<Self> {
        let place = |length: usize, name, server: &Server, address: &str, credential| Place {
            name,
            request: RequestKind::List,
            address: address.to_owned(),
            path: format!("/list/{length}"),
            credential,
            process: server.process(),
        };
        let pair = |length| {
            let (plain, key) = (&upstreams.plain, installation.key.clone());
            [
                place(length, "list, directly", plain, &plain.address, None),
                place(length, "list, Witgate", gateway, &installation.address, Some(key)),
            ]
        };
        let places = Self { pairs: LISTS.map(pair).into(), rounds: Vec::new() };
        places.pairs.iter().flatten().try_for_each(Place::check)?;
        Ok(places)
    }

    /// Measures a round. `calls` is the place of other callers.
    pub(super) fn round(&mut self, calls: &Place, seconds: u32, cores: Cores) -> Result<()> {
        let mut took = Vec::new();
        for [direct, through] in &self.pairs {
            let direct = measure(direct, 1, seconds, cores)?;
            took.push([direct.p50 / 1e3, measure(through, 1, seconds, cores)?.p50 / 1e3]);
        }
        let Some([_, longest]) = self.pairs.last() else { bail!("there is no list") };
        let alone = measure(calls, 1, seconds, cores)?.p99;
        let beside = thread::scope(|scope| {
            let lists = scope.spawn(|| measure(longest, 1, seconds, cores));
            let calls = measure(calls, 1, seconds, cores);
            lists.join().map_err(|_| anyhow::anyhow!("the caller of lists panicked"))??;
            calls
        })?;
        self.rounds.push(ListFigures { took, beside: beside.p99 / 1e3, alone: alone / 1e3 });
        Ok(())
    }
}

impl Display for ListPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| lists | |\n|---|---|")?;
        for (n, length) in LISTS.iter().enumerate() {
            let of = |figure: fn(&[f64; 2]) -> f64| {
                median(self.rounds.iter().filter_map(|round| round.took.get(n)).map(figure))
            };
            let (direct, through) = (of(|[direct, _]| *direct), of(|[_, through]| *through));
            let added = of(|[direct, through]| through - direct);
            writeln!(f, "| {length} tools: p50 at 1, directly | {direct:.2} ms |")?;
            writeln!(f, "| {length} tools: p50 at 1, Witgate | {through:.2} ms |")?;
            writeln!(f, "| {length} tools: p50 at 1, more than directly | {added:.2} ms |")?;
        }
        let beside = median(self.rounds.iter().map(|round| round.beside));
        let alone = median(self.rounds.iter().map(|round| round.alone));
        let ratio = median(self.rounds.iter().map(|round| round.beside / round.alone));
        writeln!(
            f,
            "| calls beside the longest list / alone: p99 at 1 | {beside:.2} / {alone:.2} ms = {ratio:.1} |"
        )
    }
}
