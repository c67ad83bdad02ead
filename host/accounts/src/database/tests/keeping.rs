//! The files beside the database, after failures, kills, steps of the clock and floods.

use std::time::Instant;

use super::*;
use crate::event::{AccountAction, AccountEvent, Actor};
use witgate_base::whole_file::Lock;

/// Takes the files beside the database away while `work` runs.
fn without_files<T>(accounts: &TestAccounts, work: impl FnOnce() -> T) -> T {
    let place = accounts.place();
    let aside = place.folder.with_file_name("aside");
    std::fs::rename(&place.folder, &aside).unwrap();
    let done = work();
    std::fs::rename(&aside, &place.folder).unwrap();
    done
}

/// The number of logins in the list.
fn sids(accounts: &TestAccounts) -> usize {
    accounts.ended().matches("\"sid\"").count()
}

#[test]
fn an_ending_that_a_command_could_not_put_in_force_is_put_in_force_by_the_running_process() {
    let accounts = TestAccounts::new();
    let mut running = AccountDatabase::open_within(accounts.place(), REQUEST_PATIENCE).unwrap();
    running.publish().unwrap();
    logged_in(&accounts, &mut running, now_ms());
    let mut command = accounts.open();
    let ended = without_files(&accounts, || command.end_logins("ada", "ended"));
    assert!(matches!(ended, Err(AccountsError::NotInForce(_))), "{ended:?}");
    // As if it was killed: nobody calls it again.
    drop(command);
    assert_eq!(sids(&accounts), 0);
    running.keep_up().unwrap();
    assert_eq!(sids(&accounts), 1);
}

#[test]
fn an_own_ending_that_could_not_be_put_in_force_is_tried_again() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    logged_in(&accounts, &mut database, now_ms());
    let ended = without_files(&accounts, || database.end_logins("ada", "ended"));
    assert!(matches!(ended, Err(AccountsError::NotInForce(_))), "{ended:?}");
    database.keep_up().unwrap();
    assert_eq!(sids(&accounts), 1);
}

/// Somebody may stop a command with the lock in its hand.
#[test]
fn a_lock_that_another_process_keeps_delays_requests_for_a_moment() {
    let accounts = TestAccounts::new();
    let mut running = AccountDatabase::open_within(accounts.place(), REQUEST_PATIENCE).unwrap();
    running.publish().unwrap();
    logged_in(&accounts, &mut running, now_ms());
    let kept = Lock::take(&accounts.place().ended()).unwrap();
    let begin = Instant::now();
    let ended = running.end_logins("ada", "ended");
    assert!(matches!(ended, Err(AccountsError::NotInForce(_))), "{ended:?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(kept);
    running.keep_up().unwrap();
    assert_eq!(sids(&accounts), 1);
}

#[test]
fn a_file_that_cannot_be_written_does_not_keep_the_other_one_from_it() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    logged_in(&accounts, &mut database, now_ms());
    let keys = accounts.place().key_set();
    std::fs::remove_file(&keys).unwrap();
    std::fs::create_dir_all(keys.join("in the way")).unwrap();
    assert!(matches!(database.end_logins("ada", "ended"), Err(AccountsError::NotInForce(_))));
    assert_eq!(sids(&accounts), 1);
}

#[test]
fn a_damaged_file_is_made_again() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    logged_in(&accounts, &mut database, now_ms());
    database.end_logins("ada", "ended").unwrap();
    let (ended, keys) = (accounts.place().ended(), accounts.place().key_set());
    let whole = [&ended, &keys].map(|path| std::fs::read(path).unwrap());
    for path in [&ended, &keys] {
        std::fs::write(path, b"\xff\xfe torn").unwrap();
    }
    database.publish().unwrap();
    assert_eq!([&ended, &keys].map(|path| std::fs::read(path).unwrap()), whole);
}

#[test]
fn a_login_without_an_access_token_is_no_line() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    granted(&accounts, &mut database, now_ms());
    database.end_logins("ada", "ended").unwrap();
    assert_eq!(sids(&accounts), 0);
}

#[test]
fn a_line_stays_until_the_last_token_has_expired_whatever_the_clock_was() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    logged_in(&accounts, &mut database, now_ms());
    database.end_logins("ada", "ended").unwrap();
    let set = |database: &AccountDatabase, column: &str, value: i64| {
        database.connection.execute(&format!("UPDATE grants SET {column} = ?1"), [value]).unwrap()
    };
    // The clock stood at 1970 when the login ended.
    set(&database, "ended", 0);
    database.publish().unwrap();
    assert_eq!(sids(&accounts), 1);
    set(&database, "token_end", now_ms() - 2 * 3_600 * SECOND);
    database.publish().unwrap();
    assert_eq!(sids(&accounts), 0);
}

