//! Logins with a name and a password at a page. Guesses at one name come from many networks, so failures also count for
//! the name. A browser in which the user has logged in before is judged by its own failures, and by those of all such
//! browsers of the user, so that nobody else locks a user out of their own browser, and many browsers give nobody more
//! guesses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::AddedFailure;
use super::{BegunPause, CredentialFingerprint, Locked, LockoutState, LockoutTable};
use witgate_base::peer::Peer;
use witgate_config::limits::Lockout as LockoutSettings;

/// Keeps fingerprints of names and browsers apart from each other.
const NAME: &str = "name";
const BROWSER: &str = "browser";
const BROWSERS: &str = "browsers";

/// The failures under one name without a pause, as a multiple of those of a network.
const NAME_FAILURES: u32 = 2;

/// The failures of all known browsers of one user without a pause, as a multiple of those of a network.
const BROWSERS_FAILURES: u32 = 4;

/// The longest pause of a name, or of all known browsers of a user. Its user can do nothing against it in a new browser.
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

/// A login that is being judged. It counts as failed from its beginning, so that logins at the same time are no more than
/// those one after the other, and in the end unless [`LoginTrial::end`] says otherwise.
#[derive(Debug)]
pub struct LoginTrial {
    lockout: Arc<LockoutTable>,
    settings: LockoutSettings,
    counted: Option<CountedLogin>,
}

/// The browser, or the network and the name, whose failures count.
#[derive(Clone, Copy, Debug)]
enum LoginSource {
    /// The browser, and all known ones of its user.
    Browser([CredentialFingerprint; 2]),
    Stranger {
        network: Option<Peer>,
        name: CredentialFingerprint,
    },
}

/// The failures that were added for a login.
#[derive(Debug)]
enum CountedLogin {
    Browser([(CredentialFingerprint, AddedFailure); 2]),
    Stranger { network: Option<(Peer, AddedFailure)>, name: (CredentialFingerprint, AddedFailure) },
}

impl LoginTrial {
    /// Ends the login, which was right or was not judged.
    pub fn end(mut self) {
        if let Some(counted) = self.counted.take() {
            self.lockout.take_back(&self.settings, &counted);
        }
    }
}

