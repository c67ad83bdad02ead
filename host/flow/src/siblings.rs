//! The messages that one message of a client has become: one for each upstream of an endpoint that it concerns. Each
//! passes all stages of its own upstream. What they share is that the client has sent them once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use witgate_base::party::Principal;

use super::dpop::{ProofError, Proofs, ProvenRequest, SpentProof};
use super::reject::Rejection;
use crate::authenticate::identity::Caller;

/// The common state of such messages.
#[derive(Clone, Default)]
pub struct Siblings {
    origin: Arc<MessageOrigin>,
    /// The rejection of a message that has no upstream. Only an authenticated caller gets it.
    refusal: Option<Rejection>,
}

/// The message of the client.
#[derive(Default)]
struct MessageOrigin {
    /// Its HTTP method. None: that of each message.
    method: Option<&'static str>,
    /// Its proof of possession, once it has been used.
    spent: OnceLock<SpentProof>,
    /// The caller, once one of the messages is authenticated.
    caller: OnceLock<Arc<Caller>>,
    /// The owner of the session that it names.
    owner: OnceLock<Principal>,
    /// The action once the owner is authenticated.
    action: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Siblings {
    /// The messages that a client's message with this HTTP method becomes.
    pub fn of(method: &'static str) -> Self {
        let origin = MessageOrigin { method: Some(method), ..MessageOrigin::default() };
        Self { origin: Arc::new(origin), refusal: None }
    }

    /// A message among these that ends with `rejection` as soon as its caller is authenticated.
    pub fn refused(&self, rejection: Rejection) -> Self {
        Self { origin: Arc::clone(&self.origin), refusal: Some(rejection) }
    }

    /// From now on, another caller than `owner` gets no session.
    pub fn belong_to(&self, owner: Principal) {
        _ = self.origin.owner.set(owner);
    }

    /// Has `action` happen as soon as a message is authenticated, before an upstream gets it.
    pub fn once_authenticated(&self, action: impl Fn() + Send + Sync + 'static) {
        _ = self.origin.action.set(Box::new(action));
    }

    /// The caller. None: no message is authenticated.
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.origin.caller.get()
    }

    /// The HTTP method of the client's message, for which its proof of possession is made.
    pub(super) fn method(&self) -> Option<&'static str> {
        self.origin.method
    }

    /// Marks the proof of a message as used. That of a sibling is the same proof, which is used once.
    pub(super) fn spend(
        &self,
        proofs: &Proofs,
        proven: &ProvenRequest,
        caller: &Caller,
    ) -> Result<(), ProofError> {
        let (proof, spent) = (SpentProof::of(proven), &self.origin.spent);
        if proof.is_some() && proof.as_ref() == spent.get() {
            return Ok(());
        }
        proofs.spend(proven, caller)?;
        proof.into_iter().for_each(|proof| _ = spent.set(proof));
        Ok(())
    }

    /// Notes the caller of a message.
    ///
    /// # Errors
    /// `SessionNotFound` if the session is another caller's; the rejection of a message that has no upstream.
    pub(super) fn authenticated(&self, caller: &Arc<Caller>) -> Result<(), Rejection> {
        let origin = &self.origin;
        _ = origin.caller.set(Arc::clone(caller));
        if origin.owner.get().is_some_and(|owner| *owner != caller.principal()) {
            return Err(Rejection::SessionNotFound);
        }
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        origin.action.get().into_iter().for_each(|action| action());
        Ok(())
    }
}

impl fmt::Debug for Siblings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Siblings").field("refusal", &self.refusal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::authenticate::identity::caller;

    /// The id of a session proves nothing.
    #[test]
    fn only_its_owner_has_a_session() {
        let (ada, eve, noted) = (caller("ada"), caller("eve"), Arc::new(AtomicUsize::new(0)));
        let message = |noted: &Arc<AtomicUsize>| {
            let (siblings, noted) = (Siblings::of("POST"), Arc::clone(noted));
            siblings.belong_to(ada.principal());
            siblings.once_authenticated(move || _ = noted.fetch_add(1, Ordering::Relaxed));
            siblings
        };
        assert!(matches!(message(&noted).authenticated(&eve), Err(Rejection::SessionNotFound)));
        assert_eq!(noted.load(Ordering::Relaxed), 0, "nothing is noted for anybody else");
        assert!(message(&noted).authenticated(&ada).is_ok());
        assert_eq!(noted.load(Ordering::Relaxed), 1);
        let refused = message(&noted).refused(Rejection::TaskNotFound);
        assert!(matches!(refused.authenticated(&ada), Err(Rejection::TaskNotFound)));
        assert!(refused.caller().is_some() && noted.load(Ordering::Relaxed) == 1);
    }
}
