//! The logins that have begun at providers. The table is bounded, and each network has a share.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use witgate_plugin::Digest;

use witgate_base::breaker::CallerDigest;
use witgate_credentials::login::Login;
use witgate_runtime::shares::{Capacity, Holdings};

/// A login holds the request of a client, so at most some megabytes.
const BOUNDS: Capacity = Capacity { most: 1_024, most_of_one: 64 };

/// The time for a person to log in at the provider.
const LIFETIME: Duration = Duration::from_secs(600);

/// A login that has begun.
pub(super) struct OpenLogin {
    /// The number of the provider.
    pub(super) provider: usize,
    pub(super) login: Login,
    /// The value that the ID token repeats.
    pub(super) nonce: String,
    /// The digest of the secret of the browser.
    pub(super) browser: Digest,
    /// The request of a client after which the browser goes on.
    pub(super) next: String,
    pub(super) source: CallerDigest,
}

/// The logins, by the digest of their state.
#[derive(Default)]
pub(super) struct OpenLogins(Mutex<LoginTable>);

#[derive(Default)]
struct LoginTable {
    logins: HashMap<Digest, (Instant, OpenLogin)>,
    held: Holdings<CallerDigest>,
}

impl OpenLogins {
    /// Adds a login. If there is no room, the oldest one of the network with the most logins ends.
    pub(super) fn add(&self, state: Digest, login: OpenLogin) {
        self.0.lock().add(state, login, Instant::now());
    }

    /// Takes the login with this state, once. Only the browser in which it has begun gets it, and for others it stays.
    pub(super) fn take(&self, state: &Digest, browser: &Digest) -> Option<OpenLogin> {
        self.0.lock().take(state, browser, Instant::now())
    }
}

impl LoginTable {
    fn add(&mut self, state: Digest, login: OpenLogin, now: Instant) {
        let is_over = |(began, _): &(Instant, OpenLogin)| now.duration_since(*began) >= LIFETIME;
        let ended: Vec<_> =
            self.logins.iter().filter(|(_, login)| is_over(login)).map(|(state, _)| *state).collect();
        ended.iter().for_each(|state| drop(self.remove(state)));
        while let Some(giving) = self.held.gives_way(&login.source, 1, BOUNDS) {
            let of_party = self.logins.iter().filter(|(_, (_, login))| login.source == giving);
            let oldest = of_party.min_by_key(|(_, (began, _))| *began).map(|(state, _)| *state);
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
        }
        self.held.add(&login.source, 1);
        self.logins.insert(state, (now, login));
    }

    fn take(&mut self, state: &Digest, browser: &Digest, now: Instant) -> Option<OpenLogin> {
        let (began, login) = self.logins.get(state)?;
        let is_good = login.browser == *browser && now.duration_since(*began) < LIFETIME;
        is_good.then(|| self.remove(state)).flatten()
    }

    fn remove(&mut self, state: &Digest) -> Option<OpenLogin> {
        let (_, login) = self.logins.remove(state)?;
        self.held.remove(&login.source, 1);
        Some(login)
    }
}

#[cfg(test)]
mod tests {
    use witgate_services::network::Ways;

    use super::*;
    use crate::test_provider::settings;

    fn login(source: &str, browser: u8) -> OpenLogin {
        let settings = settings("http://127.0.0.1:1");
        let redirect = settings.redirect_uri.clone();
        let login = Login::of_grant(&"hub".into(), settings.client, &Ways::closed(), redirect).unwrap();
        OpenLogin {
            provider: 0,
            login,
            nonce: String::new(),
            browser: [browser; 32],
            next: String::new(),
            source: CallerDigest::of(source),
        }
    }

    #[test]
    fn a_login_is_taken_once_in_its_browser_and_in_time() {
        let (mut table, now) = (LoginTable::default(), Instant::now());
        for state in [1, 2] {
            table.add([state; 32], login("a", 7), now);
        }
        assert!(table.take(&[1; 32], &[8; 32], now).is_none(), "another browser");
        assert!(table.take(&[3; 32], &[7; 32], now).is_none(), "another state");
        assert!(table.take(&[1; 32], &[7; 32], now).is_some());
        assert!(table.take(&[1; 32], &[7; 32], now).is_none(), "once");
        assert!(table.take(&[2; 32], &[7; 32], now + LIFETIME).is_none(), "too late");
        table.add([4; 32], login("a", 7), now + LIFETIME);
        assert_eq!((table.logins.len(), table.held.all()), (1, 1), "the late one is forgotten");
    }

    #[test]
    fn a_flood_of_one_network_displaces_only_its_own_logins() {
        let (mut table, now) = (LoginTable::default(), Instant::now());
        table.add([255; 32], login("other", 1), now);
        for number in 0..200_u8 {
            table.add([number; 32], login("flood", 1), now + Duration::from_millis(number.into()));
        }
        assert_eq!(table.held.of(&CallerDigest::of("flood")), BOUNDS.most_of_one);
        assert!(table.take(&[255; 32], &[1; 32], now).is_some());
        assert!(table.take(&[0; 32], &[1; 32], now).is_none(), "the oldest of the flood has ended");
        assert!(table.take(&[199; 32], &[1; 32], now).is_some());
    }
}
