//! The right to a standing stream or a long call. It was decided at the start, and is checked again while the stream
//! or call lasts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::audit::{Outcomes, Record};
use super::authenticate::authenticate;
use super::authorize::{Permit, authorize};
use super::credential_choice;
use super::port::LONGEST_CALL;
use super::reject::{Rejection, UpstreamFault};
use super::stage_result::{FallbackUse, StageResult};
use witgate_component::failure::Failure;
use witgate_message::credential::Credentials;
use witgate_policy::answer::Failed;
use witgate_policy::generation::Generations;

/// Interval for noticing the end of a right. It costs a comparison of a few numbers per stream and second.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Interval for asking the policies again although no change is known. Their caches protect the authorization server:
/// it is asked as often as their settings say.
const JUDGE_EVERY: Duration = Duration::from_secs(10);

/// The generation that decides whether a right continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DecidingGeneration {
    /// The live generation decides about everything, because a standing stream has no other end, and a call that waits for
    /// an account has not begun.
    Live,
    /// The generation of the call decides about the credential alone. A call finishes with its generation. If a policy
    /// cannot decide at the moment, the decision from the start counts.
    Own,
}

/// The longest time since the last decision about a standing stream for which policies may be too busy for the next.
const MOST_POSTPONED: Duration = Duration::from_secs(60);

/// A right that lasts.
pub struct Right {
    by: DecidingGeneration,
    generations: Arc<Generations>,
    outcomes: Arc<Outcomes>,
    permit: Arc<Permit>,
    shown: Credentials,
    judged_at: Instant,
    /// The time at which the policies last decided for it.
    decided_at: Instant,
    /// The number of tokens that had been forgotten at the last check.
    forgotten: u64,
}

impl Right {
    /// The right to a running call.
    pub(super) fn of_call(
        generations: &Arc<Generations>,
        outcomes: &Arc<Outcomes>,
        permit: Arc<Permit>,
        shown: Credentials,
    ) -> Self {
        Self {
            by: DecidingGeneration::Own,
            generations: Arc::clone(generations),
            outcomes: Arc::clone(outcomes),
            permit,
            shown,
            judged_at: Instant::now(),
            decided_at: Instant::now(),
            // The last token may have been forgotten during the decision, so the right is checked once more.
            forgotten: generations.forgotten().saturating_sub(1),
        }
    }

    /// The same right, after the call has become a standing stream.
    pub(super) fn standing(self) -> Self {
        Self { by: DecidingGeneration::Live, ..self }
    }

    /// The latest permit.
    pub(super) fn permit(&self) -> &Arc<Permit> {
        &self.permit
    }

    /// Runs `work` until the right ends.
    ///
    /// # Errors
    /// Those of `work`, or the reason why the right has ended.
    pub(super) async fn for_as_long<T>(
        &mut self,
        work: impl Future<Output = Result<T, Rejection>>,
    ) -> StageResult<T> {
        let mut fallback = FallbackUse::default();
        let result = tokio::select! {
            biased;
            done = work => done,
            ended = self.ended(&mut fallback) => Err(ended),
        };
        StageResult { result, fallback }
    }

    /// Waits for the end of the right, and returns the reason.
    async fn ended(&mut self, fallback: &mut FallbackUse) -> Rejection {
        loop {
            sleep(CHECK_EVERY).await;
            // Boxed, because it contains both stages again, and must not enlarge the future of every call.
            let checked = Box::pin(self.check()).await;
            if let Err(rejection) = fallback.note(checked) {
                return rejection;
            }
        }
    }

    /// Waits until another generation has also decided.
    ///
    /// # Errors
    /// With the reason why the right has ended.
    pub(super) async fn judged_anew(&mut self) -> StageResult<()> {
        let before = self.permit.generation().number();
        while self.permit.generation().number() == before {
            sleep(CHECK_EVERY).await;
            let checked = self.check().await;
            if checked.result.is_err() {
                return checked;
            }
        }
        Ok(()).into()
    }

    /// Checks that the right has not ended.
    pub(super) async fn check(&mut self) -> StageResult<()> {
        let caller = self.permit.caller();
        if caller.identity().expires_at.is_some_and(|end| end <= self.permit.generation().now()) {
            return Err(Rejection::Refused {
                policy: Some(Arc::clone(caller.proven_by())),
                reason: "expired".to_owned(),
                detail: Some("the identity has expired meanwhile".to_owned()),
            })
            .into();
        }
        if self.is_of_former_upstream() {
            return Err(Rejection::Upstream {
                fault: UpstreamFault::Unreachable,
                message: "The MCP server was replaced or removed, and the time for its last calls is over"
                    .to_owned(),
            })
            .into();
        }
        if !self.is_due() {
            return Ok(()).into();
        }
        // The state is changed only after the decision, because this future may be dropped before. But the time is
        // that of the start.
        let (started, forgotten) = (Instant::now(), self.generations.forgotten());
        let may_wait =
            !self.has_flipped() && self.forgotten == forgotten && self.decided_at.elapsed() < MOST_POSTPONED;
        let mut fallback = FallbackUse::default();
        let judged = self.judge(&mut fallback).await;
        (self.judged_at, self.forgotten) = (started, forgotten);
        if judged.is_ok() {
            self.decided_at = started;
        }
        StageResult { result: kept(self.by, judged, may_wait), fallback }
    }

