//! Pauses after failed authentications, so that guessing is slow, and cheap to refuse: no policy is asked during a
//! pause.
//!
//! Failures count for the sender's network and for the credential. Repeated failures of one credential count for the
//! network only once, because that is no guessing. A credential that has been good in this process passes in any case,
//! so that nobody is locked out because others guess, or because somebody else shows their credential.
//!
//! Unknown links to pages count apart, and pause unknown links alone: any site can make a browser open a link, and must
//! not lock its network out of calls.

mod accepted_credentials;
mod fingerprint;
mod ledger;
mod page_logins;
mod pause_reports;
mod paused_passwords;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use witgate_plugin::{Scheme, Transport};
use zeroize::Zeroizing;

use crate::authenticate::identity::Caller;
use crate::reject::Rejection;
use crate::request::Route;
use accepted_credentials::AcceptedCredentials;
use fingerprint::{CredentialFingerprint, Salt};
use ledger::{LastPauseEnd, Ledger};
pub use page_logins::{LoginTrial, PageLogin};
use pause_reports::PauseReports;
pub use pause_reports::{BegunPause, Locked};
use paused_passwords::PausedPasswords;
use witgate_base::peer::Peer;
use witgate_config::limits::Lockout as LockoutSettings;
use witgate_message::credential::Credentials;
use witgate_policy::generation::Generation;
use witgate_runtime::metrics::Metrics;

/// The reason of a refusal that does not count: the credential was good once, and clients renew it.
const EXPIRED: &str = "expired";

/// The reason of a refusal of an opaque token, which may have expired. Nobody guesses tokens that are as long as
/// RFC 6749, section 10.10, demands.
const INACTIVE: &str = "inactive";

/// The failed authentications of all senders. It outlives generations.
#[derive(Debug)]
pub struct LockoutTable {
    began: Instant,
    /// The salt of the fingerprints.
    salt: Salt,
    state: Mutex<LockoutState>,
    /// The ends of the pauses of networks and of credentials.
    last_ends: [LastPauseEnd; 2],
    reports: PauseReports,
}

#[derive(Debug, Default)]
struct LockoutState {
    networks: Ledger<Peer>,
    credentials: Ledger<CredentialFingerprint>,
    links: Ledger<Peer>,
    /// The names that were entered at a page.
    names: Ledger<CredentialFingerprint>,
    /// The browsers in which somebody has logged in before.
    browsers: Ledger<CredentialFingerprint>,
    accepted: AcceptedCredentials,
    paused_passwords: PausedPasswords,
}

/// A sender whose credential is being checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    network: Option<Peer>,
    fingerprint: CredentialFingerprint,
    /// The name and the network, if the credential is a password.
    password_of: Option<CredentialFingerprint>,
    /// The fingerprint by which it is known as good.
    good_as: CredentialFingerprint,
}

/// A refusal that counts as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CountedFailure {
    /// It counts for the credential and for the network.
    Guess,
    /// It counts for the credential only.
    Inactive,
}

impl CountedFailure {
    /// The failure that a refusal with this reason is, by one of `judges` authenticators. If there are several, a token
    /// that is not active may be a guess at a key of another one.
    fn of(reason: &str, judges: usize) -> Option<Self> {
        match reason {
            EXPIRED => None,
            INACTIVE if judges == 1 => Some(Self::Inactive),
            _ => Some(Self::Guess),
        }
    }
}

/// A suspect whose credential is being checked. A password counts as wrong if nobody waits for the end of the check, as
/// when the sender closes the connection: they have tried all the same.
#[derive(Debug)]
pub(crate) struct SuspectCheck<'a> {
    lockout: &'a LockoutTable,
    settings: Option<&'a LockoutSettings>,
    suspect: Option<Suspect>,
}

impl SuspectCheck<'_> {
    /// Notes the result of an authentication by one of `judges` authenticators.
    pub(crate) fn note(mut self, result: Result<&Caller, &Rejection>, judges: usize) {
        self.lockout.note(self.settings, self.suspect.take(), result, judges);
    }
}

impl Drop for SuspectCheck<'_> {
    fn drop(&mut self) {
        let suspect = self.suspect.take().filter(|suspect| suspect.password_of.is_some());
        if let (Some(settings), Some(suspect)) = (self.settings, suspect) {
            let now = self.lockout.now();
            self.lockout.note_failure(now, settings, &suspect, CountedFailure::Guess);
        }
    }
}