#[test]
fn one_user_makes_the_list_no_longer_than_a_few_hundred_lines() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let begin = now_ms();
    for number in 0..250 {
        let now = begin + number * 3 * SECOND;
        logged_in(&accounts, &mut database, now);
        database.end_logins("ada", "ended").unwrap();
    }
    let listed = accounts.ended();
    assert!(sids(&accounts) < 200, "{}", listed.lines().count());
    assert_eq!(listed.matches("\"before\"").count(), 1, "{listed}");
    // The first token is refused by the line about all of them.
    let revoked = witgate_jwt::revocation::RevokedTokens::parse(&listed);
    assert!(revoked.is_ok(), "{listed}");
}

#[test]
fn a_user_gets_few_logins_in_a_minute() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    for _ in 0..30 {
        granted(&accounts, &mut database, now);
    }
    let session = database.begin_session(&accounts.ada, &password_start(), now).unwrap().unwrap();
    let terms = terms(&accounts, now);
    let code = CodeTerms { redirect: REDIRECT.to_owned(), challenge: "x".to_owned() };
    let granted = database.grant(&session, &terms, &code, now);
    assert!(matches!(granted, Err(AccountsError::TooMany)), "{granted:?}");
    assert!(database.grant(&session, &terms, &code, now + 61 * SECOND).unwrap().is_some());
}

#[test]
fn a_clock_that_is_set_back_opens_no_window() {
    const DAY: i64 = 86_400 * SECOND;
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let first = logged_in(&accounts, &mut database, 10 * DAY).refresh;
    refreshed(&accounts, &mut database, &first, 10 * DAY).unwrap();
    let old = refreshed(&accounts, &mut database, &first, 10 * DAY - 60 * SECOND);
    assert_eq!(old.unwrap_err(), "refresh-reused");
    let code = granted(&accounts, &mut database, 10 * DAY);
    let shown = shown(&code);
    let exchanged = database.exchange(&shown, &accounts.settings, 8 * DAY).map_err(reason);
    assert_eq!(exchanged.unwrap_err(), "code-expired");
    let session = database.begin_session(&accounts.ada, &password_start(), 10 * DAY).unwrap().unwrap();
    assert!(database.session(&session, &accounts.settings, 8 * DAY).unwrap().is_none());
}

#[test]
fn a_session_that_ends_after_a_minute_without_use_stays_while_it_is_used() {
    let mut accounts = TestAccounts::new();
    accounts.settings.session_idle = Duration::from_secs(60);
    let mut database = accounts.open();
    let session = database.begin_session(&accounts.ada, &password_start(), 0).unwrap().unwrap();
    for now in (0..300).step_by(40) {
        let found = database.session(&session, &accounts.settings, now * SECOND).unwrap();
        assert!(found.is_some(), "{now}");
    }
}

#[test]
fn a_key_signs_only_after_it_was_published_and_a_distrusted_one_is_gone() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let id = |database: &mut AccountDatabase| database.signer().unwrap().public().id().to_owned();
    let published = || std::fs::read_to_string(accounts.place().key_set()).unwrap();
    let first = id(&mut database);
    database.prepare_signing_key(false).unwrap();
    assert_eq!(id(&mut database), first);
    assert_eq!(published().matches("\"kid\"").count(), 2);
    // A second command, after a kill of the first one.
    accounts.open().prepare_signing_key(false).unwrap();
    database.use_next_signing_key(false).unwrap();
    let second = id(&mut database);
    assert!(first != second && published().contains(&first) && published().contains(&second));
    database.prepare_signing_key(true).unwrap();
    database.use_next_signing_key(true).unwrap();
    let third = id(&mut database);
    assert!(published().contains(&third));
    assert!(!published().contains(&first) && !published().contains(&second));
    assert!(database.use_next_signing_key(false).is_err(), "there is no next one");
    assert_eq!(id(&mut database), third, "a failed change changes nothing");
}

#[test]
fn a_used_code_ends_its_login_only_for_who_has_the_verifier() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    let code = granted(&accounts, &mut database, now);
    let tokens = database.exchange(&shown(&code), &accounts.settings, now).unwrap();
    let other = "x".repeat(43);
    let guess = CodePresentation { verifier: &other, ..shown(&code) };
    assert_eq!(
        database.exchange(&guess, &accounts.settings, now).map_err(reason).unwrap_err(),
        "verifier-mismatch"
    );
    let tokens = refreshed(&accounts, &mut database, &tokens.refresh, now).unwrap();
    assert_eq!(
        database.exchange(&shown(&code), &accounts.settings, now).map_err(reason).unwrap_err(),
        "code-reused"
    );
    assert_eq!(refreshed(&accounts, &mut database, &tokens.refresh, now).unwrap_err(), "grant-ended");
}

