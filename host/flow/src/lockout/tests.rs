use std::sync::Arc;

use witgate_plugin::Denial;

use super::*;
use crate::dpop::{ProofError, ProofFault};

pub(super) const SETTINGS: LockoutSettings = LockoutSettings {
    failures: 3,
    pause: Duration::from_secs(5),
    max_pause: Duration::from_secs(60),
    forget: Duration::from_secs(100),
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn peer(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

impl LockoutTable {
    fn tries(&self, now: Duration, sender: IpAddr, credential: u64) -> Result<Suspect, u32> {
        self.shows(now, self.suspect(Some(sender), CredentialFingerprint(credential), None))
    }

    fn shows(&self, now: Duration, suspect: Suspect) -> Result<Suspect, u32> {
        self.check_at(|| now, &SETTINGS, suspect).map_err(|rejection| match rejection {
            Rejection::LockedOut { retry_after } => retry_after,
            other => panic!("{other:?}"),
        })
    }

    /// A sender who shows the password of a user.
    fn of_user(&self, sender: IpAddr, user: &str, password: u64) -> Suspect {
        self.suspect(Some(sender), CredentialFingerprint(password), Some(user.as_bytes()))
    }

    fn fails(&self, now: Duration, sender: IpAddr, credential: u64) -> Result<(), u32> {
        self.tries(now, sender, credential)
            .map(|suspect| self.note_failure(now, &SETTINGS, &suspect, CountedFailure::Guess))
    }

    fn succeeds(&self, now: Duration, credential: u64) {
        self.state.lock().accepted.add(CredentialFingerprint(credential), || credential, now);
    }
}

#[test]
fn pauses_of_a_network_grow_with_each_further_failure() {
    let lockout = LockoutTable::default();
    for credential in 0..3 {
        lockout.fails(at(0), peer(1), credential).unwrap();
    }
    assert_eq!(lockout.fails(at(0), peer(1), 9), Err(5));
    assert_eq!(lockout.fails(at(4), peer(1), 9), Err(1));
    assert!(lockout.fails(at(4), peer(2), 9).is_ok(), "another network");
    let mut now = at(5);
    for pause in [10, 20, 40, 60, 60] {
        lockout.fails(now, peer(1), now.as_secs() + 1_000).unwrap();
        assert_eq!(lockout.fails(now, peer(1), 9), Err(pause));
        now += at(pause.into());
    }
    now += SETTINGS.forget;
    lockout.fails(now, peer(1), 5_000).unwrap();
    assert!(lockout.fails(now, peer(1), 5_001).is_ok(), "the failures are forgotten");
}

#[test]
fn one_wrong_credential_is_no_guessing_and_is_paused_itself() {
    let lockout = LockoutTable::default();
    for _ in 0..3 {
        lockout.fails(at(0), peer(1), 7).unwrap();
    }
    assert_eq!(lockout.fails(at(0), peer(2), 7), Err(5), "from everywhere");
    assert!(lockout.tries(at(0), peer(1), 8).is_ok(), "others at this address may try");
}

#[test]
fn a_good_credential_passes_wherever_others_guess() {
    let lockout = LockoutTable::default();
    lockout.succeeds(at(0), 7);
    for credential in 100..103 {
        lockout.fails(at(1), peer(1), credential).unwrap();
    }
    assert!(lockout.tries(at(1), peer(1), 8).is_err());
    assert!(lockout.tries(at(1), peer(1), 7).is_ok());
    // Somebody shows the credential without what else it needs, such as a proof.
    for _ in 0..100 {
        lockout.fails(at(1), peer(3), 7).unwrap();
    }
    assert!(lockout.tries(at(1), peer(1), 7).is_ok() && lockout.tries(at(1), peer(3), 8).is_ok());
}

#[test]
fn parallel_guesses_lengthen_the_pause_of_their_network() {
    let lockout = LockoutTable::default();
    let running: Vec<_> = (0..5).map(|guess| lockout.tries(at(0), peer(1), guess).unwrap()).collect();
    running.iter().for_each(|suspect| lockout.note_failure(at(1), &SETTINGS, suspect, CountedFailure::Guess));
    assert_eq!(lockout.fails(at(1), peer(1), 99), Err(20), "as after five failures one after the other");
    lockout.fails(at(21), peer(1), 100).unwrap();
    assert_eq!(lockout.fails(at(21), peer(1), 99), Err(40));
    assert_eq!(lockout.reports.number(Locked::Peer), 2, "each begins once");
}

#[test]
fn parallel_requests_with_one_wrong_credential_do_not_lengthen_its_pause() {
    let lockout = LockoutTable::default();
    let running: Vec<_> = (0..50).map(|_| lockout.tries(at(0), peer(1), 7).unwrap()).collect();
    running.iter().for_each(|suspect| lockout.note_failure(at(1), &SETTINGS, suspect, CountedFailure::Guess));
    assert_eq!(lockout.fails(at(1), peer(1), 7), Err(5));
    assert!(lockout.tries(at(1), peer(1), 8).is_ok());
}

#[test]
fn tokens_that_are_no_longer_active_are_paused_and_their_networks_are_not() {
    let lockout = LockoutTable::default();
    for credential in 0..100 {
        let suspect = lockout.tries(at(0), peer(1), credential).unwrap();
        lockout.note_failure(at(0), &SETTINGS, &suspect, CountedFailure::of("inactive", 1).unwrap());
    }
    for _ in 0..2 {
        let suspect = lockout.tries(at(0), peer(1), 7).unwrap();
        lockout.note_failure(at(0), &SETTINGS, &suspect, CountedFailure::Inactive);
    }
    assert_eq!(lockout.fails(at(0), peer(1), 7), Err(5));
    assert!(lockout.fails(at(0), peer(1), 8).is_ok());
    assert_eq!(
        (CountedFailure::of("expired", 1), CountedFailure::of("unknown-key", 1)),
        (None, Some(CountedFailure::Guess))
    );
}

#[test]
fn an_inactive_token_beside_keys_may_be_a_guess_at_a_key() {
    assert_eq!(CountedFailure::of("inactive", 2), Some(CountedFailure::Guess));
}

#[test]
fn beginnings_of_pauses_are_told_rarely_however_many_networks_guess() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&told);
    let lockout = LockoutTable::default().observed_by(move |begun| all.lock().push(begun.clone()));
    for sender in 0..20 {
        for credential in 0..3 {
            lockout.fails(at(0), peer(sender), u64::from(sender) * 10 + credential).unwrap();
        }
    }
    for _ in 0..3 {
        lockout.fails(at(0), peer(99), 7_000).unwrap();
    }
    let told = told.lock();
    let [of_network, of_credential] = &told[..] else { panic!("{told:?}") };
    assert_eq!((of_network.of, of_network.network), (Locked::Peer, Some(peer(0).into())));
    assert_eq!((of_network.failures, of_network.pause, of_network.others), (3, at(5), 0));
    assert_eq!((of_credential.of, of_credential.network), (Locked::Credential, Some(peer(99).into())));
}

