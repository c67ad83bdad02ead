//! The report of the soak.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::callers::Callers;
use crate::stress::gateway::Way;
use crate::stress::state::State;

/// Maximum number of printed faults of each kind.
const SHOWN: usize = 10;

/// The observations during one shortage.
#[derive(Default)]
struct Row {
    shortages: u64,
    revocations: u64,
    /// Commands that said that they could not write.
    unwritten: u64,
    /// Time from the end of the shortage to the refusal of a revoked key.
    revoked: Duration,
    changes: u64,
    changed: Duration,
}

#[derive(Default)]
pub(super) struct Report {
    rows: BTreeMap<String, Row>,
    pending: Option<(Way, State)>,
    late: Vec<String>,
    lost: Vec<String>,
    wrong: Vec<String>,
    restarts: Vec<String>,
    panics: Vec<String>,
    lines: Vec<String>,
    hung: usize,
    keys_good: Duration,
}

impl Report {
    pub(super) fn shortage(&mut self, name: &str) {
        self.row(name).shortages += 1;
    }

    /// Records that a change has begun; `was` is the state before it.
    pub(super) fn changing(&mut self, way: Way, was: State) {
        self.pending = Some((way, was));
    }

    pub(super) fn change(&mut self) -> Option<(Way, State)> {
        self.pending.take()
    }

    pub(super) fn changed(&mut self, shortage: &str, way: Way, took: Duration, bound: Duration) {
        let row = self.row(shortage);
        row.changes += 1;
        row.changed = row.changed.max(took);
        if took > bound {
            self.late.push(format!("{way:?}: {took:.1?} after a shortage of {shortage}"));
        }
    }

    pub(super) fn revoked(&mut self, shortage: &str, took: Duration, bound: Duration) {
        let row = self.row(shortage);
        row.revocations += 1;
        row.revoked = row.revoked.max(took);
        if took > bound {
            self.late.push(format!("a revocation: {took:.1?} after a shortage of {shortage}"));
        }
    }

    /// Records that new keys are valid, and the time from their creation, without a shortage.
    pub(super) fn keys_good(&mut self, took: Duration, bound: Duration) {
        self.keys_good = self.keys_good.max(took);
        if took > bound {
            self.late.push(format!("new keys: {took:.1?} after they were written"));
        }
    }

    pub(super) fn said_that_it_could_not(&mut self, shortage: &str) {
        self.row(shortage).unwritten += 1;
    }

    pub(super) fn lost(&mut self, what: String) {
        eprintln!("LOST: {what}");
        self.lost.push(what);
    }

    pub(super) fn wrong(&mut self, what: String) {
        eprintln!("WRONG: {what}");
        self.wrong.push(what);
    }

    pub(super) fn restarted(&mut self, shortage: &str, log: &str) {
        let last = log.lines().last().unwrap_or_default().chars().take(400).collect::<String>();
        self.restarts.push(format!("{shortage}: {last}"));
    }

    /// Records new panics; `all` are those of the whole run until now.
    pub(super) fn panicked(&mut self, shortage: &str, all: Vec<String>) {
        let new = all.into_iter().skip(self.panics.len());
        self.panics.extend(new.map(|panic| format!("{shortage}: {panic}")));
    }

    pub(super) fn seen(&mut self, callers: &Callers) {
        let findings = callers.seen();
        self.lines.push(format!("calls: {}, of which {} got no answer", findings.calls, findings.unanswered));
        for (reason, count) in &findings.short {
            self.lines.push(format!("refused {count} times for want of something: {reason}"));
        }
        self.lines.push(format!("the last of these came {:.1?} after a shortage", findings.longest_short));
        self.lines.extend(findings.hung.iter().take(SHOWN).map(|hung| format!("HUNG: {hung}")));
        self.hung = findings.hung.len();
        self.wrong.extend(findings.wrong.iter().cloned());
    }

    fn row(&mut self, name: &str) -> &mut Row {
        self.rows.entry(name.to_owned()).or_default()
    }

    pub(super) fn conclude(&self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "{} wrong answers", self.wrong.len());
        ensure!(self.lost.is_empty(), "{} changes were lost", self.lost.len());
        ensure!(self.late.is_empty(), "{} changes were late", self.late.len());
        ensure!(self.panics.is_empty(), "{} panics", self.panics.len());
        ensure!(self.hung == 0, "{} calls hung", self.hung);
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            ["short", "times", "revocations", "not written", "in force after", "changes", "in force after"];
        let [name, times, revocations, unwritten, revoked, changes, changed] = head;
        writeln!(
            f,
            "{name:<32}{times:>7}{revocations:>13}{unwritten:>13}{revoked:>16}{changes:>9}{changed:>16}"
        )?;
        for (name, row) in &self.rows {
            let Row { shortages, revocations, unwritten, changes, .. } = row;
            let (revoked, changed) = (row.revoked.as_secs_f64(), row.changed.as_secs_f64());
            writeln!(
                f,
                "{name:<32}{shortages:>7}{revocations:>13}{unwritten:>13}{revoked:>14.2} s{changes:>9}{changed:>14.2} s"
            )?;
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "new keys were good within {:.2} s", self.keys_good.as_secs_f64())?;
        writeln!(f, "wrong answers: {}", self.wrong.len())?;
        writeln!(
            f,
            "revocations and changes that were late: {}, lost: {}",
            self.late.len(),
            self.lost.len()
        )?;
        writeln!(
            f,
            "times that the gateway ended for want of memory and was started again: {}",
            self.restarts.len()
        )?;
        writeln!(f, "panics: {}", self.panics.len())?;
        let kinds = [
            ("WRONG", &self.wrong),
            ("LATE", &self.late),
            ("LOST", &self.lost),
            ("ENDED", &self.restarts),
            ("PANIC", &self.panics),
        ];
        for (kind, faults) in kinds {
            faults.iter().take(SHOWN).try_for_each(|fault| writeln!(f, "{kind}: {fault}"))?;
        }
        Ok(())
    }
}
