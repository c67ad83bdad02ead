//! The report: medians, ratios, and their targets.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::measure::{CONNECTIONS, Figures};
use super::median::median;
use super::places::{DIRECT, KEY, PEER, PROXY, RMCP, RMCP_KEY, RMCP_TOKEN, TOKEN};

/// One of the figures.
type Figure = fn(&Figures) -> f64;

/// Everything that was measured.
pub(super) struct Report {
    start: f64,
    idle: u64,
    loaded: u64,
    runs: BTreeMap<(&'static str, u32), Vec<Figures>>,
}

impl Report {
    pub(super) fn new(start: f64) -> Self {
        Self { start, idle: 0, loaded: 0, runs: BTreeMap::new() }
    }

    pub(super) fn idle(&mut self, memory: u64) {
        self.idle = memory;
    }

    pub(super) fn under_load(&mut self, memory: u64) {
        self.loaded = memory;
    }

    pub(super) fn add(&mut self, place: &'static str, connections: u32, figures: Figures) {
        self.runs.entry((place, connections)).or_default().push(figures);
    }

    fn of(&self, place: &'static str, connections: u32, figure: Figure) -> f64 {
        median(self.runs.get(&(place, connections)).into_iter().flatten().map(figure))
    }

    /// The median ratio of two places, taken within each round.
    fn ratio(&self, places: [&'static str; 2], connections: u32, figure: Figure) -> f64 {
        let [of, to] = places.map(|place| self.runs.get(&(place, connections)).into_iter().flatten());
        median(of.zip(to).map(|(of, to)| figure(of) / figure(to)))
    }

    fn targets(&self) -> Vec<(String, f64, Bound)> {
        use Bound::{AtLeast, AtMost};
        let mut targets = Vec::new();
        for (of, to, share, p50) in [
            (KEY, PROXY, 0.75, 1.5),
            (TOKEN, PROXY, 0.70, 1.5),
            (RMCP_KEY, RMCP, 0.58, 2.2),
            (RMCP_TOKEN, RMCP, 0.58, 2.2),
        ] {
            let pair = format!("{} / {}", of.trim(), to.trim());
            let rate = self.ratio([of, to], 32, |f| f.per_second);
            targets.push((format!("{pair}: requests/s at 32"), rate, AtLeast(share)));
            targets.push((format!("{pair}: p50 at 1"), self.ratio([of, to], 1, |f| f.p50), AtMost(p50)));
            if to == PROXY {
                let p99 = self.ratio([of, to], 32, |f| f.p99);
                targets.push((format!("{pair}: p99 at 32"), p99, AtMost(1.5)));
            }
        }
        targets.push((
            "gateway µs of processor per request at 32".into(),
            self.of(KEY, 32, |f| f.cpu),
            AtMost(35.0),
        ));
        targets.push(("start to first answered call, ms".into(), self.start, AtMost(20.0)));
        targets.push(("resident when idle, MiB".into(), mebibytes(self.idle), AtMost(40.0)));
        targets.push(("resident after load, MiB".into(), mebibytes(self.loaded), AtMost(55.0)));
        targets
    }
}

fn mebibytes(kibibytes: u64) -> f64 {
    u32::try_from(kibibytes).map_or(f64::NAN, f64::from) / 1024.0
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| place | connections | requests/s | p50 µs | p99 µs | server µs/request |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for place in [DIRECT, PROXY, KEY, TOKEN, PEER, RMCP, RMCP_KEY, RMCP_TOKEN] {
            if !self.runs.contains_key(&(place, 1)) {
                continue;
            }
            for connections in CONNECTIONS {
                let of = |figure| self.of(place, connections, figure);
                let (rate, cpu) = (of(|f| f.per_second), of(|f| f.cpu));
                let (p50, p99) = (of(|f| f.p50), of(|f| f.p99));
                writeln!(f, "| {place} | {connections} | {rate:.0} | {p50:.0} | {p99:.0} | {cpu:.1} |")?;
            }
        }
        writeln!(f, "\n| measure | target | reached | |\n|---|---|---|---|")?;
        for (measure, value, bound) in self.targets() {
            let verdict = if bound.holds(value) { "" } else { "missed" };
            writeln!(f, "| {measure} | {bound} | {value:.2} | {verdict} |")?;
        }
        if self.runs.contains_key(&(PEER, 1)) {
            writeln!(f, "\n| Witgate, API key / peer | 1 connection | 32 connections |\n|---|---|---|")?;
            let figures: [(&str, Figure); 4] = [
                ("requests/s", |f| f.per_second),
                ("p50", |f| f.p50),
                ("p99", |f| f.p99),
                ("processor time per request", |f| f.cpu),
            ];
            for (name, figure) in figures {
                let [one, many] = CONNECTIONS.map(|number| self.ratio([KEY, PEER], number, figure));
                writeln!(f, "| {name} | {one:.2} | {many:.2} |")?;
            }
        }
        Ok(())
    }
}
