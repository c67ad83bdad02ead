//! The account of one caller in the memory for answers.

use std::sync::Arc;

use super::authorize::Permit;
use witgate_base::party::Party;
use witgate_runtime::memory::{AnswerMemory, FREE, Hold, MemoryExhausted, Reservation};

/// Holds memory for answers on behalf of whoever has a permit. The default holds nothing, and counts nothing: it is that
/// of Witgate's own requests.
#[derive(Clone, Debug, Default)]
pub struct Account(Option<(Arc<AnswerMemory>, Arc<Permit>)>);

impl Account {
    /// That of the party of `permit`.
    pub(super) fn new(memory: &Arc<AnswerMemory>, permit: &Arc<Permit>) -> Self {
        Self(Some((Arc::clone(memory), Arc::clone(permit))))
    }

    /// Memory for `size` bytes that are there.
    ///
    /// # Errors
    /// Where it is not to be had.
    pub fn hold(&self, size: usize) -> Result<Hold, MemoryExhausted> {
        let mut held = None;
        self.cover(&mut held, size)?;
        Ok(held.into())
    }

    /// Has `held` be enough for the `size` bytes that have come so far.
    ///
    /// # Errors
    /// As [`Account::hold`].
    pub fn cover(&self, held: &mut Option<Reservation<Party>>, size: usize) -> Result<(), MemoryExhausted> {
        if size <= FREE {
            return Ok(());
        }
        let Some((memory, permit)) = &self.0 else { return Ok(()) };
        let open = || memory.hold(Some(permit.caller().party(permit.request().peer)));
        held.get_or_insert_with(open).cover(size)
    }
}
