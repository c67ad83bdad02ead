//! The use of the memory for answers by one caller.

use std::sync::Arc;

use super::authorize::Permit;
use witgate_base::party::Party;
use witgate_runtime::memory::{AnswerMemory, FREE, Hold, MemoryExhausted, Reservation};

/// The caller's account in the memory for answers. The default holds and counts no memory; it is for Witgate's own
/// requests.
#[derive(Clone, Debug, Default)]
pub struct Account(Option<(Arc<AnswerMemory>, Arc<Permit>)>);

impl Account {
    /// The account of the party of `permit`.
    pub(super) fn new(memory: &Arc<AnswerMemory>, permit: &Arc<Permit>) -> Self {
        Self(Some((Arc::clone(memory), Arc::clone(permit))))
    }

    /// Takes memory for `size` bytes that already exist.
    ///
    /// # Errors
    /// If there is not enough.
    pub fn hold(&self, size: usize) -> Result<Hold, MemoryExhausted> {
        let mut held = None;
        self.cover(&mut held, size)?;
        Ok(held.into())
    }

    /// Enlarges `held` to the `size` bytes that have been received so far.
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
