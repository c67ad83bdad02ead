//! Changes that the audit log does not have yet. A change and its event are in the database together or not at all; a
//! running Witgate moves the events to its audit log, also those of commands.

use std::net::IpAddr;

use super::AccountDatabase;
use crate::error::AccountsError;
use crate::event::{AccountEvent, Actor};

/// The events that are moved at once.
const AT_ONCE: i64 = 256;

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
