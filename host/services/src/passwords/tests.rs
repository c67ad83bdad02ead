use std::num::NonZeroU32;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use witgate_basic::hash::RECOMMENDED;

use super::memory::{MOST, PREFERRED, REMEMBERED};
use super::*;

/// Hashes of `correct horse`, made by Python's passlib and argon2-cffi; the last one by Apache's `htpasswd -B`.
const HASHES: [&str; 9] = [
    "$argon2id$v=19$m=64,t=1,p=1$0hrD2JsTwtibkzKG8F6L8Q$djR0Qf8q2IVYMDfc6eIFyBOl61AuM1AkZNVbd6N+cD8",
    "$argon2i$v=19$m=64,t=2,p=2$JyQkBAAghBDCuLc2xrhX6g$/KBLBROe4LtNUi8Rj6UywTG5B3fkrStkK7TVLoi9iIk",
    "$argon2d$v=19$m=64,t=1,p=1$2bs3RogRYozxvpcyRshZSw$IL3m1mHLmncz7m4pjfP6Wi7lixVgeIZxRIvq4Uol9X0",
    "$2a$04$NF..51hwFCiR0XdS5pmDjO4568.hxMkgHRmdSI48Z852lx1VOfohW",
    "$2b$04$qXQVRPQ6ZxN1oWTcJNXIzO7.YjtJQTZXPrhLloGawl95fVO6P.eua",
    "$scrypt$ln=4,r=8,p=1$W0uplZLSujfmXOtd651zDg$IUId7q3k+T0tT8DOb0FMy2gbkOTecLi9x3E6lWrGjLo",
    "$pbkdf2-sha256$1000$hjAGAADg3BvDeO/d2ztnjA$IWCoro8Ew8JupFBSxiRCF6mQUNY9jfSaQNcE6PUBOfg",
    "$pbkdf2-sha256$i=1000,l=32$hjAGAADg3BvDeO/d2ztnjA$IWCoro8Ew8JupFBSxiRCF6mQUNY9jfSaQNcE6PUBOfg",
    "$2y$04$U1hiWKnP4LxhnZtSu2jup.RNORiAPtY3BGpNwAyUETEWyGzKYEfui",
];

/// A hash of `secret` of the lowest cost, so that tests are quick.
fn quick(salt: &str) -> String {
    let (salt, mut digest) = (salt.repeat(8), [0; 32]);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, NonZeroU32::MIN, salt.as_bytes(), b"secret", &mut digest);
    let [salt, digest] = [salt.as_bytes(), &digest].map(|bytes| STANDARD_NO_PAD.encode(bytes));
    format!("$pbkdf2-sha256$1${salt}${digest}")
}

fn source(last: u8) -> CallerDigest {
    CallerDigest::of_peer(Some([192, 0, 2, last].into()))
}

async fn is_right(checks: &PasswordChecks, hash: &str, password: &str) -> bool {
    checks.check(hash, password, source(1), None).await.unwrap().is_right
}

#[test]
fn hashes_of_other_programs_are_checked() {
    for text in HASHES {
        let hash: PasswordHash = text.parse().unwrap();
        assert!(!hash.is_current(), "{text}");
        assert_eq!(algorithm::is_right(&hash, "correct horse"), Some(true), "{text}");
        assert_eq!(algorithm::is_right(&hash, "correct horse "), Some(false), "{text}");
        assert_eq!(algorithm::is_right(&hash.decoy(), "correct horse"), Some(false), "{text}");
    }
}

#[test]
fn a_new_hash_is_current_and_has_a_salt_of_its_own() {
    let (first, second) = (
        algorithm::hash_of("secret", RECOMMENDED).unwrap(),
        algorithm::hash_of("secret", RECOMMENDED).unwrap(),
    );
    assert!(first.is_current() && first != second);
    assert_eq!(algorithm::is_right(&first, "secret"), Some(true));
    assert_eq!(algorithm::is_right(&first, "Secret"), Some(false));
}

/// bcrypt itself would accept it.
#[test]
fn a_password_beyond_what_bcrypt_reads_is_wrong() {
    let password = "x".repeat(72);
    let hash: PasswordHash = bcrypt::hash(&password, 4).unwrap().parse().unwrap();
    assert_eq!(algorithm::is_right(&hash, &password), Some(true));
    assert_eq!(algorithm::is_right(&hash, &format!("{password}y")), Some(false));
}

