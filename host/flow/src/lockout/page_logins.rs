//! Logins with a name and a password at a page. Guesses at one name come from many networks, so failures also count for
//! the name. A browser in which the user has logged in before is judged by its own failures only, so that nobody locks a
//! user out of their own browser.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{BegunPause, CredentialFingerprint, Locked, LockoutTable};
use witgate_base::peer::Peer;
use witgate_config::limits::Lockout as LockoutSettings;

/// Keeps fingerprints of names and browsers apart from each other.
const NAME: &str = "name";
const BROWSER: &str = "browser";

/// The failures under one name without a pause, as a multiple of those of a network.
const NAME_FAILURES: u32 = 2;

/// The longest pause of a name. Its user can do nothing against it in a new browser.
const LONGEST_OF_NAME: Duration = Duration::from_secs(300);

/// Somebody who logs in at a page.
#[derive(Clone, Copy, Debug)]
pub struct PageLogin<'a> {
    /// The address of the sender.
    pub peer: Option<IpAddr>,
    /// The name that they have entered.
    pub name: &'a str,
    /// The id of the browser, if the user has logged in there before.
    pub browser: Option<[u8; 16]>,
}

/// A login that is being judged. It counts as failed when it is dropped before its end.
#[derive(Debug)]
pub struct LoginTrial {
    lockout: Arc<LockoutTable>,
    settings: LockoutSettings,
    by: Option<LoginSource>,
}

/// The browser, or the network and the name, whose failures count.
#[derive(Clone, Copy, Debug)]
enum LoginSource {
    Browser(CredentialFingerprint),
    Stranger { network: Option<Peer>, name: CredentialFingerprint },
}

impl LoginTrial {
    /// Ends the login, which was right or was not judged.
    pub fn end(mut self) {
        self.by = None;
    }
}

impl Drop for LoginTrial {
    fn drop(&mut self) {
        if let Some(by) = self.by.take() {
            self.lockout.note_failed_login(self.lockout.now(), &self.settings, by);
        }
    }
}

impl LockoutTable {
    /// Begins a login. Without settings, the defaults of `[lockout]` apply: a page with passwords always has pauses.
    ///
    /// # Errors
    /// During a pause: the seconds until its end. Neither the name nor the password counts for that, so that the answer
    /// tells nothing about them.
    pub fn begin_login(
        self: &Arc<Self>,
        settings: Option<&LockoutSettings>,
        login: PageLogin<'_>,
    ) -> Result<LoginTrial, u32> {
        let by = self.source_of(login);
        match self.rest_of(by, self.now()) {
            Some(rest) => {
                let seconds = rest.as_nanos().div_ceil(1_000_000_000);
                Err(u32::try_from(seconds).unwrap_or(u32::MAX))
            }
            None => {
                let settings = settings.copied().unwrap_or_default();
                Ok(LoginTrial { lockout: Arc::clone(self), settings, by: Some(by) })
            }
        }
    }

    fn source_of(&self, PageLogin { peer, name, browser }: PageLogin<'_>) -> LoginSource {
        match browser {
            Some(id) => LoginSource::Browser(CredentialFingerprint(self.salt.hash((BROWSER, id)))),
            None => LoginSource::Stranger {
                network: peer.map(Peer::from),
                name: CredentialFingerprint(self.salt.hash((NAME, name))),
            },
        }
    }

    fn rest_of(&self, by: LoginSource, now: Duration) -> Option<Duration> {
        let state = self.state.lock();
        match by {
            LoginSource::Browser(id) => state.browsers.rest(&id, now),
            LoginSource::Stranger { network, name } => {
                let of_network = network.and_then(|network| state.networks.rest(&network, now));
                of_network.max(state.names.rest(&name, now))
            }
        }
    }

    fn note_failed_login(&self, now: Duration, settings: &LockoutSettings, by: LoginSource) {
        let of_name = LockoutSettings {
            failures: settings.failures.saturating_mul(NAME_FAILURES),
            max_pause: settings.max_pause.min(LONGEST_OF_NAME).max(settings.pause),
            ..*settings
        };
        let mut state = self.state.lock();
        let (network, added) = match by {
            LoginSource::Browser(id) => {
                (None, vec![(Locked::Browser, state.browsers.add(id, settings, now))])
            }
            LoginSource::Stranger { network, name } => {
                let of_network =
                    network.map(|network| (Locked::Peer, state.networks.add(network, settings, now)));
                let of_name = (Locked::Name, state.names.add(name, &of_name, now));
                (network, of_network.into_iter().chain([of_name]).collect())
            }
        };
        drop(state);
        for (of, added) in added {
            if let Some(pause) = added.begun {
                self.reports.report(BegunPause { of, network, failures: added.number, pause, others: 0 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SETTINGS, peer};
    use super::*;

    fn login(last: u8, name: &str) -> PageLogin<'_> {
        PageLogin { peer: Some(peer(last)), name, browser: None }
    }

    fn fails(lockout: &Arc<LockoutTable>, login: PageLogin<'_>) -> Result<(), u32> {
        lockout.begin_login(Some(&SETTINGS), login).map(drop)
    }

    #[test]
    fn a_login_that_nobody_waits_for_counts_as_failed() {
        let lockout = Arc::<LockoutTable>::default();
        for name in ["a", "b", "c"] {
            fails(&lockout, login(1, name)).unwrap();
        }
        assert_eq!(fails(&lockout, login(1, "d")), Err(5));
        assert_eq!(fails(&lockout, login(2, "a")), Ok(()), "another network");
    }

    #[test]
    fn right_logins_and_those_that_nobody_has_judged_do_not_count() {
        let lockout = Arc::<LockoutTable>::default();
        for _ in 0..100 {
            lockout.begin_login(Some(&SETTINGS), login(1, "ada")).unwrap().end();
        }
        assert!(lockout.begin_login(None, login(1, "ada")).is_ok());
    }

    #[test]
    fn guesses_at_a_name_count_over_all_networks_and_never_for_a_known_browser() {
        let lockout = Arc::<LockoutTable>::default();
        for network in 0..6 {
            for name in ["ada", "nobody"] {
                fails(&lockout, login(network, name)).unwrap();
            }
        }
        for name in ["ada", "nobody"] {
            assert_eq!(fails(&lockout, login(200, name)), Err(5), "the same for names that nobody has");
        }
        assert_eq!(fails(&lockout, login(200, "ben")), Ok(()));
        let own = PageLogin { browser: Some([7; 16]), ..login(0, "ada") };
        lockout.begin_login(Some(&SETTINGS), own).unwrap().end();
        for _ in 0..SETTINGS.failures {
            fails(&lockout, own).unwrap();
        }
        assert_eq!(fails(&lockout, own), Err(5), "a stolen browser is no way to guess, either");
        let other = PageLogin { browser: Some([8; 16]), ..own };
        assert_eq!(fails(&lockout, other), Ok(()));
    }

    #[test]
    fn without_a_setting_the_defaults_apply() {
        let lockout = Arc::<LockoutTable>::default();
        let failures = LockoutSettings::default().failures;
        let try_once = || lockout.begin_login(None, login(1, "ada")).map(drop);
        assert!((0..failures).all(|_| try_once().is_ok()));
        assert!(try_once().is_err());
    }
}
