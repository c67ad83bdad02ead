//! A component behind its circuit breaker.

use std::sync::Arc;
use std::time::Instant;

use witgate_base::breaker::{BreakerChange, BreakerLimits, CallKind, CircuitBreaker, OutageScope};
use witgate_base::printable::clean;
use witgate_component::failure::Failure;
use witgate_component::fault::Fault;
use witgate_component::pool::Pool;
use witgate_services::Scope;

/// A component behind a circuit breaker, which pauses calls for the caller with failures, and for all callers if
/// several have failures.
#[derive(Debug)]
pub(super) struct GuardedComponent {
    policy: Arc<str>,
    pool: Arc<Pool>,
    breaker: CircuitBreaker,
}

impl GuardedComponent {
    pub(super) fn new(policy: Arc<str>, pool: Pool, bounds: BreakerLimits) -> Self {
        Self { policy, pool: Arc::new(pool), breaker: CircuitBreaker::new(bounds, Instant::now()) }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The callers for whom calls are paused.
    pub(super) fn out_for(&self) -> OutageScope {
        self.breaker.out_for()
    }

    /// Calls a hook of the component.
    ///
    /// # Errors
    /// Those of the hook; `Breaker` while calls are paused for the caller.
    pub(super) async fn ask<'g, A, H: Future<Output = Result<A, Fault>>>(
        &'g self,
        scope: &Scope,
        hook: impl FnOnce(&'g Arc<Pool>) -> H,
    ) -> Result<A, Fault> {
        let turn = self.turn(scope)?;
        self.note(scope, turn, hook(&self.pool).await)
    }

    fn turn(&self, scope: &Scope) -> Result<CallKind, Fault> {
        self.breaker.turn(|| scope.source(), Instant::now).map_err(|left| {
            let detail =
                format!("it failed repeatedly, and calls to it are paused for {} ms more", left.as_millis());
            Fault::new(Failure::Breaker, detail)
        })
    }

    fn note<T>(&self, scope: &Scope, turn: CallKind, outcome: Result<T, Fault>) -> Result<T, Fault> {
        match &outcome {
            Ok(_) => {
                if self.breaker.went_well(|| scope.source(), Instant::now) {
                    tracing::info!(policy = %self.policy, "the component works again");
                }
            }
            // Failures that the component did not cause: there was no free instance, or the time went into waiting for
            // a server.
            Err(Fault { failure: Failure::Busy | Failure::Unavailable, .. }) => {}
            Err(_) => self.report(scope, self.breaker.failed(turn, scope.source(), Instant::now())),
        }
        outcome
    }

    fn report(&self, scope: &Scope, change: BreakerChange) {
        match change {
            BreakerChange::None => {}
            BreakerChange::Out(pause) => {
                let milliseconds = pause.as_millis();
                tracing::error!(policy = %self.policy, milliseconds, "BREAKER: the component keeps failing; calls to it are paused");
            }
            BreakerChange::OutForOne(pause) => {
                let milliseconds = pause.as_millis();
                let subject = scope.subject.identity().map(|identity| clean(&identity.subject));
                let peer = scope.subject.peer().map(tracing::field::display);
                tracing::warn!(policy = %self.policy, milliseconds, subject, peer, "BREAKER: the component keeps failing for one caller; this caller's calls to it are paused");
            }
        }
    }
}