#[test]
fn a_scope_that_is_not_offered_any_more_is_not_granted_any_more() {
    let mut accounts = TestAccounts::new();
    let mut database = accounts.open();
    let tokens = logged_in(&accounts, &mut database, 0);
    assert_eq!(tokens.scopes, ["mcp:read"]);
    accounts.settings.scopes.clear();
    assert!(refreshed(&accounts, &mut database, &tokens.refresh, 0).unwrap().scopes.is_empty());
}

#[test]
fn any_token_is_enough_for_an_operator_to_end_its_login() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    for takes_access in [true, false] {
        let tokens = logged_in(&accounts, &mut database, now_ms());
        let token = if takes_access { &tokens.access } else { &tokens.refresh };
        assert_eq!(database.revoke_any("a.b.c").unwrap(), None);
        assert_eq!(database.revoke_any(token.expose_secret()).unwrap(), Some(true));
        assert_eq!(database.revoke_any(token.expose_secret()).unwrap(), Some(false));
    }
    assert_eq!(sids(&accounts), 2);
}

#[test]
fn a_grant_that_is_too_old_is_not_shown() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    logged_in(&accounts, &mut database, 0);
    let shown = |now| database.live_grants_of(&accounts.ada.id, &accounts.settings, now).unwrap().len();
    assert_eq!((shown(SECOND), shown(15 * 86_400 * SECOND)), (1, 0));
}

#[test]
fn a_name_is_no_id() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let added = database.add_user(&accounts.ada.id, &PasswordHash::nobody(), &[]);
    assert!(matches!(added, Err(AccountsError::Invalid(_))), "{added:?}");
    assert_eq!(database.named_user(&accounts.ada.id).unwrap().name, "ada");
}

#[test]
fn files_of_another_database_are_not_touched() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    logged_in(&accounts, &mut database, now_ms());
    database.end_logins("ada", "ended").unwrap();
    let before = accounts.ended();
    let other = TestAccounts::new();
    for end in ["", "-wal", "-shm"] {
        let from = other.place().store.with_file_name(format!("accounts.db{end}"));
        let to = accounts.place().store.with_file_name(format!("accounts.db{end}"));
        let _ = std::fs::remove_file(&to);
        let _ = std::fs::copy(from, to);
    }
    std::fs::copy(other.place().sealing_key(), accounts.place().sealing_key()).unwrap();
    for opened in [AccountDatabase::open(accounts.place()), AccountDatabase::make(accounts.place())] {
        assert!(matches!(opened, Err(AccountsError::Foreign { .. })), "{opened:?}");
    }
    assert!(database.keep_up().is_err(), "nor by a running process");
    assert_eq!(accounts.ended(), before);
}

#[test]
fn a_migration_is_made_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = Connection::open(folder.path().join("x.db")).unwrap();
    let version = |connection: &Connection| -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    let first = "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);";
    migrate(&mut connection, &[first]).unwrap_or_else(|_| panic!());
    let broken = "ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO none VALUES (1);";
    assert!(migrate(&mut connection, &[first, broken]).is_err());
    assert_eq!(version(&connection), 1);
    assert!(connection.prepare("SELECT y FROM a").is_err(), "nothing of it stays");
    let whole = "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 5;";
    migrate(&mut connection, &[first, whole]).unwrap_or_else(|_| panic!());
    let row: (i64, i64) =
        connection.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!((version(&connection), row), (2, (1, 5)));
    assert!(matches!(migrate(&mut connection, &[first]), Err(OpenFault::Newer(2))));
}

#[test]
fn events_are_kept_with_their_change_and_moved_once() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let mut moved = || {
        let events = parking_lot::Mutex::new(Vec::<AccountEvent>::new());
        database.move_events(&|event| events.lock().push(event)).unwrap();
        events.into_inner()
    };
    let [added] = moved().try_into().unwrap();
    assert_eq!((added.action, added.by), (AccountAction::UserAdded, Some(Actor::operator())));
    assert!(moved().is_empty());
    let mut other = accounts.open();
    other.act_as(Some(Actor::User { user: "admin".to_owned() }));
    other.set_roles("ada", &["a".to_owned()]).unwrap();
    assert!(other.set_roles("nobody", &[]).is_err());
    let [changed] = moved().try_into().unwrap();
    assert_eq!(changed.by, Some(Actor::User { user: "admin".to_owned() }));
    assert_eq!((changed.name.as_deref(), changed.roles), (Some("ada"), Some(vec!["a".to_owned()])));
}
