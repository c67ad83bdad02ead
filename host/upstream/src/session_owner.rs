//! The owner of a session of the stateful era.

use std::sync::OnceLock;

use witgate_base::party::{ANONYMOUS, Principal};

/// The principal that a session belongs to. If callers can show a credential in an argument, a session that was opened
/// without one belongs to the first principal that a message in it proves: these clients cannot show it before. Messages
/// without a credential stay possible in it, because only calls have arguments.
#[derive(Debug)]
pub(crate) struct SessionOwner {
    opened_by: Principal,
    /// True if a principal can become the owner later.
    may_be_claimed: bool,
    proven: OnceLock<Principal>,
}

impl SessionOwner {
    /// The owner of a session that `opened_by` opens. With `has_arguments`, callers can show a credential in an argument.
    pub(crate) fn new(opened_by: Principal, has_arguments: bool) -> Self {
        let may_be_claimed = has_arguments && opened_by.proven_by() == ANONYMOUS;
        Self { opened_by, may_be_claimed, proven: OnceLock::new() }
    }

    /// The principal that has opened the session.
    pub(crate) fn opened_by(&self) -> &Principal {
        &self.opened_by
    }

    /// True if the session belongs to `principal`, or does so from now on.
    pub(crate) fn is(&self, principal: &Principal) -> bool {
        self.opened_by == *principal
            || (self.may_be_claimed && self.proven.get_or_init(|| principal.clone()) == principal)
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
        let owner = SessionOwner::new(nobody.clone(), true);
        assert!(owner.is(&nobody));
        assert!(owner.is(&principal("keys", "ada")));
        assert!(!owner.is(&principal("keys", "bob")) && !owner.is(&principal("tokens", "ada")));
        assert!(owner.is(&principal("keys", "ada")) && owner.is(&nobody));
    }

    #[test]
    fn without_credentials_in_arguments_nobody_takes_a_session_over() {
        let nobody = principal(ANONYMOUS, ANONYMOUS);
        let owner = SessionOwner::new(nobody.clone(), false);
        assert!(!owner.is(&principal("keys", "ada")) && owner.is(&nobody));
    }

    #[test]
    fn a_session_with_a_credential_belongs_to_nobody_else() {
        let owner = SessionOwner::new(principal("keys", "ada"), true);
        assert!(!owner.is(&principal("keys", "bob")) && !owner.is(&principal(ANONYMOUS, ANONYMOUS)));
        assert!(owner.is(&principal("keys", "ada")));
    }
}