/// An old token, a denial, and a policy that cannot decide are no guesses.
#[test]
fn only_refused_credentials_count() {
    let lockout = LockoutTable::default();
    let refused = |reason: &str| Rejection::Refused { policy: None, reason: reason.to_owned(), detail: None };
    let denial =
        Denial { reason: "not-allowed".to_owned(), scopes: Vec::new(), retry_after: None, detail: None };
    let harmless = [
        refused("expired"),
        Rejection::Denied { policy: None, denial },
        Rejection::Proof(ProofError::Bad { fault: ProofFault::Missing, nonce: None }),
        Rejection::Proof(ProofError::Full { retry_after: 1 }),
        Rejection::Full { what: "a table", retry_after: 1 },
        Rejection::Unrecorded,
        Rejection::NoCredential,
    ];
    for (number, rejection) in (0..).zip(harmless.iter().cycle().take(100)) {
        let suspect = lockout.tries(lockout.now(), peer(1), number).unwrap();
        lockout.note(Some(&SETTINGS), Some(suspect), Err(rejection), 1);
    }
    assert!(lockout.list(10).is_empty());
    for number in 1_000..1_003 {
        let suspect = lockout.tries(lockout.now(), peer(1), number).unwrap();
        lockout.note(Some(&SETTINGS), Some(suspect), Err(&refused("invalid-key")), 1);
    }
    assert!(lockout.tries(lockout.now(), peer(1), 9).is_err());
    let begun = [Locked::Peer, Locked::Credential].map(|of| lockout.reports.number(of));
    assert_eq!(begun, [1, 0]);
}

#[test]
fn an_ipv6_network_is_one_sender() {
    let lockout = LockoutTable::default();
    let address = |end: u64| format!("2001:db8::{end:x}").parse::<IpAddr>().unwrap();
    for end in 0..3 {
        lockout.fails(at(0), address(end), end).unwrap();
    }
    assert!(lockout.fails(at(0), address(77), 77).is_err());
}

#[test]
fn a_full_ledger_keeps_running_pauses() {
    let mut ledger = Ledger::with_room(8);
    for _ in 0..3 {
        ledger.add(0, &SETTINGS, at(0));
    }
    for other in 1..1_000 {
        ledger.add(other, &SETTINGS, at(1));
    }
    assert_eq!((ledger.rest(&0, at(1)), ledger.all(at(1)).count()), (Some(at(4)), 8));
}

