//! Pauses after failed authentications, so that guessing is slow, and cheap to refuse: no policy is asked during a
//! pause.
//!
//! Failures count for the sender's network and for the credential. Repeated failures of one credential count for the
//! network only once, because that is no guessing. A credential that has been good in this process passes in any case,
//! so that nobody is locked out because others guess, or because somebody else shows their credential.

mod accepted_credentials;
mod fingerprint;
mod ledger;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::authenticate::identity::Caller;
use crate::reject::Rejection;
use crate::request::Request;
use accepted_credentials::AcceptedCredentials;
use fingerprint::{CredentialFingerprint, Salt};
use ledger::Ledger;
use witgate_base::peer::Peer;
use witgate_config::limits::Lockout as LockoutSettings;
use witgate_message::credential::Credentials;
use witgate_runtime::log::throttle::LogThrottle;
use witgate_runtime::metrics::Metrics;

/// The reason of a refusal that does not count: the credential was good once, and clients renew it.
const EXPIRED: &str = "expired";

/// The failed authentications of all senders. It outlives generations.
#[derive(Debug)]
pub struct LockoutTable {
    began: Instant,
    /// The salt of the fingerprints.
    salt: Salt,
    state: Mutex<LockoutState>,
    pauses: Family<PauseLabels, Counter>,
    log: LogThrottle,
}

#[derive(Debug, Default)]
struct LockoutState {
    networks: Ledger<Peer>,
    credentials: Ledger<CredentialFingerprint>,
    accepted: AcceptedCredentials,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PauseLabels {
    of: &'static str,
}

/// A sender whose credential is being checked.
#[derive(Debug)]
pub(crate) struct Suspect {
    network: Option<Peer>,
    fingerprint: CredentialFingerprint,
}

/// A network, or a credential, that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedOut {
    /// The network. None: it is a credential, which is not shown.
    pub network: Option<Peer>,
    /// The number of failures.
    pub failures: u32,
    /// The rest of the pause. Zero: there is none.
    pub rest: Duration,
}

impl Default for LockoutTable {
    fn default() -> Self {
        let (salt, state, pauses, log) = Default::default();
        Self { began: Instant::now(), salt, state, pauses, log }
    }
}

impl LockoutTable {
    /// Registers the counters with `metrics`.
    pub fn register(&self, metrics: &Metrics) {
        let help = "Pauses after failed authentications, of a network or of a credential";
        // A counter that is exported from the start shows its first increase, too.
        for of in ["peer", "credential"] {
            drop(self.pauses.get_or_create(&PauseLabels { of }));
        }
        metrics.register(|registry| registry.register("lockouts", help, self.pauses.clone()));
    }

    /// Checks that no pause applies to a request. The result has to be noted. None: nothing has to be noted, because
    /// there is no credential, no lockout, or nobody else could be the sender.
    ///
    /// # Errors
    /// `LockedOut`.
    pub(crate) fn check(
        &self,
        settings: Option<&LockoutSettings>,
        request: &Request,
        shown: &Credentials,
    ) -> Result<Option<Suspect>, Rejection> {
        let is_remote = request.transport == witgate_plugin::Transport::Http;
        if settings.is_none() || !is_remote || shown.is_empty() {
            return Ok(None);
        }
        let fingerprint = self.salt.fingerprint(request.route.pipeline, shown);
        self.check_at(self.now(), request.peer, fingerprint).map(Some)
    }

    fn check_at(
        &self,
        now: Duration,
        peer: Option<IpAddr>,
        fingerprint: CredentialFingerprint,
    ) -> Result<Suspect, Rejection> {
        let network = peer.map(Peer::from);
        let suspect = Suspect { network, fingerprint };
        let state = self.state.lock();
        let pauses = [
            network.and_then(|network| state.networks.rest(&network, now)),
            state.credentials.rest(&fingerprint, now),
        ];
        match pauses.into_iter().flatten().max() {
            Some(rest) if !state.accepted.has(fingerprint, now) => {
                let seconds = rest.as_nanos().div_ceil(1_000_000_000);
                let retry_after = u32::try_from(seconds).unwrap_or(u32::MAX);
                Err(Rejection::LockedOut { retry_after })
            }
            _ => Ok(suspect),
        }
    }

    /// Notes the result of an authentication.
    pub(crate) fn note(
        &self,
        settings: Option<&LockoutSettings>,
        suspect: Option<Suspect>,
        result: Result<&Caller, &Rejection>,
    ) {
        let (Some(settings), Some(suspect)) = (settings, suspect) else { return };
        match result {
            Ok(caller) => {
                let party = self.salt.hash((caller.proven_by(), &caller.identity().subject));
                self.state.lock().accepted.add(suspect.fingerprint, party, self.now());
            }
            Err(Rejection::Refused { reason, .. }) if reason != EXPIRED => {
                self.note_failure(self.now(), settings, &suspect);
            }
            Err(_) => {}
        }
    }

    fn note_failure(&self, now: Duration, settings: &LockoutSettings, suspect: &Suspect) {
        let Suspect { network, fingerprint } = suspect;
        let mut state = self.state.lock();
        if state.accepted.has(*fingerprint, now) {
            return;
        }
        let is_new = !state.credentials.knows(fingerprint, now);
        let of_credential = state.credentials.add(*fingerprint, settings, now);
        let network = network.filter(|_| is_new);
        let of_network = network.and_then(|network| state.networks.add(network, settings, now));
        drop(state);
        if of_credential.is_some() {
            self.pauses.get_or_create(&PauseLabels { of: "credential" }).inc();
        }
        if let (Some(network), Some(pause)) = (network, of_network) {
            self.pauses.get_or_create(&PauseLabels { of: "peer" }).inc();
            if let Some(others) = self.log.turn() {
                let seconds = pause.as_secs();
                tracing::warn!(%network, seconds, others, "locked out after failed authentications");
            }
        }
    }

    /// The networks and credentials with failures, those with the longest pause first, at most `most`.
    pub fn list(&self, most: usize) -> Vec<LockedOut> {
        let now = self.now();
        let state = self.state.lock();
        let networks =
            state.networks.all(now).map(|(network, failures, rest)| (Some(*network), failures, rest));
        let credentials = state.credentials.all(now).map(|(_, failures, rest)| (None, failures, rest));
        let all = networks.chain(credentials);
        let mut all: Vec<_> =
            all.map(|(network, failures, rest)| LockedOut { network, failures, rest }).collect();
        drop(state);
        all.sort_by_key(|locked| std::cmp::Reverse((locked.rest, locked.failures)));
        all.truncate(most);
        all
    }

    /// Forgets the failures of a network, or all failures. Returns the number of forgotten networks and credentials.
    pub fn clear(&self, peer: Option<IpAddr>) -> usize {
        let mut state = self.state.lock();
        match peer {
            Some(peer) => usize::from(state.networks.remove(&peer.into())),
            None => state.networks.clear() + state.credentials.clear(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}
