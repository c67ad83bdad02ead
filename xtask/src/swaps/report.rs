//! The one table: each measurement, its target, and whether the target is met.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::stress::figures::{Times, slope};
use crate::stress::gateway::{Gateway, Way};
use crate::stress::load::{Phase, Seen};
use crate::stress::vitals::Vitals;

/// Maximum delay of the log.
const LAG: Duration = Duration::from_secs(5);

/// All measurements.
pub(super) struct Report {
    swaps: usize,
    rows: Vec<Row>,
    notes: Vec<String>,
    ways: BTreeMap<&'static str, Times>,
    memory: Vec<(f64, f64)>,
    before: Option<(Vitals, u64)>,
    unforgivable: usize,
}

struct Row {
    measure: String,
    target: Option<f64>,
    reached: f64,
}

impl Report {
    pub(super) fn new(swaps: usize) -> Self {
        let (rows, notes, ways, memory) = Default::default();
        Self { swaps, rows, notes, ways, memory, before: None, unforgivable: 0 }
    }

    pub(super) fn begin(&mut self, vitals: Vitals, instances: u64) {
        self.before = Some((vitals, instances));
    }

    pub(super) fn swapped(&mut self, way: Way, took: Duration) {
        let name = match way {
            Way::Rename => "renamed over",
            Way::InPlace => "written in place",
            Way::Flip => "link flipped",
            Way::Config => "configuration edited",
        };
        self.ways.entry(name).or_default().add(took);
    }

    pub(super) fn sample(&mut self, swaps: usize, vitals: Vitals) {
        self.memory.push((whole(swaps), bytes(vitals.memory)));
    }

    pub(super) fn took(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.notes.push(format!("{} swaps in {seconds:.0} s, one after the other", self.swaps));
    }

    pub(super) fn end(&mut self, vitals: Vitals, instances: u64) {
        // During the first quarter the allocator finds its size.
        let settled = self.memory.get(self.memory.len() / 4..).unwrap_or_default();
        let slope = slope(settled);
        self.row("resident memory, bytes per swap", Some(100.0), slope);
        let Some((before, instances_before)) = self.before else { return };
        let mebibytes = |vitals: Vitals| bytes(vitals.memory) / f64::from(1 << 20);
        self.notes.push(format!(
            "at the begin and the end: {:.1} and {:.1} MiB, {} and {} threads, {} and {} files, {instances_before} and \
             {instances} instances",
            mebibytes(before),
            mebibytes(vitals),
            before.threads,
            vitals.threads,
            before.files,
            vitals.files,
        ));
        let more = |after: usize, before: usize| whole(after) - whole(before);
        // The pool of blocking threads grows when they are needed, and shrinks after seconds.
        self.row("threads more", Some(2.0), more(vitals.threads, before.threads));
        self.row("file descriptors more", Some(2.0), more(vitals.files, before.files));
        let more = bytes(instances) - bytes(instances_before);
        self.row("instances more", Some(4.0), more);
    }

    pub(super) fn time(&mut self, what: &str, target: f64, times: Times) {
        self.row(&format!("{what} (median)"), Some(target), times.percentile(50));
        self.notes.push(format!("{what}: at most {:.1}", times.percentile(100)));
    }

    /// Compares the answers with the log.
    pub(super) fn judge(&mut self, seen: &Seen, gateway: &Gateway, others: u64) -> Result<()> {
        let total = seen.requests + others;
        let start = Instant::now();
        while gateway.audit.answered() < total && start.elapsed() < LAG {
            thread::sleep(Duration::from_millis(20));
        }
        let (recorded, wrong) = (gateway.audit.answered(), gateway.audit.wrong());
        let (flipped, refused) = gateway.audit.candidates();
        self.notes.push(format!("{total} requests, {recorded} lines of audit; {flipped} generations went live, {refused} candidates did not"));
        self.notes.extend(gateway.audit.refusals().into_iter().take(5));
        let unrecorded = bytes(total) - bytes(recorded);
        let quiet = seen.times(Phase::Quiet).percentile(99);
        let changing = seen.times(Phase::Changing).percentile(99);
        self.notes.push(format!("p99 without swaps {quiet:.2} ms, with {changing:.2} ms"));
        let first = [
            ("requests failed", 0.0, whole(seen.failed.len())),
            ("answers that are of no generation", 0.0, whole(seen.wrong.len())),
            ("audit lines that are not of their generation", 0.0, whole(wrong.len())),
            ("requests without an audit line, or lines without one", 0.0, unrecorded.abs()),
            ("p99 while swapping / p99 without", 2.0, changing / quiet),
        ];
        let rows = first.map(|(measure, target, reached)| Row::new(measure, Some(target), reached));
        self.unforgivable = rows.iter().take(4).filter(|row| row.is_missed()).count();
        self.rows.splice(0..0, rows);
        let bad = seen.failed.iter().chain(&seen.wrong).chain(&wrong);
        self.notes.extend(bad.take(10).map(|bad| format!("bad: {bad}")));
        for (way, times) in &self.ways {
            let [middle, most] = [50, 99].map(|share| times.percentile(share));
            self.notes.push(format!(
                "{way}, under load: median {middle:.1} ms, p99 {most:.1} ms, of {}",
                times.count()
            ));
        }
        Ok(())
    }

    /// Prints missed targets, and fails if a caller lost a call.
    pub(super) fn conclude(&self) -> Result<()> {
        ensure!(self.unforgivable == 0, "requests were lost or wrongly decided");
        Ok(())
    }

    fn row(&mut self, measure: &str, target: Option<f64>, reached: f64) {
        self.rows.push(Row::new(measure, target, reached));
    }
}

impl Row {
    fn new(measure: &str, target: Option<f64>, reached: f64) -> Self {
        Self { measure: measure.to_owned(), target, reached }
    }

    fn is_missed(&self) -> bool {
        // A value that is no number meets no target.
        self.target
            .is_some_and(|target| !matches!(self.reached.partial_cmp(&target), Some(order) if order.is_le()))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| measure | target | reached | |\n|---|---|---|---|")?;
        for row in &self.rows {
            let target = row.target.map_or_else(String::new, |target| format!("≤ {target}"));
            let verdict = if row.is_missed() { "missed" } else { "" };
            writeln!(f, "| {} | {target} | {:.1} | {verdict} |", row.measure, row.reached)?;
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "- {note}"))
    }
}

fn whole(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}

fn bytes(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}
