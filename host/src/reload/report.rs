//! Reports of attempts: in the log, in the audit log, and for `witgate plugin list`.

use std::time::{Duration, Instant};

use witgate_plugin::Digest;

use super::Reloader;
use super::attempt::{Attempt, RefusalReason};
use witgate_base::clock;
use witgate_base::digest::digest_text;
use witgate_policy::generation::Generation;

impl Reloader {
    /// Logs the new generation, and for each policy whose component changed the old and the new digest.
    pub(super) fn report(&self, before: &Generation, live: &Generation, took: Duration) {
        let milliseconds = took.as_millis();
        tracing::info!(generation = live.number(), milliseconds, "a new generation is live");
        for policy in live.policies() {
            let old = before.policy(policy.name()).and_then(|old| old.digest());
            let new = policy.digest();
            if old != new {
                let name =
                    |digest: Option<Digest>| digest.map_or("built-in".into(), |digest| digest_text(&digest));
                let (old, new) = (name(old), name(new));
                tracing::info!(policy = %policy.name(), generation = live.number(), "swapped {old} → {new}");
            }
        }
        self.audit.reloaded(before, live, took);
    }

    /// Logs why a change was refused, or, if there is a `live` generation made from it, which parts of the change
    /// were.
    pub(super) fn refuse(&self, reasons: &[RefusalReason], live: Option<&Generation>, took: Duration) {
        if reasons.is_empty() {
            return;
        }
        // Nobody uses the code that was compiled for the refused change.
        self.factory.tidy(&self.generations);
        self.reloads.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.has_said(reasons) {
            return;
        }
        let texts: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        self.audit.reload_refused(&self.generations.live(), &texts, took);
        for reason in reasons {
            match live {
                None => tracing::error!(
                    live = self.generations.live().number(),
                    "the change was not applied; the live generation stays: {reason}"
                ),
                Some(live) => tracing::error!(
                    live = live.number(),
                    "the change was not applied completely: {reason}; the pipelines with that policy allow no more than before"
                ),
            }
        }
    }

    /// True if the last attempt failed for the same reasons: Witgate tries it again and again, and logs it once.
    fn has_said(&self, reasons: &[RefusalReason]) -> bool {
        let last = self.last.lock();
        let said = last.as_ref().and_then(|last| last.outcome.as_ref().err());
        said.is_some_and(|said| reasons.iter().all(|reason| reason.may_pass && said.contains(reason)))
    }

    pub(super) fn note(&self, started: Instant, outcome: Result<u64, Vec<RefusalReason>>) {
        *self.last.lock() = Some(Attempt { at: clock::system_time(), took: started.elapsed(), outcome });
    }
}