#[tokio::test]
async fn a_right_password_is_hashed_once() {
    let (checks, hash) = (PasswordChecks::default(), quick("a"));
    for _ in 0..3 {
        assert!(is_right(&checks, &hash, "secret").await);
    }
    assert_eq!(checks.hashed(), 1);
    for round in 0..3 {
        assert!(!is_right(&checks, &hash, "other").await);
        assert_eq!(checks.hashed(), 2 + round, "a wrong one each time");
    }
    assert!(is_right(&checks, &hash, "secret").await);
}

#[tokio::test]
async fn a_changed_hash_forgets_the_former_password() {
    let checks = PasswordChecks::default();
    assert!(is_right(&checks, &quick("a"), "secret").await);
    let before = checks.hashed();
    assert!(is_right(&checks, &quick("b"), "secret").await);
    assert_eq!(checks.hashed(), before + 1);
}

#[tokio::test]
async fn an_unusable_hash_is_an_error() {
    let checks = PasswordChecks::default();
    let costly =
        "$argon2id$v=19$m=1048576,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for hash in ["secret", "", costly] {
        let checked = checks.check(hash, "secret", source(1), None).await;
        assert_eq!(checked, Err(PasswordError::UnusableHash), "{hash}");
    }
    assert_eq!(checks.hashed(), 0);
}

#[tokio::test]
async fn an_outdated_hash_is_renewed_only_after_the_right_password() {
    let (checks, hash) = (PasswordChecks::default(), quick("a"));
    let wrong = checks.check(&hash, "other", source(1), Some(RECOMMENDED)).await.unwrap();
    assert_eq!(wrong, PasswordCheck::WRONG);
    let renewed = checks.check(&hash, "secret", source(1), Some(RECOMMENDED)).await.unwrap().renewed.unwrap();
    assert!(renewed.is_current());
    let before = checks.hashed();
    assert!(is_right(&checks, renewed.as_str(), "secret").await);
    assert_eq!(checks.hashed(), before, "the new hash is remembered, too");
}

#[tokio::test]
async fn a_hash_of_a_lower_cost_than_configured_is_renewed() {
    let checks = PasswordChecks::default();
    let higher = Argon2Hash { memory_kib: 20_480, passes: 3, ..RECOMMENDED };
    let recommended = algorithm::hash_of("secret", RECOMMENDED).unwrap();
    let checked = checks.check(recommended.as_str(), "secret", source(1), Some(higher)).await.unwrap();
    let renewed = checked.renewed.unwrap();
    assert!(renewed.as_str().starts_with("$argon2id$v=19$m=20480,t=3,p=1$"), "{}", renewed.as_str());
    assert!(renewed.is_at_least(higher) && renewed.is_current() && !recommended.is_at_least(higher));
}

#[tokio::test]
async fn checks_are_counted_by_result() {
    let (checks, hash) = (PasswordChecks::default(), quick("a"));
    for password in ["secret", "secret", "other"] {
        is_right(&checks, &hash, password).await;
    }
    let _ = checks.check("no hash", "secret", source(1), None).await;
    let counts = [("remembered", 1), ("right", 1), ("wrong", 1), ("refused", 0), ("failed", 1)];
    assert_eq!(checks.meters().results(), counts);
    assert_eq!(checks.meters().times().map(|(_, times)| times.count), [2, 2]);
}

/// A hash of some milliseconds.
fn slow(salt: &str) -> String {
    quick(salt).replace("$1$", "$20000$")
}

#[tokio::test]
async fn checks_run_one_per_processor_and_the_queue_is_bounded() {
    let (checks, hash) = (PasswordChecks::new(2), quick("a"));
    // No check ends, because it waits for memory.
    let _memory = checks.memory.acquire_many(MEMORY_KIB).await.unwrap();
    let sources = (0..40).flat_map(|network| [source(network); 20]);
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting = Vec::new();
    for source in sources {
        let mut check = Box::pin(checks.check(&hash, "other", source, None));
        match check.as_mut().poll(&mut context) {
            Poll::Pending => waiting.push(check),
            Poll::Ready(checked) => assert_eq!(checked, Err(BUSY)),
        }
    }
    assert!((2..=2 + MOST_WAITING).contains(&waiting.len()), "{}", waiting.len());
    let turns = || [200, 201, 202].map(|network| checks.turns.take(&source(network)));
    assert!(turns().iter().all(Option::is_none), "those that do not wait have both");
    drop(waiting);
    assert_eq!(turns().map(|turn| turn.is_some()), [true, true, false]);
    assert_eq!(checks.hashed(), 0);
}

