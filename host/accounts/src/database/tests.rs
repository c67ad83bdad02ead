mod keeping;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Barrier;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::grants::{
    CodePresentation, CodeTerms, GrantFault, GrantTerms, GrantedTokens, RefreshPresentation,
};
use super::*;
use crate::test_accounts::{ISSUER, RESOURCE, TestAccounts};
use witgate_base::digest::sha256;
use witgate_basic::hash::PasswordHash;

const CLIENT: &str = "wgc_x";
const REDIRECT: &str = "http://127.0.0.1:1/cb";
const VERIFIER: &str = "0123456789012345678901234567890123456789012";
const SECOND: i64 = 1_000;

fn terms(accounts: &TestAccounts, now: i64) -> GrantTerms {
    GrantTerms {
        user: accounts.ada.id.clone(),
        client: CLIENT.to_owned(),
        client_name: "Client".to_owned(),
        resource: RESOURCE.to_owned(),
        scopes: vec!["mcp:read".to_owned()],
        logged_in: now,
    }
}

fn granted(accounts: &TestAccounts, database: &mut AccountDatabase, now: i64) -> SecretString {
    let session = database.begin_session(&accounts.ada, now).unwrap().unwrap();
    let terms = terms(accounts, now);
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let code = CodeTerms { redirect: REDIRECT.to_owned(), challenge };
    database.grant(&session, &terms, &code, now).unwrap().unwrap()
}

fn shown(code: &SecretString) -> CodePresentation<'_> {
    let code = code.expose_secret();
    CodePresentation { code, client: CLIENT, redirect: REDIRECT, verifier: VERIFIER, resource: None }
}

fn logged_in(accounts: &TestAccounts, database: &mut AccountDatabase, now: i64) -> GrantedTokens {
    let code = granted(accounts, database, now);
    database.exchange(&shown(&code), &accounts.settings, now).unwrap()
}

fn refreshed(
    accounts: &TestAccounts,
    database: &mut AccountDatabase,
    token: &SecretString,
    now: i64,
) -> Result<GrantedTokens, &'static str> {
    let token = token.expose_secret();
    let shown = RefreshPresentation { token, client: CLIENT, scopes: None, resource: None };
    database.refresh(shown, &accounts.settings, now).map_err(reason)
}

fn reason(fault: GrantFault) -> &'static str {
    match fault {
        GrantFault::Invalid(reason) => reason,
        GrantFault::Scope => "scope",
        GrantFault::Resource => "resource",
        GrantFault::Store(error) => panic!("{error}"),
    }
}

#[test]
fn all_files_are_private() {
    let accounts = TestAccounts::new();
    let _open = accounts.open();
    let place = accounts.place();
    let beside = |end: &str| place.store.with_file_name(format!("accounts.db{end}"));
    for path in [place.store.clone(), beside("-wal"), beside("-shm"), place.sealing_key(), place.ended()] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    std::fs::set_permissions(&place.store, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(AccountDatabase::open(place), Err(AccountsError::Open(_))));
}

#[test]
fn a_damaged_database_is_refused_and_stays_as_it_is() {
    let accounts = TestAccounts::new();
    let place = accounts.place();
    let whole = std::fs::read(&place.store).unwrap();
    let mut torn = whole.clone();
    for byte in torn.iter_mut().skip(5_000).take(8_000) {
        *byte = 0xa5;
    }
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&9_u32.to_be_bytes());
    let mut other = whole.clone();
    other[68..72].copy_from_slice(&7_u32.to_be_bytes());
    for (bytes, what) in
        [(Vec::new(), "empty"), (b"x".repeat(4_096), "text"), (torn, "torn"), (other, "other")]
    {
        std::fs::write(&place.store, &bytes).unwrap();
        for opened in [AccountDatabase::open(place), AccountDatabase::make(place)] {
            assert!(matches!(opened, Err(AccountsError::Damaged { .. })), "{what}: {opened:?}");
        }
        assert_eq!(std::fs::read(&place.store).unwrap(), bytes, "{what}");
    }
    std::fs::write(&place.store, newer).unwrap();
    assert!(matches!(AccountDatabase::open(place), Err(AccountsError::Newer { version: 9, .. })));
    std::fs::write(&place.store, whole).unwrap();
    std::fs::remove_file(place.sealing_key()).unwrap();
    assert!(matches!(AccountDatabase::make(place), Err(AccountsError::Seal(_))));
    assert!(!place.sealing_key().exists(), "no new key would open the old values");
}

#[test]
fn a_backup_is_whole_private_and_never_over_a_file() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let copy = accounts.folder.path().join("copy.db");
    database.back_up(&copy).unwrap();
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(database.back_up(&copy), Err(AccountsError::Exists(_))));
    database.add_user("ben", &PasswordHash::nobody(), &[]).unwrap();
    drop(database);
    std::fs::rename(&copy, &accounts.place().store).unwrap();
    let names: Vec<_> = accounts.open().users().unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["ada"]);
}

