//! The owner of a session of the stateful era.

use std::sync::OnceLock;

use witgate_base::party::{ANONYMOUS, Principal};

/// The principal that a session belongs to. One that was opened without a credential belongs to the first principal that
/// a message in it proves: clients with a credential in an argument cannot show it before. Messages without a credential
/// stay possible in it, because only calls have arguments.
#[derive(Debug)]
pub(crate) struct SessionOwner {
    opened_by: Principal,
    proven: OnceLock<Principal>,
}

impl SessionOwner {
    /// The owner of a session that `opened_by` opens.
    pub(crate) fn new(opened_by: Principal) -> Self {
        Self { opened_by, proven: OnceLock::new() }
    }

    /// The principal that has opened the session.
    pub(crate) fn opened_by(&self) -> &Principal {
        &self.opened_by
    }

    /// True if the session belongs to `principal`, or does so from now on.
    pub(crate) fn is(&self, principal: &Principal) -> bool {
        self.opened_by == *principal
            || (self.opened_by.proven_by() == ANONYMOUS
                && self.proven.get_or_init(|| principal.clone()) == principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(proven_by: &str, subject: &str) -> Principal {
        Principal::new(proven_by.into(), None, subject)
    }

    #[test]
    fn a_session_without_a_credential_belongs_to_the_first_principal() {
        let nobody = principal(ANONYMOUS, ANONYMOUS);
        let owner = SessionOwner::new(nobody.clone());
        assert!(owner.is(&nobody));
        assert!(owner.is(&principal("keys", "ada")));
        assert!(!owner.is(&principal("keys", "bob")) && !owner.is(&principal("tokens", "ada")));
        assert!(owner.is(&principal("keys", "ada")) && owner.is(&nobody));
    }

    #[test]
    fn a_session_with_a_credential_belongs_to_nobody_else() {
        let owner = SessionOwner::new(principal("keys", "ada"));
        assert!(!owner.is(&principal("keys", "bob")) && !owner.is(&principal(ANONYMOUS, ANONYMOUS)));
        assert!(owner.is(&principal("keys", "ada")));
    }
}
