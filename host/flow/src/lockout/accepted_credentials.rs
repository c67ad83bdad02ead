//! Credentials that have been good in this process.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::quality::RandomState;

use super::fingerprint::CredentialFingerprint;

/// Credentials in each of the two halves. All together take a few MiB.
const HALF: usize = 32_768;

/// Credentials of one party in the newer half, so that a caller with many tokens does not push out those of others.
const HALF_OF_ONE: u32 = 1_024;

/// The time for which a credential counts as good after it was accepted.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);

/// The credentials that have been good lately, each with the time of its last use. When the newer half is full, the
/// older one goes, with all credentials that were not used meanwhile.
#[derive(Debug, Default)]
pub(super) struct AcceptedCredentials {
    newer: HashMap<CredentialFingerprint, Duration, RandomState>,
    older: HashMap<CredentialFingerprint, Duration, RandomState>,
    /// The number of credentials of each party in the newer half.
    parties: HashMap<u64, u32, RandomState>,
}

impl AcceptedCredentials {
    /// True if the credential was good lately.
    pub(super) fn has(&self, credential: CredentialFingerprint, now: Duration) -> bool {
        let used = self.newer.get(&credential).or_else(|| self.older.get(&credential));
        used.is_some_and(|used| now.saturating_sub(*used) < GOOD_FOR)
    }

    /// Notes that a credential was accepted. `party` is only needed for new ones.
    pub(super) fn add(
        &mut self,
        credential: CredentialFingerprint,
        party: impl FnOnce() -> u64,
        now: Duration,
    ) {
        if let Some(used) = self.newer.get_mut(&credential) {
            *used = now;
            return;
        }
        if self.newer.len() >= HALF {
            self.older = std::mem::take(&mut self.newer);
            self.parties.clear();
        }
        let of_party = self.parties.entry(party()).or_default();
        if *of_party < HALF_OF_ONE {
            *of_party += 1;
            self.newer.insert(credential, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_credentials_stay_and_one_party_cannot_push_them_out() {
        let mut accepted = AcceptedCredentials::default();
        let at = Duration::from_secs;
        accepted.add(CredentialFingerprint(0), || 0, at(1));
        for token in 1..200_000 {
            accepted.add(CredentialFingerprint(token), || 1, at(2));
        }
        assert!(
            accepted.has(CredentialFingerprint(0), at(2)) && accepted.newer.len() < 2 * HALF_OF_ONE as usize
        );
        assert!(!accepted.has(CredentialFingerprint(0), at(1) + GOOD_FOR));
        for party in 1..200_000 {
            accepted.add(CredentialFingerprint(party << 32), || party, at(3));
            if party % 1_000 == 0 {
                accepted.add(CredentialFingerprint(0), || 0, at(3));
            }
        }
        assert!(accepted.has(CredentialFingerprint(0), at(3)));
        assert!(accepted.newer.len() <= HALF && accepted.older.len() <= HALF);
    }
}