#[test]
fn a_code_is_for_its_client_and_verifier_and_once() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    let code = granted(&accounts, &mut database, now);
    let wrong = [
        (CodePresentation { client: "other", ..shown(&code) }, "client-mismatch"),
        (CodePresentation { redirect: "http://127.0.0.1:2/cb", ..shown(&code) }, "redirect-mismatch"),
        (CodePresentation { verifier: &"x".repeat(43), ..shown(&code) }, "verifier-mismatch"),
        (CodePresentation { verifier: "", ..shown(&code) }, "verifier-mismatch"),
        (CodePresentation { resource: Some("https://else.example.com"), ..shown(&code) }, "resource"),
        (CodePresentation { code: "guess", ..shown(&code) }, "code-unknown"),
    ];
    for (shown, wanted) in wrong {
        assert_eq!(database.exchange(&shown, &accounts.settings, now).map_err(reason).unwrap_err(), wanted);
    }
    let exchange = |database: &mut AccountDatabase, now| {
        database.exchange(&shown(&code), &accounts.settings, now).map_err(reason)
    };
    assert_eq!(exchange(&mut database, now + 60 * SECOND).unwrap_err(), "code-expired");
    let tokens = exchange(&mut database, now + 59 * SECOND).unwrap();
    assert_eq!(exchange(&mut database, now + 59 * SECOND).unwrap_err(), "code-reused");
    assert_eq!(
        refreshed(&accounts, &mut database, &tokens.refresh, now + 60 * SECOND).unwrap_err(),
        "grant-ended"
    );
    assert!(accounts.ended().contains("\"sid\""), "{}", accounts.ended());
}

#[test]
fn an_access_token_says_what_was_granted() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let tokens = logged_in(&accounts, &mut database, 5 * SECOND);
    let keys = database.public_keys().unwrap();
    let claims: Value = keys[0].claims_of(tokens.access.expose_secret()).unwrap();
    for (name, value) in
        [("iss", ISSUER), ("aud", RESOURCE), ("client_id", CLIENT), ("sub", &accounts.ada.id)]
    {
        assert_eq!(claims[name], *value, "{claims}");
    }
    assert_eq!((&claims["iat"], &claims["exp"]), (&5.into(), &3_605.into()));
    assert_eq!((&claims["roles"][0], &claims["scope"]), (&"ops".into(), &"mcp:read".into()));
    database.prepare_signing_key(false).unwrap();
    database.use_next_signing_key(false).unwrap();
    let keys = database.public_keys().unwrap();
    assert!(keys.iter().any(|key| key.claims_of::<Value>(tokens.access.expose_secret()).is_some()));
    let next = refreshed(&accounts, &mut database, &tokens.refresh, 6 * SECOND).unwrap();
    assert!(keys[0].claims_of::<Value>(next.access.expose_secret()).is_some());
}

#[test]
fn a_repeated_refresh_gets_the_same_successor_for_half_a_minute() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let first = logged_in(&accounts, &mut database, 0).refresh;
    let refresh = |database: &mut AccountDatabase, token: &SecretString, now| {
        refreshed(&accounts, database, token, now).map(|tokens| tokens.refresh)
    };
    let second = refresh(&mut database, &first, 0).unwrap();
    assert_ne!(first.expose_secret(), second.expose_secret());
    let repeated = refresh(&mut database, &first, 29 * SECOND).unwrap();
    assert_eq!(repeated.expose_secret(), second.expose_secret());
    let third = refresh(&mut database, &second, 40 * SECOND).unwrap();
    assert_eq!(refresh(&mut database, &first, 40 * SECOND).unwrap_err(), "refresh-reused");
    assert_eq!(refresh(&mut database, &third, 40 * SECOND).unwrap_err(), "grant-ended");

    let first = logged_in(&accounts, &mut database, 0).refresh;
    let second = refresh(&mut database, &first, 0).unwrap();
    assert_eq!(refresh(&mut database, &first, 31 * SECOND).unwrap_err(), "refresh-reused");
    assert_eq!(refresh(&mut database, &second, 31 * SECOND).unwrap_err(), "grant-ended");
}

#[test]
fn a_refresh_is_for_its_client_resource_and_scopes() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let token = logged_in(&accounts, &mut database, 0).refresh;
    let more = ["mcp:read".to_owned(), "mcp:write".to_owned()];
    let shown =
        RefreshPresentation { token: token.expose_secret(), client: CLIENT, scopes: None, resource: None };
    for (shown, wanted) in [
        (RefreshPresentation { client: "other", ..shown }, "client-mismatch"),
        (RefreshPresentation { scopes: Some(&more), ..shown }, "scope"),
        (RefreshPresentation { resource: Some("https://else.example.com"), ..shown }, "resource"),
        (RefreshPresentation { token: "wgr_x", ..shown }, "refresh-malformed"),
    ] {
        assert_eq!(database.refresh(shown, &accounts.settings, 0).map_err(reason).unwrap_err(), wanted);
    }
    let fewer = database.refresh(RefreshPresentation { scopes: Some(&[]), ..shown }, &accounts.settings, 0);
    assert!(fewer.unwrap().scopes.is_empty());
}