impl Drop for LoginTrial {
    fn drop(&mut self) {
        if let Some(counted) = self.counted.take() {
            self.lockout.report_failed(&counted);
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
        self.begin_login_at(self.now(), settings, login)
    }

    fn begin_login_at(
        self: &Arc<Self>,
        now: Duration,
        settings: Option<&LockoutSettings>,
        login: PageLogin<'_>,
    ) -> Result<LoginTrial, u32> {
        let settings = settings.copied().unwrap_or_default();
        let by = self.source_of(login);
        let mut state = self.state.lock();
        if let Some(rest) = state.rest_of(by, now) {
            let seconds = rest.as_nanos().div_ceil(1_000_000_000);
            return Err(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        let counted = Some(state.count(by, &settings, now));
        Ok(LoginTrial { lockout: Arc::clone(self), settings, counted })
    }

    fn source_of(&self, PageLogin { peer, name, browser }: PageLogin<'_>) -> LoginSource {
        match browser {
            Some(id) => {
                let hashes = [self.salt.hash((BROWSER, id)), self.salt.hash((BROWSERS, name))];
                LoginSource::Browser(hashes.map(CredentialFingerprint))
            }
            None => LoginSource::Stranger {
                network: peer.map(Peer::from),
                name: CredentialFingerprint(self.salt.hash((NAME, name))),
            },
        }
    }

    fn take_back(&self, settings: &LockoutSettings, counted: &CountedLogin) {
        let mut state = self.state.lock();
        match counted {
            CountedLogin::Browser([(own, of_own), (all, of_all)]) => {
                state.browsers.take_back(own, of_own, settings);
                state.browsers.take_back(all, of_all, &settings_of_browsers(settings));
            }
            CountedLogin::Stranger { network, name: (name, of_name) } => {
                if let Some((network, added)) = network {
                    state.networks.take_back(network, added, settings);
                }
                state.names.take_back(name, of_name, &settings_of_names(settings));
            }
        }
    }

    /// Tells of the pauses that a failed login has begun.
    fn report_failed(&self, counted: &CountedLogin) {
        let (network, added) = match counted {
            CountedLogin::Browser(both) => {
                (None, both.iter().map(|(_, added)| (Locked::Browser, added)).collect::<Vec<_>>())
            }
            CountedLogin::Stranger { network, name: (_, of_name) } => {
                let of_network = network.iter().map(|(_, added)| (Locked::Peer, added));
                let added = of_network.chain([(Locked::Name, of_name)]).collect();
                (network.as_ref().map(|(network, _)| *network), added)
            }
        };
        for (of, added) in added {
            if let Some(pause) = added.begun {
                self.reports.report(BegunPause { of, network, failures: added.number, pause, others: 0 });
            }
        }
    }
}

impl LockoutState {
    fn rest_of(&self, by: LoginSource, now: Duration) -> Option<Duration> {
        match by {
            LoginSource::Browser([own, all]) => {
                self.browsers.rest(&own, now).max(self.browsers.rest(&all, now))
            }
            LoginSource::Stranger { network, name } => {
                let of_network = network.and_then(|network| self.networks.rest(&network, now));
                of_network.max(self.names.rest(&name, now))
            }
        }
    }

    fn count(&mut self, by: LoginSource, settings: &LockoutSettings, now: Duration) -> CountedLogin {
        match by {
            LoginSource::Browser([own, all]) => CountedLogin::Browser([
                (own, self.browsers.add(own, settings, now)),
                (all, self.browsers.add(all, &settings_of_browsers(settings), now)),
            ]),
            LoginSource::Stranger { network, name } => CountedLogin::Stranger {
                network: network.map(|network| (network, self.networks.add(network, settings, now))),
                name: (name, self.names.add(name, &settings_of_names(settings), now)),
            },
        }
    }
}

fn settings_of_names(settings: &LockoutSettings) -> LockoutSettings {
    multiplied(settings, NAME_FAILURES)
}

fn settings_of_browsers(settings: &LockoutSettings) -> LockoutSettings {
    multiplied(settings, BROWSERS_FAILURES)
}

/// Settings with so many times the failures, and no pause that keeps a user away for long.
fn multiplied(settings: &LockoutSettings, times: u32) -> LockoutSettings {
    LockoutSettings {
        failures: settings.failures.saturating_mul(times),
        max_pause: settings.max_pause.min(LONGEST_OF_NAME).max(settings.pause),
        ..*settings
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
    fn many_known_browsers_give_no_more_guesses_than_some() {
        let lockout = Arc::<LockoutTable>::default();
        let known = |id, name| PageLogin { browser: Some([id; 16]), ..login(1, name) };
        let most = u8::try_from(SETTINGS.failures * BROWSERS_FAILURES).unwrap();
        for id in 0..most {
            lockout.begin_login(Some(&SETTINGS), known(id, "ada")).unwrap().end();
            fails(&lockout, known(id, "ada")).unwrap();
        }
        assert_eq!(fails(&lockout, known(200, "ada")), Err(5));
        assert_eq!(fails(&lockout, known(200, "ben")), Ok(()));
        assert_eq!(fails(&lockout, login(1, "ada")), Ok(()), "others are judged by theirs");
    }

    #[test]
    fn logins_at_the_same_time_pass_no_more_than_those_one_after_the_other() {
        let lockout = Arc::<LockoutTable>::default();
        let begin = |seconds, name: &str| {
            lockout.begin_login_at(Duration::from_secs(seconds), Some(&SETTINGS), login(1, name))
        };
        let begun: Vec<_> = ["a", "b", "c"].map(|name| begin(0, name).unwrap()).into();
        assert_eq!(begin(0, "d").map(drop), Err(5), "three are being judged");
        drop(begun);
        // After the pause, one of them may try, and the others wait until it is known to be right.
        let one = begin(5, "e").unwrap();
        assert_eq!(begin(5, "f").map(drop), Err(10));
        one.end();
        drop(begin(5, "f").unwrap());
        assert_eq!(begin(6, "g").map(drop), Err(9));
    }

    #[test]
    fn right_logins_at_the_same_time_leave_nothing_behind() {
        let lockout = Arc::<LockoutTable>::default();
        let begin = |peer| lockout.begin_login_at(Duration::ZERO, Some(&SETTINGS), login(peer, "ada"));
        let [first, second, third] = [1, 1, 1].map(|peer| begin(peer).unwrap());
        drop(second);
        first.end();
        third.end();
        assert_eq!(lockout.list(9).iter().map(|locked| locked.failures).collect::<Vec<_>>(), [1, 1]);
        assert!(lockout.list(9).iter().all(|locked| locked.rest.is_zero()));
        assert_eq!(lockout.reports.number(Locked::Peer), 0, "no pause has begun");
        for _ in 0..SETTINGS.failures {
            begin(2).unwrap().end();
        }
        assert_eq!(lockout.list(9).len(), 2, "nothing of the other network");
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
