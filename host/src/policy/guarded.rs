//! A component behind its breaker.

use std::sync::Arc;
use std::time::Instant;

use witgate_plugin::{Call, Credential, Decision, Principal, Verdict};

use crate::breaker::{Breaker, Change, Turn};
use crate::config;
use crate::plugin::failure::Failure;
use crate::plugin::fault::Fault;
use crate::plugin::pool::Pool;
use crate::services::Scope;

/// A component that is taken out for a while when it keeps failing.
#[derive(Debug)]
pub(super) struct Guarded {
    policy: Arc<str>,
    pool: Arc<Pool>,
    breaker: Breaker,
}

impl Guarded {
    pub(super) fn new(policy: Arc<str>, pool: Pool, bounds: config::Breaker) -> Self {
        Self { policy, pool: Arc::new(pool), breaker: Breaker::new(bounds, Instant::now()) }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether it is taken out just now.
    pub(super) fn is_out(&self) -> bool {
        self.breaker.is_open()
    }

    pub(super) async fn authenticate(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Result<Verdict, Fault> {
        let turn = self.turn()?;
        self.note(turn, self.pool.authenticate(scope, call, credential).await)
    }

    pub(super) async fn authorize(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Result<Decision, Fault> {
        let turn = self.turn()?;
        self.note(turn, self.pool.authorize(scope, call, principal).await)
    }

    fn turn(&self) -> Result<Turn, Fault> {
        self.breaker.turn(Instant::now).map_err(|left| {
            let detail = format!("it kept failing and is out for {} ms more", left.as_millis());
            Fault::new(Failure::Breaker, detail)
        })
    }

    fn note<T>(&self, turn: Turn, outcome: Result<T, Fault>) -> Result<T, Fault> {
        match &outcome {
            Ok(_) => {
                if self.breaker.went_well() {
                    tracing::info!(policy = %self.policy, "the component works again");
                }
            }
            // Nothing that the component did.
            Err(Fault { failure: Failure::Busy | Failure::Unavailable, .. }) => {}
            Err(_) => {
                if let Change::Out(pause) = self.breaker.failed(turn, Instant::now()) {
                    let milliseconds = pause.as_millis();
                    tracing::error!(policy = %self.policy, milliseconds, "BREAKER: the component keeps failing and is taken out for a while");
                }
            }
        }
        outcome
    }
}
