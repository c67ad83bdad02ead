//! Passwords that are shown in a pause. A good one passes, and the answer to others must not tell guessers which ones are
//! good: under one name, only some are tried in a pause.

use std::time::Duration;

use super::fingerprint::CredentialFingerprint;
use super::ledger::Ledger;
use witgate_config::limits::Lockout as LockoutSettings;

/// The passwords that did not pass in a pause, by the name and the network.
#[derive(Debug, Default)]
pub(super) struct PausedPasswords(Ledger<CredentialFingerprint>);

impl PausedPasswords {
    /// True if a password of `user` passes in a pause: it is good, and not too many others were tried before.
    pub(super) fn pass(
        &mut self,
        user: CredentialFingerprint,
        is_good: bool,
        settings: &LockoutSettings,
        now: Duration,
    ) -> bool {
        let is_over = self.0.rest(&user, now).is_some();
        if !is_good && !is_over {
            self.0.add(user, settings, now);
        }
        is_good && !is_over
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