#[test]
fn a_login_ends_by_age_and_without_use() {
    const DAY: i64 = 86_400_000;
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let token = logged_in(&accounts, &mut database, 0).refresh;
    assert_eq!(refreshed(&accounts, &mut database, &token, 14 * DAY).unwrap_err(), "refresh-idle");
    let mut token = token;
    for day in [13, 26] {
        token = refreshed(&accounts, &mut database, &token, day * DAY).unwrap().refresh;
    }
    assert_eq!(refreshed(&accounts, &mut database, &token, 30 * DAY).unwrap_err(), "refresh-expired");
}

#[test]
fn each_change_of_a_user_ends_all_their_logins_at_once() {
    type Change = fn(&mut AccountDatabase) -> Result<users::AccountUser, AccountsError>;
    let changes: [(&str, Change); 5] = [
        ("password", |database| database.set_password("ada", &PasswordHash::nobody())),
        ("roles", |database| database.set_roles("ada", &[])),
        ("logout", |database| database.end_logins("ada", "logged-out")),
        ("disabled", |database| database.disable_user("ada")),
        ("removed", |database| database.remove_user("ada")),
    ];
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    for (what, change) in changes {
        let now = now_ms();
        database.enable_user("ada").unwrap();
        let session = database.begin_session(&accounts.ada, now).unwrap().unwrap();
        let tokens = logged_in(&accounts, &mut database, now);
        let before = accounts.ended().lines().count();
        // As another process does it.
        change(&mut accounts.open()).unwrap();
        assert_eq!(accounts.ended().lines().count(), before + 1, "{what}");
        assert_eq!(
            refreshed(&accounts, &mut database, &tokens.refresh, now).unwrap_err(),
            "grant-ended",
            "{what}"
        );
        assert!(database.session(&session, &accounts.settings, now).unwrap().is_none(), "{what}");
    }
    assert!(database.begin_session(&accounts.ada, 0).unwrap().is_none(), "nobody logs in as a removed user");
}

#[test]
fn a_client_ends_its_own_login_with_each_of_its_tokens() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    for takes_access in [true, false] {
        let now = now_ms();
        let tokens = logged_in(&accounts, &mut database, now);
        let token = if takes_access { &tokens.access } else { &tokens.refresh };
        assert!(!database.revoke(token.expose_secret(), "other").unwrap());
        assert!(!database.revoke("guess", CLIENT).unwrap());
        assert!(database.revoke(token.expose_secret(), CLIENT).unwrap());
        assert_eq!(refreshed(&accounts, &mut database, &tokens.refresh, now).unwrap_err(), "grant-ended");
    }
    assert_eq!(accounts.ended().matches("\"sid\"").count(), 2);
}

/// Five clients refresh at the same time, twenty times, in two processes.
#[test]
fn parallel_refreshes_are_one_rotation() {
    let accounts = TestAccounts::new();
    let mut token = logged_in(&accounts, &mut accounts.open(), now_ms()).refresh;
    for round in 0..20 {
        let barrier = Barrier::new(5);
        let refresh = || {
            let mut database = accounts.open();
            barrier.wait();
            refreshed(&accounts, &mut database, &token, now_ms()).unwrap().refresh
        };
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..5).map(|_| scope.spawn(refresh)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|one| one.expose_secret() == all[0].expose_secret()), "round {round}");
        let counter: i64 =
            accounts.open().connection.query_row("SELECT counter FROM grants", [], |row| row.get(0)).unwrap();
        assert_eq!(counter, round + 2);
        token = all[0].clone();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Tokens may come in any order and at any time: a client that always uses its newest token is never refused
    /// before an older one than the last was shown, and never accepted after that.
    #[test]
    fn an_old_token_ends_a_login_and_nothing_else_does(
        steps in prop::collection::vec((0_usize..4, 0_i64..40), 1..12),
    ) {
        let accounts = TestAccounts::new();
        let mut database = accounts.open();
        let mut tokens = vec![logged_in(&accounts, &mut database, 0).refresh];
        let (mut now, mut rotated, mut has_ended) = (0, 0, false);
        for (back, seconds) in steps {
            now += seconds * SECOND;
            let place = tokens.len().saturating_sub(1 + back);
            let age = tokens.len() - 1 - place;
            let is_good = !has_ended && (age == 0 || (age == 1 && now - rotated <= 30 * SECOND));
            let shown = tokens[place].clone();
            match refreshed(&accounts, &mut database, &shown, now) {
                Ok(issued) => {
                    prop_assert!(is_good);
                    if age == 0 {
                        rotated = now;
                        tokens.push(issued.refresh);
                    } else {
                        prop_assert_eq!(issued.refresh.expose_secret(), tokens[place + 1].expose_secret());
                    }
                }
                Err(reason) => {
                    prop_assert!(!is_good, "{}", reason);
                    has_ended = true;
                }
            }
        }
    }
}
