//! Refuses changes that widen access, if the live configuration says so.

use std::time::Instant;

use super::Reloader;
use super::attempt::{AttemptResult, RefusalReason};
use super::rollback::Rollback;
use crate::access::difference::NAMED;
use crate::operation::Requester;
use witgate_base::fingerprints::Fingerprints;
use witgate_cases::factory::Successor;
use witgate_config::Config;
use witgate_policy::generation::{Generation, Pipeline};

impl Reloader {
    /// The reason why the successor may not go live. While its components are compiled, it waits.
    pub(super) async fn guard(&self, successor: &mut Successor, config: &Config) -> Option<RefusalReason> {
        let next = successor.generation.as_ref()?;
        let live = self.generations.live();
        if !self.access.is_guarding() || keeps_rules(&live, next) {
            return None;
        }
        if successor.is_compiling() {
            successor.generation = None;
            return None;
        }
        if self.access.takes_allowance(next.recipe()) {
            return None;
        }
        let why = self.new_access(&live, next, config).await?;
        let change = self.access.refused(next.recipe());
        Some(refusal(&why, &format!("`witgate plugin allow-access {change}` lets it go live as it is")))
    }

    /// The reason why a rollback may not go live.
    pub(super) async fn guard_rollback(&self, next: &Generation, config: &Config) -> Option<RefusalReason> {
        let live = self.generations.live();
        if !self.access.is_guarding() || keeps_rules(&live, next) {
            return None;
        }
        let why = self.new_access(&live, next, config).await?;
        Some(refusal(&why, "`--allow-new-access` lets it go live"))
    }

    /// The new access that `next` gives, or the reason why that is not known. None: it gives no new access.
    async fn new_access(&self, live: &Generation, next: &Generation, config: &Config) -> Option<String> {
        if !config.no_new_access {
            return Some("the change turns this setting off".to_owned());
        }
        let environment = self.live_environment.lock().clone();
        let difference = match self.access.before_a_flip(live, next, environment).await {
            Ok(difference) => difference,
            Err(why) => return Some(format!("the access that the change gives is not known: {why}")),
        };
        match (difference.gains_nothing(), difference.left_out.as_slice()) {
            (true, []) => None,
            (true, left_out) => Some(format!("not all access could be compared: {}", left_out.join("; "))),
            (false, _) => {
                let examples = difference.examples(NAMED).join("; ");
                Some(format!("the change widens access ({}): {examples}", difference.summary()))
            }
        }
    }

    /// Refuses a change that widens access. A revocation takes effect all the same.
    pub(super) async fn refuse_widening(
        &self,
        reason: RefusalReason,
        started: Instant,
        files: Fingerprints,
        rollback: &mut Option<Rollback>,
    ) -> AttemptResult {
        let reasons = vec![reason];
        self.hold_against_files(rollback, false);
        self.refuse(&reasons, None, started.elapsed());
        self.note(started, Err(reasons));
        self.renew(started, files).await
    }

    /// Lets the change of this name go live that was refused last because of new access, if it is still the same.
    ///
    /// # Errors
    /// If no change was refused because of that, or another one.
    pub(crate) fn allow_new_access(&self, change: &str, by: Requester) -> Result<(), String> {
        self.access.allow(change)?;
        tracing::warn!(%by, change, "an operator allows the new access of the change that was refused");
        self.audit.access_allowed(by);
        self.look();
        Ok(())
    }
}

fn refusal(why: &str, how: &str) -> RefusalReason {
    RefusalReason { policy: None, message: format!("`reload.no_new_access`: {why}; {how}"), may_pass: false }
}

/// True if `next` has no rules that `live` does not have: each of its pipelines follows the recipe that the pipeline of
/// the same upstream follows already, maybe restricted by another one, with the data of now.
fn keeps_rules(live: &Generation, next: &Generation) -> bool {
    let is_kept = |next: &Pipeline| {
        let same = |live: &Pipeline| live.upstream == next.upstream && live.recipe == next.recipe;
        next.closed.is_some() || live.served().any(same)
    };
    next.served().all(is_kept)
}
