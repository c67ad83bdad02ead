//! The application: a list of notes, and a page that shows their number.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;

/// Notes that everybody shares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn add(&self, note: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note.to_owned());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The page, which needs no key.
pub(crate) async fn page(State(notes): State<Notes>) -> String {
    format!("{} notes so far\n", notes.all().len())
}
