//! The messages that one message of a client has become: one for each upstream of an endpoint that it concerns. Each
//! passes all stages of its own upstream. What they share is that the client has sent them once.

use std::sync::{Arc, OnceLock};

use super::dpop::{ProofError, Proofs, ProvenRequest, SpentProof};
use super::reject::Rejection;
use crate::authenticate::identity::Caller;

/// The common state of such messages.
#[derive(Debug, Default)]
pub struct Siblings {
    /// The proof of possession of the client's message, once it has been used.
    spent: OnceLock<SpentProof>,
    /// The caller, once one of the messages is authenticated.
    caller: OnceLock<Arc<Caller>>,
    /// The rejection of a message that has no upstream. Only an authenticated caller gets it.
    refusal: Option<Rejection>,
}

impl Siblings {
    /// Messages that end with `rejection` as soon as their caller is authenticated.
    pub fn refused(rejection: Rejection) -> Self {
        Self { refusal: Some(rejection), ..Self::default() }
    }

    /// The caller. None: no message is authenticated.
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.get()
    }

    /// Marks the proof of a message as used. That of a sibling is the same proof, which is used once.
    pub(super) fn spend(
        &self,
        proofs: &Proofs,
        proven: &ProvenRequest,
        caller: &Caller,
    ) -> Result<(), ProofError> {
        let proof = SpentProof::of(proven);
        if proof.is_some() && proof.as_ref() == self.spent.get() {
            return Ok(());
        }
        proofs.spend(proven, caller)?;
        proof.into_iter().for_each(|proof| _ = self.spent.set(proof));
        Ok(())
    }

    /// Notes the caller of a message.
    ///
    /// # Errors
    /// With the rejection of a message that has no upstream.
    pub(super) fn authenticated(&self, caller: &Arc<Caller>) -> Result<(), Rejection> {
        _ = self.caller.set(Arc::clone(caller));
        self.refusal.clone().map_or(Ok(()), Err)
    }
}
