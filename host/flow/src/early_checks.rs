//! Checks of a client's message before it becomes messages for upstreams: nobody can have work done for a message that no
//! upstream would get.

use std::sync::Arc;

use super::siblings::Siblings;
use super::{Arrival, Flow, note, refuse, rejected_message};
use crate::authenticate::identity::Caller;
use crate::port::Upstream;
use crate::receive::{check_pause, receive};
use crate::reject::{RejectedMessage, Rejection};

impl<U: Upstream> Flow<U> {
    /// Refuses an unknown credential from a paused network, before the message is read.
    ///
    /// # Errors
    /// `LockedOut`; those of credentials that cannot be read.
    pub fn check_pause(&self, arrival: &Arrival) -> Result<(), Rejection> {
        let generation = self.generations.live();
        if !self.lockout.pauses(generation.lockout(), arrival.peer) {
            return Ok(());
        }
        check_pause(arrival, (&generation, &self.lockout), &self.route)
    }

    /// Authenticates the caller of a message before its parts are made. Each part is authenticated again, and has a record;
    /// this has one only if it fails.
    ///
    /// # Errors
    /// As [`Flow::handle`], up to the authentication.
    pub async fn authenticate_among(
        &self,
        siblings: &Arc<Siblings>,
        arrival: Arrival,
    ) -> Result<Arc<Caller>, RejectedMessage> {
        let generation = self.generations.live();
        let mut record = self.record(&generation, arrival.peer);
        record.siblings = Some(Arc::clone(siblings));
        let known = arrival.known.clone();
        let is_paused = self.lockout.pauses(generation.lockout(), arrival.peer);
        let before = is_paused.then_some(&*self.lockout);
        let (request, shown, _) =
            match receive(arrival, record.decision, (&generation, before), &self.route).await {
                Ok(received) => received,
                Err(rejected) => return Err(refuse(record, rejected).await),
            };
        record.request = Some(Arc::clone(&request));
        let stages = async {
            record.reserve()?;
            let established = self.establish(&generation, &request, &shown, Some(siblings)).await;
            let (_, caller) = record.fallback.note(established)?;
            record.caller = Some(Arc::clone(&caller));
            siblings.authenticated(&caller)?;
            Ok(caller)
        };
        let result = stages.await;
        note(&known, record.caller.as_deref());
        if result.is_ok() {
            record.leave_to_parts();
            return result.map_err(Into::into);
        }
        let mut record = record.close(&result);
        let result = record.settle(result).await;
        result.map_err(|rejection| rejected_message(&record, rejection))
    }
}