/// A network, or a credential, that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedOut {
    /// The network. None: it is a credential, a name or a browser, which is not shown.
    pub network: Option<Peer>,
    /// The number of failures.
    pub failures: u32,
    /// The rest of the pause. Zero: there is none.
    pub rest: Duration,
}

impl Default for LockoutTable {
    fn default() -> Self {
        let (salt, reports) = Default::default();
        let state = LockoutState::default();
        let last_ends = [state.networks.last_end(), state.credentials.last_end()];
        Self { began: Instant::now(), salt, state: Mutex::new(state), last_ends, reports }
    }
}

impl LockoutTable {
    /// The same, which tells `observer` about beginnings of pauses: at most one of networks and one of credentials in
    /// ten seconds, with the number of those in between.
    pub fn observed_by(self, observer: impl Fn(&BegunPause) + Send + Sync + 'static) -> Self {
        Self { reports: self.reports.observed_by(observer), ..self }
    }

    /// Registers the counters with `metrics`.
    pub fn register(&self, metrics: &Metrics) {
        self.reports.register(metrics);
    }

    /// True if unknown credentials of this sender are refused now, so that their messages need not be read.
    pub(crate) fn pauses(&self, settings: Option<&LockoutSettings>, peer: Option<IpAddr>) -> bool {
        let (Some(_), Some(peer)) = (settings, peer) else { return false };
        let Some(now) = LastPauseEnd::pausing(&self.last_ends, || self.now()) else { return false };
        self.state.lock().networks.rest(&peer.into(), now).is_some()
    }

    /// Checks that no pause applies to a request. The result has to be noted. None: nothing has to be noted, because
    /// there is no credential that a policy judges, no lockout, or nobody else could be the sender.
    ///
    /// # Errors
    /// `LockedOut`.
    pub(crate) fn check(
        &self,
        generation: &Generation,
        route: &Route,
        (transport, peer): (Transport, Option<IpAddr>),
        shown: &Credentials,
    ) -> Result<Option<Suspect>, Rejection> {
        let Some(settings) = generation.lockout() else { return Ok(None) };
        if transport != Transport::Http || shown.is_empty() {
            return Ok(None);
        }
        let upstream = route.pipeline;
        match self.salt.fingerprint(upstream, generation.pipeline(upstream), shown) {
            Some(fingerprint) => {
                let suspect = self.suspect(peer, fingerprint, user_in(shown).as_deref().map(Vec::as_slice));
                self.check_at(|| self.now(), settings, suspect).map(Some)
            }
            None => Ok(None),
        }
    }

    /// A sender with these credentials, of which a password is that of `user`.
    fn suspect(
        &self,
        peer: Option<IpAddr>,
        fingerprint: CredentialFingerprint,
        user: Option<&[u8]>,
    ) -> Suspect {
        let network = peer.map(Peer::from);
        let here = |value: u64| CredentialFingerprint(self.salt.hash((network, value)));
        let password_of = user.map(|user| here(self.salt.hash(user)));
        let good_as = if password_of.is_some() { here(fingerprint.0) } else { fingerprint };
        Suspect { network, fingerprint, password_of, good_as }
    }

    fn check_at(
        &self,
        now: impl FnOnce() -> Duration,
        settings: &LockoutSettings,
        suspect: Suspect,
    ) -> Result<Suspect, Rejection> {
        let Some(now) = LastPauseEnd::pausing(&self.last_ends, now) else { return Ok(suspect) };
        let Suspect { network, fingerprint, password_of, good_as } = suspect;
        let mut state = self.state.lock();
        let pauses = [
            network.and_then(|network| state.networks.rest(&network, now)),
            state.credentials.rest(&fingerprint, now),
        ];
        let Some(rest) = pauses.into_iter().flatten().max() else { return Ok(suspect) };
        let is_good = state.accepted.has(good_as, now);
        let passes = match password_of {
            Some(user) => state.paused_passwords.pass(user, is_good, settings, now),
            None => is_good,
        };
        if passes { Ok(suspect) } else { Err(locked_out(rest)) }
    }