#[test]
fn operators_see_and_end_pauses() {
    let lockout = LockoutTable::default();
    for credential in 0..3 {
        lockout.note_failure(
            lockout.now(),
            &SETTINGS,
            &lockout.tries(lockout.now(), peer(1), credential).unwrap(),
            CountedFailure::Guess,
        );
    }
    let [network, credentials @ ..] = &lockout.list(10)[..] else { panic!() };
    assert_eq!((network.network, network.failures), (Some(peer(1).into()), 3));
    assert!(network.rest > at(4) && credentials.len() == 3);
    assert!(format!("{lockout:?}").contains("CredentialFingerprint(****)"), "{lockout:?}");
    assert_eq!((lockout.clear(Some(peer(2))), lockout.clear(Some(peer(1)))), (0, 1));
    assert!(lockout.tries(lockout.now(), peer(1), 9).is_ok());
    assert_eq!((lockout.clear(None), lockout.list(10)), (3, Vec::new()));
}

#[test]
fn unknown_links_pause_unknown_links_alone() {
    let lockout = LockoutTable::default();
    let note = |now, sender| lockout.note_link_at(at(now), &SETTINGS, Peer::from(sender));
    for _ in 0..3 {
        note(0, peer(1)).unwrap();
    }
    assert_eq!(note(0, peer(1)), Err(Rejection::LockedOut { retry_after: 5 }));
    assert_eq!(note(0, peer(2)), Ok(()), "another network");
    assert!(lockout.tries(at(0), peer(1), 1).is_ok(), "calls of the network go on");
    assert_eq!((lockout.reports.number(Locked::Link), lockout.reports.number(Locked::Peer)), (1, 0));
    assert_eq!(note(5, peer(1)), Ok(()), "the pause is over");
    assert_eq!(note(5, peer(1)), Err(Rejection::LockedOut { retry_after: 10 }));
    assert_eq!(lockout.clear(Some(peer(1))), 1);
    assert_eq!(note(5, peer(1)), Ok(()));
    assert_eq!(lockout.note_unknown_link(None, Some(peer(1))), Ok(()), "there is no lockout");
}

#[test]
fn a_password_whose_check_nobody_waits_for_counts_as_wrong() {
    let lockout = LockoutTable::default();
    for credential in 0..9 {
        let key = lockout.tries(lockout.now(), peer(1), credential).unwrap();
        drop(lockout.checking(Some(&SETTINGS), Some(key)));
    }
    assert!(lockout.tries(lockout.now(), peer(1), 99).is_ok(), "nobody guesses keys in such a way");
    for password in 0..3 {
        let password = lockout.of_user(peer(1), "ada", password);
        drop(lockout.checking(Some(&SETTINGS), Some(password)));
    }
    assert!(lockout.tries(lockout.now(), peer(1), 99).is_err());
}

/// Otherwise, a pause would tell which passwords are good, and let whoever guesses one in.
#[test]
fn a_pause_does_not_tell_whether_a_password_is_good_elsewhere() {
    let lockout = LockoutTable::default();
    let good = |sender| lockout.of_user(sender, "ada", 7);
    lockout.state.lock().accepted.add(good(peer(1)).good_as, || 0, at(0));
    for (sender, first) in [(peer(1), 100), (peer(2), 200)] {
        for guess in first..first + 3 {
            lockout.fails(at(1), sender, guess).unwrap();
        }
    }
    assert_eq!(lockout.shows(at(1), good(peer(2))).err(), Some(5), "nobody has shown it from there");
    assert!(lockout.shows(at(1), good(peer(1))).is_ok(), "its user goes on where others guess");
}

#[test]
fn under_one_name_few_passwords_are_tried_in_a_pause() {
    let lockout = LockoutTable::default();
    let shows =
        |now, user, password| lockout.shows(at(now), lockout.of_user(peer(1), user, password)).is_ok();
    for user in ["ada", "ben"] {
        lockout.state.lock().accepted.add(lockout.of_user(peer(1), user, 7).good_as, || 0, at(0));
    }
    for guess in 100..103 {
        lockout.fails(at(1), peer(1), guess).unwrap();
    }
    assert!(!shows(1, "ada", 8) && !shows(1, "ada", 9) && shows(1, "ada", 7));
    assert!(!shows(1, "ada", 10) && !shows(1, "ada", 7), "too many were tried before");
    assert!(shows(1, "ben", 7), "not for others");
    assert!(shows(6, "ada", 7), "the pause is over");
}

#[test]
fn the_name_of_a_password_is_what_stands_before_the_colon() {
    let user = |pair: &str| {
        let mut shown = Credentials::default();
        shown.add(Scheme::Basic, None, pair.to_owned().into());
        user_in(&shown).map(|user| user.to_vec())
    };
    for (pair, name) in [("YWRhOng=", "ada"), ("YWRhOng6eQ==", "ada"), ("Ong=", ""), ("YWRh", ""), ("?", "")]
    {
        assert_eq!(user(pair).as_deref(), Some(name.as_bytes()), "{pair}");
    }
    assert!(user_in(&Credentials::default()).is_none());
}
