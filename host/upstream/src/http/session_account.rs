//! The account in whose name a session at the upstream was opened, for credentials of which each caller has their own.

use std::sync::OnceLock;

use super::upstream::HttpUpstream;
use crate::identity::RequestSender;

/// The account of a session: the first with which it was used.
#[derive(Debug, Default)]
pub(super) struct SessionAccount(OnceLock<u64>);

impl SessionAccount {
    /// True if the session may be used with the account of this number. Requests without an account have none.
    pub(super) fn fits(&self, number: Option<u64>) -> bool {
        number.is_none_or(|number| *self.0.get_or_init(|| number) == number)
    }
}

impl HttpUpstream {
    /// The number of the sender's account, after their request was composed with its token.
    pub(super) fn account_of(&self, sender: RequestSender<'_>) -> Option<u64> {
        let credential = self.credential()?;
        credential.account_number(sender.credential_user(&credential).as_ref())
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