    fn has_flipped(&self) -> bool {
        self.generations.live().number() != self.permit.generation().number()
    }

    /// True if the call has run for too long at an upstream that is no longer served.
    fn is_of_former_upstream(&self) -> bool {
        let place = self.permit.request().route.pipeline;
        is_over(self.generations.live().pipeline(place).retired_at, Instant::now().into_std())
    }

    fn is_due(&self) -> bool {
        self.judged_at.elapsed() >= JUDGE_EVERY
            || self.forgotten != self.generations.forgotten()
            || (self.by == DecidingGeneration::Live && self.has_flipped())
    }

    async fn judge(&mut self, fallback: &mut FallbackUse) -> Result<(), Rejection> {
        let proven = self.permit.proven();
        let generation = match self.by {
            DecidingGeneration::Live => self.generations.live(),
            DecidingGeneration::Own => Arc::clone(self.permit.generation()),
        };
        let again = fallback.note(authenticate(&generation, proven, &self.shown).await)?;
        if again.principal() != self.permit.caller().principal() {
            return Err(Rejection::Refused {
                policy: Some(Arc::clone(again.proven_by())),
                reason: "another-principal".to_owned(),
                detail: Some("the credential now belongs to somebody else".to_owned()),
            });
        }
        if self.by == DecidingGeneration::Live {
            let is_recorded = generation.pipeline(proven.request().route.pipeline).is_recorded();
            let traces = credential_choice::traces(&self.shown, is_recorded);
            let permit = authorize(generation, proven, again, traces).await;
            self.permit = Arc::new(fallback.note(permit)?);
        }
        Ok(())
    }

    /// Records the end of a right whose message was recorded as allowed, and returns the message for a caller who
    /// still waits for an answer. `fallback` is the first fallback in that decision.
    pub(super) fn record_end(&self, rejection: &Rejection, fallback: FallbackUse) -> Option<bytes::Bytes> {
        self.record(fallback).end(rejection);
        let id = self.permit.request().call.id()?;
        Some(rejection.wire().body(Some(id)))
    }

    /// Records that an answer could not be shown although its message was recorded as allowed. `fallback` is the first
    /// fallback in that failure.
    pub(super) fn record_failure(&self, rejection: &Rejection, fallback: FallbackUse) {
        self.record(fallback).refuse(rejection);
    }

    fn record(&self, fallback: FallbackUse) -> Record<'_> {
        let request = self.permit.request();
        let mut record = Record::begin(&self.outcomes, &request.route, self.permit.generation().number());
        record.clock = None;
        record.decision = request.decision;
        record.request = Some(Arc::clone(request));
        record.is_clean = true;
        record.caller = Some(Arc::clone(self.permit.caller()));
        record.fallback = fallback;
        record
    }
}

/// True if the time for the calls of an upstream that was retired then is over `now`.
fn is_over(retired_at: Option<std::time::Instant>, now: std::time::Instant) -> bool {
    retired_at.is_some_and(|at| now.saturating_duration_since(at) >= LONGEST_CALL)
}

/// The consequence of a decision for a right. `may_wait` is true if nothing has changed since an earlier decision for it,
/// which was not long ago. Then it stays while the policies are too busy, so that a flood of others does not end it.
fn kept(by: DecidingGeneration, judged: Result<(), Rejection>, may_wait: bool) -> Result<(), Rejection> {
    match (by, judged) {
        (DecidingGeneration::Own, Err(Rejection::Failed(_))) => Ok(()),
        (DecidingGeneration::Live, Err(Rejection::Failed(Failed { failure: Failure::Busy, .. })))
            if may_wait =>
        {
            Ok(())
        }
        (_, judged) => judged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_at_a_former_upstream_ends_after_the_longest_time() {
        let now = std::time::Instant::now();
        let second = Duration::from_secs(1);
        assert!(!is_over(None, now + LONGEST_CALL * 2));
        assert!(!is_over(Some(now), now + LONGEST_CALL - second));
        assert!(is_over(Some(now), now + LONGEST_CALL));
    }

    #[test]
    fn a_stream_stays_while_its_policies_are_busy_and_nothing_has_changed() {
        let failed = |failure| {
            let (detail, retry_after) = Default::default();
            Err(Rejection::Failed(Failed { policy: "people".into(), failure, detail, retry_after }))
        };
        let stays = |failure, may_wait| kept(DecidingGeneration::Live, failed(failure), may_wait).is_ok();
        assert!(stays(Failure::Busy, true) && !stays(Failure::Busy, false));
        assert!(!stays(Failure::Timeout, true) && !stays(Failure::Unavailable, true));
        assert!(kept(DecidingGeneration::Live, Err(Rejection::NoCredential), true).is_err());
        assert!(kept(DecidingGeneration::Own, failed(Failure::Timeout), false).is_ok());
    }
}
