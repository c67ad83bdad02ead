//! Changes that the audit log does not have yet. A change and its event are in the database together or not at all; a
//! running Witgate moves the events to its audit log, also those of commands.

use std::net::IpAddr;

use rusqlite::Transaction;

use super::AccountDatabase;
use crate::error::AccountsError;
use crate::event::{AccountEvent, Actor};

/// The most events that wait. While no Witgate runs, only commands make some.
const MOST: i64 = 100_000;

/// The events that are moved at once.
const AT_ONCE: i64 = 256;

/// The one who asks for the changes that follow.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventRecorder {
    /// None: the user whose account it is.
    pub(crate) actor: Option<Actor>,
    /// The address of the browser or client.
    pub(crate) peer: Option<IpAddr>,
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

impl AccountDatabase {
    /// Has the changes that follow be recorded as those of `actor`. None: of the user whose account it is.
    pub fn act_as(&mut self, actor: Option<Actor>) {
        self.recorder.actor = actor;
    }

    /// Has the changes that follow be recorded with the address of a browser or client.
    pub fn seen_from(&mut self, peer: Option<IpAddr>) {
        self.recorder.peer = peer;
    }

    /// Gives the waiting events to `sink`. One that was given and could not be removed comes again.
    ///
    /// # Errors
    /// If the database cannot be read or written.
    pub(crate) fn move_events(&mut self, sink: &dyn Fn(AccountEvent)) -> Result<(), AccountsError> {
        loop {
            let events = self.waiting_events()?;
            let Some((last, _)) = events.last() else { return Ok(()) };
            let last = *last;
            for (_, text) in &events {
                match serde_json::from_str(text) {
                    Ok(event) => sink(event),
                    Err(error) => tracing::error!(%error, "an event of the accounts cannot be read"),
                }
            }
            self.connection.execute("DELETE FROM events WHERE id <= ?1", [last])?;
        }
    }

    fn waiting_events(&self) -> Result<Vec<(i64, String)>, AccountsError> {
        let mut statement =
            self.connection.prepare_cached("SELECT id, event FROM events ORDER BY id LIMIT ?1")?;
        let rows = statement.query_map([AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