    /// Begins the check of a suspect.
    pub(crate) fn checking<'a>(
        &'a self,
        settings: Option<&'a LockoutSettings>,
        suspect: Option<Suspect>,
    ) -> SuspectCheck<'a> {
        SuspectCheck { lockout: self, settings, suspect }
    }

    fn note(
        &self,
        settings: Option<&LockoutSettings>,
        suspect: Option<Suspect>,
        result: Result<&Caller, &Rejection>,
        judges: usize,
    ) {
        let (Some(settings), Some(suspect)) = (settings, suspect) else { return };
        match result {
            Ok(caller) => {
                let party = || self.salt.hash((caller.proven_by(), &caller.identity().subject));
                let now = self.now();
                self.state.lock().accepted.add(suspect.good_as, party, now);
            }
            Err(Rejection::Refused { reason, .. }) => {
                if let Some(failure) = CountedFailure::of(reason, judges) {
                    self.note_failure(self.now(), settings, &suspect, failure);
                }
            }
            Err(_) => {}
        }
    }

    fn note_failure(
        &self,
        now: Duration,
        settings: &LockoutSettings,
        suspect: &Suspect,
        failure: CountedFailure,
    ) {
        let Suspect { network, fingerprint, good_as, .. } = *suspect;
        let mut state = self.state.lock();
        if state.accepted.has(good_as, now) {
            return;
        }
        let is_new = !state.credentials.knows(&fingerprint, now);
        // A program that sends one wrong credential in many requests at once does not guess. A network does, so its
        // failures count even if their checks were under way when its pause began.
        let is_paused = state.credentials.rest(&fingerprint, now).is_some();
        let of_credential = (!is_paused).then(|| state.credentials.add(fingerprint, settings, now));
        let guesser = network.filter(|_| is_new && failure == CountedFailure::Guess);
        let of_network = guesser.map(|network| state.networks.add(network, settings, now));
        drop(state);
        for (of, added) in [(Locked::Credential, of_credential), (Locked::Peer, of_network)] {
            if let Some(added) = added
                && let Some(pause) = added.begun
            {
                self.reports.report(BegunPause { of, network, failures: added.number, pause, others: 0 });
            }
        }
    }

    /// Notes that a network has shown a link that is unknown. No link that is known is ever refused, so there is nothing to
    /// check before.
    ///
    /// # Errors
    /// `LockedOut`, during a pause. Then it does not count.
    pub(crate) fn note_unknown_link(
        &self,
        settings: Option<&LockoutSettings>,
        peer: Option<IpAddr>,
    ) -> Result<(), Rejection> {
        let (Some(settings), Some(peer)) = (settings, peer) else { return Ok(()) };
        self.note_link_at(self.now(), settings, peer.into())
    }

    fn note_link_at(
        &self,
        now: Duration,
        settings: &LockoutSettings,
        network: Peer,
    ) -> Result<(), Rejection> {
        let mut state = self.state.lock();
        if let Some(rest) = state.links.rest(&network, now) {
            return Err(locked_out(rest));
        }
        let added = state.links.add(network, settings, now);
        drop(state);
        if let Some(pause) = added.begun {
            let network = Some(network);
            let (of, failures) = (Locked::Link, added.number);
            self.reports.report(BegunPause { of, network, failures, pause, others: 0 });
        }
        Ok(())
    }

    /// The networks and credentials with failures, those with the longest pause first, at most `most`.
    pub fn list(&self, most: usize) -> Vec<LockedOut> {
        let now = self.now();
        let state = self.state.lock();
        let networks =
            state.networks.all(now).map(|(network, failures, rest)| (Some(*network), failures, rest));
        let others = [&state.credentials, &state.names, &state.browsers].into_iter();
        let credentials =
            others.flat_map(|ledger| ledger.all(now)).map(|(_, failures, rest)| (None, failures, rest));
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
            Some(peer) => {
                let (network, links) =
                    (state.networks.remove(&peer.into()), state.links.remove(&peer.into()));
                usize::from(network || links)
            }
            None => {
                let logins = state.names.clear() + state.browsers.clear();
                state.paused_passwords.clear();
                state.networks.clear() + state.credentials.clear() + state.links.clear() + logins
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

/// The name whose password was shown (RFC 7617). None: there is no password. A text that is none counts as one without a
/// name.
fn user_in(shown: &Credentials) -> Option<Zeroizing<Vec<u8>>> {
    let (_, _, text) = shown.items().find(|(scheme, ..)| *scheme == Scheme::Basic)?;
    let mut pair = Zeroizing::new(Vec::with_capacity(text.len() + 4));
    if STANDARD.decode_vec(text, &mut pair).is_err() {
        pair.clear();
    }
    let colon = pair.iter().position(|byte| *byte == b':').unwrap_or_default();
    pair.truncate(colon);
    Some(pair)
}

/// The refusal during a pause with this rest.
fn locked_out(rest: Duration) -> Rejection {
    let seconds = rest.as_nanos().div_ceil(1_000_000_000);
    Rejection::LockedOut { retry_after: u32::try_from(seconds).unwrap_or(u32::MAX) }
}
