//! The report of the soak.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::side::Tally;
use crate::stress::figures::slope;
use crate::stress::gateway::Gateway;
use crate::stress::load::{Phase, Seen};
use crate::stress::vitals::Vitals;

/// Maximum delay of the log.
const LAG: Duration = Duration::from_secs(1);

/// Maximum number of printed faults of each kind.
const SHOWN: usize = 10;

#[derive(Default)]
pub(super) struct Report {
    /// The time in seconds, and the memory in bytes.
    memory: Vec<(f64, f64)>,
    first: Option<Vitals>,
    last: Option<Vitals>,
    lines: Vec<String>,
    wrong: usize,
    failed: usize,
}

impl Report {
    pub(super) fn sample(&mut self, at: Duration, vitals: Vitals) {
        let bytes = u32::try_from(vitals.memory).map_or(f64::NAN, f64::from);
        self.memory.push((at.as_secs_f64(), bytes));
        self.first.get_or_insert(vitals);
        self.last = Some(vitals);
    }

    pub(super) fn judge(
        &mut self,
        seen: &Seen,
        sides: &Tally,
        gateway: &Gateway,
        others: u64,
        done: &BTreeMap<&'static str, u64>,
    ) -> Result<()> {
        thread::sleep(LAG);
        let audit = gateway.audit.wrong();
        self.wrong = seen.wrong.len() + sides.wrong.len() + audit.len();
        self.failed = seen.failed.len() + sides.failed.len();
        let p99 = seen.times(Phase::Changing).percentile(99);
        let requests = seen.requests + others + sides.requests;
        self.say(format!("requests: {requests}, of which {} are on pipelines that break", sides.requests));
        self.say(format!("wrong decisions: {} (of which in the audit log: {})", self.wrong, audit.len()));
        self.say(format!("requests without an answer: {}", self.failed));
        self.say(format!("p99 where nothing else breaks: {p99:.1} ms"));
        for (what, times) in done {
            self.say(format!("{what}: {times}"));
        }
        let (flipped, refused) = gateway.audit.candidates();
        self.say(format!("generations: {flipped} went live, {refused} did not"));
        self.say_what_it_holds();
        for (reason, count) in gateway.audit.reasons() {
            self.say(format!("seen {count} times: {reason}"));
        }
        let (wrong, failed) =
            (seen.wrong.iter().chain(&sides.wrong).chain(&audit), seen.failed.iter().chain(&sides.failed));
        let wrong = wrong.take(SHOWN).map(|wrong| format!("WRONG: {wrong}"));
        let failed: BTreeSet<_> = failed.map(|failed| format!("unanswered: {failed}")).collect();
        self.lines.extend(wrong.chain(failed.into_iter().take(SHOWN)));
        self.lines.extend(gateway.audit.refusals().into_iter().map(|refusal| format!("refused: {refusal}")));
        Ok(())
    }

    fn say_what_it_holds(&mut self) {
        let (Some(first), Some(last)) = (self.first, self.last) else { return };
        let settled = self.memory.get(self.memory.len() / 4..).unwrap_or_default();
        let per_minute = slope(settled) * 60.0 / 1024.0;
        let now = last.memory >> 20;
        self.say(format!("resident memory: {now} MiB, and {per_minute:.1} KiB more each minute"));
        let (threads, files) = ([first.threads, last.threads], [first.files, last.files]);
        self.say(format!("threads and files at the begin and the end: {threads:?}, {files:?}"));
    }

    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    pub(super) fn conclude(&self) -> Result<()> {
        ensure!(self.wrong == 0, "{} wrong decisions", self.wrong);
        ensure!(self.failed == 0, "{} requests without an answer", self.failed);
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
