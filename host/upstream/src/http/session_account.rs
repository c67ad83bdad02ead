//! The account in whose name a session at the upstream was opened, for credentials of which each caller has their own.

use std::sync::OnceLock;

/// The account of a session: the first with which it was used.
#[derive(Debug, Default)]
pub(super) struct SessionAccount(OnceLock<u64>);

impl SessionAccount {
    /// True if the session may be used with the account of this number. Requests without an account have none.
    pub(super) fn fits(&self, number: Option<u64>) -> bool {
        number.is_none_or(|number| *self.0.get_or_init(|| number) == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_account() {
        let account = SessionAccount::default();
        assert!(account.fits(None) && account.fits(Some(1)) && account.fits(Some(1)) && account.fits(None));
        assert!(!account.fits(Some(2)));
    }
}
