//! Stores events with the changes that they are about.

use std::net::IpAddr;

use rusqlite::Transaction;

use crate::error::AccountsError;
use crate::event::{AccountEvent, Actor};

/// The most events that wait. While no Witgate runs, only commands make some.
const MOST: i64 = 100_000;

/// The origin of the changes that follow.
#[derive(Clone, Debug, Default)]
pub(super) struct EventRecorder {
    /// None: the user whose account it is.
    pub(super) actor: Option<Actor>,
    /// The address of the browser or client.
    pub(super) peer: Option<IpAddr>,
}

impl EventRecorder {
    /// Keeps an event with the change that is made in `transaction`.
    pub(super) fn record(
        &self,
        transaction: &Transaction<'_>,
        event: AccountEvent,
    ) -> Result<(), AccountsError> {
        let by = event.by.or_else(|| self.actor.clone());
        let by = by.or_else(|| event.user.clone().map(|user| Actor::User { user }));
        let event = AccountEvent { by, peer: event.peer.or(self.peer), ..event };
        let text = serde_json::to_string(&event);
        let text = text.map_err(|error| AccountsError::Unavailable(error.to_string()))?;
        transaction.prepare_cached("INSERT INTO events (event) VALUES (?1)")?.execute([text])?;
        let oldest = transaction.last_insert_rowid() - MOST;
        transaction.prepare_cached("DELETE FROM events WHERE id <= ?1")?.execute([oldest])?;
        Ok(())
    }
}