#[tokio::test]
async fn a_network_that_floods_leaves_room_for_others() {
    let checks = Arc::new(PasswordChecks::new(2));
    let flood: Vec<_> = (0..500)
        .map(|_| {
            let checks = Arc::clone(&checks);
            tokio::spawn(async move { checks.check(&slow("a"), "other", source(1), None).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(checks.check(&quick("b"), "secret", source(2), None).await.unwrap().is_right);
    for check in flood {
        drop(check.await.unwrap());
    }
}

#[tokio::test]
async fn a_password_that_was_right_has_a_place_in_a_flood() {
    let (checks, hash) = (PasswordChecks::new(1), quick("a"));
    let before = Instant::now().checked_sub(REMEMBERED).unwrap();
    checks.right.add(&hash, "secret", before);
    let _flood: Vec<_> = (1..200).filter_map(|network| checks.places.take(&source(network))).collect();
    assert_eq!(checks.check(&hash, "guess", source(202), None).await, Err(BUSY));
    assert!(checks.check(&hash, "secret", source(202), None).await.unwrap().is_right);
}

/// A machine with many processors has no more memory for hashes than one with few.
#[tokio::test]
async fn a_hash_waits_for_memory() {
    let (checks, hash) = (PasswordChecks::new(64), quick("a"));
    let taken = checks.memory.acquire_many(MEMORY_KIB).await.unwrap();
    let mut check = Box::pin(checks.check(&hash, "secret", source(1), None));
    assert!(check.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(checks.hashed(), 0);
    drop(taken);
    assert!(check.await.unwrap().is_right);
}

#[test]
fn a_hash_counts_with_its_memory() {
    let cost = |text: &str, renews| memory_kib(&text.parse().unwrap(), renews);
    assert_eq!(HASHES.map(|text| cost(text, None)), [64, 64, 64, 4, 4, 18, 1, 1, 4]);
    assert_eq!(cost(HASHES[3], Some(RECOMMENDED)), 19_456, "the new hash");
    let most = "$scrypt$ln=17,r=8,p=1$W0uplZLSujfmXOtd651zDg$IUId7q3k+T0tT8DOb0FMy2gbkOTecLi9x3E6lWrGjLo";
    assert_eq!(cost(most, None), MEMORY_KIB, "there is room for at least one of each");
}

/// If it were wrong, its sender would be locked out.
#[test]
fn without_memory_no_password_is_wrong() {
    assert_eq!(algorithm::has_memory(usize::MAX), None);
    assert_eq!(algorithm::has_memory(1 << 10), Some(()));
}

#[test]
fn two_checks_a_second_have_the_usual_priority() {
    let (checks, now) = (PasswordChecks::default(), Instant::now());
    let usual: Vec<_> = (0..20).filter(|tenth| checks.is_usual(now + PAUSE / 5 * *tenth)).collect();
    assert_eq!(usual, [0, 5, 10, 15]);
}

#[test]
fn the_memory_has_one_password_of_a_user_for_nine_minutes() {
    let (right, now) = (RightPasswords::default(), Instant::now());
    right.add("hash", "one", now);
    right.add("hash", "two", now);
    assert!(!right.has("hash", "one", now) && right.has("hash", "two", now));
    assert!(!right.has("has", "htwo", now) && !right.has("hashtwo", "", now));
    assert_eq!(right.sizes(), (1, 1));
    assert!(!right.has("hash", "two", now + REMEMBERED));
    assert!(
        right.prefers("hash", "two", now + REMEMBERED) && !right.prefers("hash", "one", now + REMEMBERED)
    );
    assert!(!right.prefers("hash", "two", now + PREFERRED));
    right.add("other", "three", now + PREFERRED);
    assert_eq!(right.sizes(), (1, 1), "what is over is removed");
}

#[test]
fn the_memory_is_bounded() {
    let (right, now) = (RightPasswords::default(), Instant::now());
    for user in 0..MOST + 10 {
        right.add(&format!("hash {user}"), "secret", now);
    }
    assert_eq!(right.sizes(), (MOST, MOST));
    assert!(!right.has("hash 0", "secret", now) && right.has(&format!("hash {MOST}"), "secret", now));
}
