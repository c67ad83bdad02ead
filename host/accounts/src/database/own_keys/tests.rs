use super::*;
use crate::database::grants::{CodeTerms, GrantTerms, challenge_of};
use crate::database::sessions::SessionStart;
use crate::login_method::LoginMethod;
use crate::test_accounts::{RESOURCE, TestAccounts};

const DAY: i64 = REMEMBERED_MS;

fn terms(name: &str) -> OwnKeyTerms {
    OwnKeyTerms { name: name.to_owned(), scopes: vec!["mcp:read".to_owned()], expires: None }
}

/// The entries of the file, which have to be what the api-key check reads.
fn file(accounts: &TestAccounts) -> Vec<StoredKey> {
    let text = std::fs::read_to_string(accounts.place().own_keys()).unwrap();
    Store::parse(&text).unwrap().keys
}

#[test]
fn a_key_has_the_rights_of_its_owner_as_they_are_now() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let (key, text) =
        database.make_key(&accounts.ada.id, terms("ci"), KeyOrigin::Operator, now_ms()).unwrap();
    let entry = file(&accounts).pop().unwrap();
    assert_eq!(entry.sha256.0, sha256(text.expose_secret().as_bytes()));
    assert_eq!(
        (entry.owner.as_ref(), entry.roles.as_slice()),
        (Some(&accounts.ada.id), ["ops".to_owned()].as_slice())
    );
    let name = format!("{}/{}", accounts.ada.id, key.id);
    assert_eq!((entry.name, entry.scopes), (name, vec!["mcp:read".to_owned()]));

    database.set_roles("ada", &["readonly".to_owned()]).unwrap();
    assert_eq!(file(&accounts)[0].roles, ["readonly"]);
    database.disable_user("ada").unwrap();
    assert!(file(&accounts)[0].revoked.is_some());
    assert!(matches!(
        database.make_key(&accounts.ada.id, terms("b"), KeyOrigin::Operator, now_ms()),
        Err(OwnKeyFault::User)
    ));
    database.enable_user("ada").unwrap();
    assert!(file(&accounts)[0].revoked.is_none());
    database.remove_user("ada").unwrap();
    assert!(file(&accounts).is_empty());
}

#[test]
fn the_longest_name_of_a_user_costs_nobody_their_keys() {
    use witgate_basic::credential::LONGEST_NAME;
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let long = database.add_user(&"n".repeat(LONGEST_NAME), &accounts.ada.hash, &[]).unwrap();
    database.make_key(&accounts.ada.id, terms("ci"), KeyOrigin::Operator, now_ms()).unwrap();
    database.make_key(&long.id, terms("ci"), KeyOrigin::Operator, now_ms()).unwrap();
    assert_eq!(file(&accounts).len(), 2);
}

#[test]
fn rights_that_no_key_can_have_cost_nobody_else_their_keys() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let ben = database.add_user("ben", &accounts.ada.hash, &[]).unwrap();
    database.make_key(&accounts.ada.id, terms("ci"), KeyOrigin::Operator, now_ms()).unwrap();
    // As a provider gives them.
    let give = "INSERT INTO roles (user, role) VALUES (?1, ?2)";
    for number in 0..300 {
        database.connection.execute(give, (&ben.id, format!("r{number}"))).unwrap();
    }
    let made = database.make_key(&ben.id, terms("ci"), KeyOrigin::Operator, now_ms());
    assert!(matches!(made, Err(OwnKeyFault::Unfit)), "{made:?}");
    assert_eq!(file(&accounts).len(), 1);
    database.set_roles("ben", &[]).unwrap();
    database.make_key(&ben.id, terms("ci"), KeyOrigin::Operator, now_ms()).unwrap();
    database.connection.execute(give, (&ben.id, "r".repeat(257))).unwrap();
    database.publish().unwrap();
    let owners: Vec<_> = file(&accounts).into_iter().filter_map(|key| key.owner).collect();
    assert_eq!(owners, std::slice::from_ref(&accounts.ada.id));
}

#[test]
fn a_key_ends_for_good_and_its_name_is_free_again() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let (ada, now) = (&accounts.ada.id, now_ms());
    let ben = database.add_user("ben", &accounts.ada.hash, &[]).unwrap();
    let (key, _) = database.make_key(ada, terms("ci"), KeyOrigin::Operator, now).unwrap();
    assert!(matches!(database.make_key(ada, terms("ci"), KeyOrigin::Operator, now), Err(OwnKeyFault::Taken)));
    assert_eq!(database.end_key(&ben.id, &key.id, now).unwrap(), None);
    assert_eq!(database.end_key(ada, "ci", now).unwrap(), Some(key));
    assert!(file(&accounts)[0].revoked.is_some());
    assert!(database.keys_of(ada).unwrap().is_empty());
    assert_eq!(database.end_key(ada, "ci", now).unwrap(), None);
    database.make_key(ada, terms("ci"), KeyOrigin::Operator, now).unwrap();
    database.make_key(ada, terms("other"), KeyOrigin::Operator, now).unwrap();
    assert_eq!(database.end_keys(ada, now).unwrap(), 2);
    // The day after, nothing is left of them.
    database.make_key(&ben.id, terms("ci"), KeyOrigin::Operator, now + 2 * DAY).unwrap();
    assert_eq!(file(&accounts).len(), 1);
}

#[test]
fn the_keys_of_a_user_are_bounded() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let (ada, now) = (&accounts.ada.id, now_ms());
    for place in 0..MOST_OF_A_DAY {
        database.make_key(ada, terms(&format!("k{place}")), KeyOrigin::Operator, now).unwrap();
        if place + 1 >= MOST_OF_ONE {
            let more = database.make_key(ada, terms("more"), KeyOrigin::Operator, now);
            assert!(matches!(more, Err(OwnKeyFault::TooMany)), "{more:?}");
            database.end_key(ada, &format!("k{place}"), now).unwrap();
        }
    }
    let more = database.make_key(ada, terms("more"), KeyOrigin::Operator, now);
    assert!(matches!(more, Err(OwnKeyFault::TooMany)), "{more:?}");
    database.make_key(ada, terms("more"), KeyOrigin::Operator, now + DAY + 1).unwrap();
}

/// Adds users with as many keys and roles as possible.
fn add_large_users(database: &AccountDatabase, numbers: std::ops::Range<usize>, now: i64) {
    let connection = &database.connection;
    for number in numbers {
        let (user, name) = (format!("{number:032x}"), format!("user {number}"));
        let statement =
            "INSERT INTO users (id, name, hash, created) SELECT ?1, ?2, hash, created FROM users LIMIT 1";
        connection.execute(statement, (&user, name)).unwrap();
        for role in 0..64 {
            let values = (&user, format!("{role:0128}"));
            connection.execute("INSERT INTO roles (user, role) VALUES (?1, ?2)", values).unwrap();
        }
        for key in 0..MOST_OF_ONE {
            let id = format!("{:032x}", number * 100 + usize::try_from(key).unwrap());
            let values = (&id, &user, format!("k{key}"), sha256(id.as_bytes()), now);
            let statement = "INSERT INTO own_keys (id, user, name, digest, scopes, created, strong)
                             VALUES (?1, ?2, ?3, ?4, '', ?5, 1)";
            connection.execute(statement, values).unwrap();
        }
    }
}

/// Otherwise, no key of anybody would be accepted.
#[test]
fn the_file_of_keys_is_never_longer_than_a_policy_reads() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let (ada, now) = (&accounts.ada.id, now_ms());
    let length = || std::fs::metadata(accounts.place().own_keys()).unwrap().len();
    database.connection.execute_batch("BEGIN").unwrap();
    add_large_users(&database, 0..40, now);
    database.connection.execute_batch("COMMIT").unwrap();
    database.make_key(ada, terms("ci"), KeyOrigin::Operator, now).unwrap();
    assert_eq!(file(&accounts).len(), 40 * 20 + 1);
    assert!(length() <= stored(&database.connection, now).unwrap().bytes as u64);
    database.connection.execute_batch("BEGIN").unwrap();
    add_large_users(&database, 40..100, now + 1);
    database.connection.execute_batch("COMMIT").unwrap();
    let more = database.make_key(ada, terms("more"), KeyOrigin::Operator, now);
    assert!(matches!(more, Err(OwnKeyFault::Full)), "{more:?}");
    // Users may have got more roles.
    database.publish().unwrap();
    assert!(length() < 16 << 20, "{}", length());
    let kept = file(&accounts);
    assert!(kept.len() > 1_000 && kept.len() < 100 * 20, "{}", kept.len());
    assert!(kept.iter().any(|key| key.owner.as_ref() == Some(ada)), "older keys stay");
}

#[test]
fn terms_are_checked() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    let mut refused = |change: fn(&mut OwnKeyTerms)| {
        let mut terms = terms("ci");
        change(&mut terms);
        database.make_key(&accounts.ada.id, terms, KeyOrigin::Operator, now).unwrap_err().to_string()
    };
    let names: [fn(&mut OwnKeyTerms); 4] = [
        |terms| terms.name.clear(),
        |terms| terms.name = " a".to_owned(),
        |terms| terms.name = "a\nb".to_owned(),
        |terms| terms.name = "x".repeat(65),
    ];
    for name in names {
        assert!(refused(name).contains("a name of 1 to 64 bytes"));
    }
    assert!(refused(|terms| terms.scopes.push("a b".to_owned())).contains("not scopes"));
    assert!(refused(|terms| terms.expires = Some(0)).contains("in the future"));
    assert!(refused(|terms| terms.expires = Some(i64::MAX)).contains("in the future"));
}

#[test]
fn keys_near_their_end_are_counted() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    database.make_key(&accounts.ada.id, terms("a"), KeyOrigin::Operator, now).unwrap();
    database
        .make_key(
            &accounts.ada.id,
            OwnKeyTerms { expires: Some(now + DAY), ..terms("b") },
            KeyOrigin::Operator,
            now,
        )
        .unwrap();
    assert_eq!(database.count_keys(now, now + 2 * DAY).unwrap(), (2, 1));
    assert_eq!(database.count_keys(now + DAY, now + 2 * DAY).unwrap(), (1, 0));
}

#[test]
fn each_change_of_a_key_is_an_event() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    database.move_events(&drop).unwrap();
    let (key, text) = database.make_key(&accounts.ada.id, terms("ci"), KeyOrigin::Operator, now).unwrap();
    database.end_keys(&accounts.ada.id, now).unwrap();
    let events = std::cell::RefCell::new(Vec::new());
    database.move_events(&|event| events.borrow_mut().push(event)).unwrap();
    let told: Vec<_> = events.take().into_iter().map(|event| (event.action, event.key, event.name)).collect();
    let of = |action| (action, Some(key.id.clone()), Some("ada".to_owned()));
    assert_eq!(told, [of(AccountAction::KeyMade), of(AccountAction::KeyEnded)]);
    assert!(!format!("{told:?}").contains(text.expose_secret()));
}

/// The id of a grant that ada gives to a client after a login of this way.
fn granted(
    accounts: &TestAccounts,
    database: &mut AccountDatabase,
    method: LoginMethod,
    now: i64,
) -> GrantId {
    let start = SessionStart::here(method, "");
    let session = database.begin_session(&accounts.ada, &start, now).unwrap().unwrap();
    let terms = GrantTerms {
        user: accounts.ada.id.clone(),
        client: "wgc_x".to_owned(),
        client_name: "Client".to_owned(),
        resource: RESOURCE.to_owned(),
        scopes: vec!["mcp:read".to_owned()],
        logged_in: now,
    };
    let challenge = challenge_of("0123456789012345678901234567890123456789012");
    let code = CodeTerms { redirect: "http://127.0.0.1:1/cb".to_owned(), challenge };
    database.grant(&session, &terms, &code, now).unwrap().unwrap();
    let query = "SELECT id FROM grants ORDER BY rowid DESC LIMIT 1";
    database.connection.query_row(query, [], |row| row.get(0)).unwrap()
}

fn until(name: &str, end: i64) -> OwnKeyTerms {
    OwnKeyTerms { expires: Some(end), ..terms(name) }
}

#[test]
fn a_key_of_a_program_is_for_its_resource_and_ends_with_its_login() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let (ada, settings, now) = (&accounts.ada.id, &accounts.settings, now_ms());
    let grant = granted(&accounts, &mut database, LoginMethod::Password, now);
    let program = KeyOrigin::Program(grant, settings);
    // The login ends after 14 days without use.
    let end = database.grant_end(ada, grant, settings).unwrap().unwrap();
    assert_eq!(end, now + 14 * DAY);
    for long in [terms("ci"), until("ci", end + 1)] {
        let refused = database.make_key(ada, long, program, now);
        assert!(matches!(refused, Err(OwnKeyFault::AfterLogin)), "{refused:?}");
    }
    let ben = database.add_user("ben", &accounts.ada.hash, &[]).unwrap();
    let foreign = database.make_key(&ben.id, until("ci", end), program, now);
    assert!(matches!(foreign, Err(OwnKeyFault::Login)), "{foreign:?}");
    let (key, _) = database.make_key(ada, until("ci", end), program, now).unwrap();
    assert_eq!(
        (key.resource.as_deref(), file(&accounts)[0].resource.as_deref()),
        (Some(RESOURCE), Some(RESOURCE))
    );
    database.end_grant(ada, grant, "ended").unwrap();
    assert!(file(&accounts)[0].revoked.is_some());
    assert_eq!(
        (database.keys_of(ada).unwrap(), database.grant_end(ada, grant, settings).unwrap()),
        (vec![], None)
    );
    let late = database.make_key(ada, until("ci", end), program, now);
    assert!(matches!(late, Err(OwnKeyFault::Login)), "{late:?}");
}

#[test]
fn the_end_of_all_logins_ends_keys_of_programs_and_no_others() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let (ada, now) = (&accounts.ada.id, now_ms());
    let grant = granted(&accounts, &mut database, LoginMethod::Password, now);
    let program = KeyOrigin::Program(grant, &accounts.settings);
    database.make_key(ada, until("of a program", now + DAY), program, now).unwrap();
    database.make_key(ada, terms("of a person"), KeyOrigin::Owner(LoginMethod::Password), now).unwrap();
    database.end_logins("ada", "logged-out").unwrap();
    let left = database.keys_of(ada).unwrap();
    assert_eq!(left.iter().map(|key| &*key.terms.name).collect::<Vec<_>>(), ["of a person"]);
    assert_eq!(file(&accounts).iter().filter(|key| key.revoked.is_some()).count(), 1);
}

#[test]
fn a_key_is_as_strong_as_the_login_of_its_maker() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    let weak = granted(&accounts, &mut database, LoginMethod::Password, now);
    let strong = granted(&accounts, &mut database, LoginMethod::Passkey, now);
    for (origin, is_strong) in [
        (KeyOrigin::Operator, true),
        (KeyOrigin::Owner(LoginMethod::Password), false),
        (KeyOrigin::Owner(LoginMethod::PasswordAndCode), true),
        (KeyOrigin::Program(weak, &accounts.settings), false),
        (KeyOrigin::Program(strong, &accounts.settings), true),
    ] {
        let (key, _) = database.make_key(&accounts.ada.id, until("ci", now + DAY), origin, now).unwrap();
        let entry = file(&accounts).into_iter().find(|entry| entry.id == key.id).unwrap();
        assert_eq!((key.is_strong, !entry.single_factor), (is_strong, is_strong), "{origin:?}");
        assert_eq!(database.end_key(&accounts.ada.id, "ci", now).unwrap(), Some(key));
    }
}

#[test]
fn the_keys_of_all_users_together_are_bounded() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let ben = database.add_user("ben", &accounts.ada.hash, &["ops".to_owned()]).unwrap();
    let many = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2)
                INSERT INTO own_keys (id, user, name, digest, scopes, created, strong)
                SELECT lower(hex(randomblob(16))), ?1, 'k' || n, randomblob(32), 'mcp:read', 0, 1 FROM numbers";
    database.connection.execute(many, (&ben.id, MOST_OF_ALL - 1)).unwrap();
    let (ada, now) = (&accounts.ada.id, now_ms());
    database.make_key(ada, terms("a"), KeyOrigin::Operator, now).unwrap();
    let more = database.make_key(ada, terms("b"), KeyOrigin::Operator, now);
    assert!(matches!(more, Err(OwnKeyFault::Full)), "{more:?}");
    assert_eq!(file(&accounts).len(), 10_000);
    assert!(std::fs::metadata(accounts.place().own_keys()).unwrap().len() < 16 << 20);
}

#[test]
fn a_key_that_cannot_be_in_force_is_taken_back_and_that_is_an_event() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    database.move_events(&drop).unwrap();
    let path = accounts.place().own_keys();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let made = database.make_key(&accounts.ada.id, terms("ci"), KeyOrigin::Operator, now_ms());
    assert!(matches!(made, Err(OwnKeyFault::Store(_))), "{made:?}");
    assert!(database.keys_of(&accounts.ada.id).unwrap().is_empty());
    let events = std::cell::RefCell::new(Vec::new());
    database.move_events(&|event| events.borrow_mut().push((event.action, event.reason))).unwrap();
    let ended = (AccountAction::KeyEnded, Some("not-in-force".to_owned()));
    assert_eq!(events.take(), [(AccountAction::KeyMade, None), ended]);
}

#[test]
fn the_event_of_a_key_of_a_program_names_it() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    let grant = granted(&accounts, &mut database, LoginMethod::Password, now);
    database.move_events(&drop).unwrap();
    let program = KeyOrigin::Program(grant, &accounts.settings);
    database.make_key(&accounts.ada.id, until("ci", now + DAY), program, now).unwrap();
    let events = std::cell::RefCell::new(Vec::new());
    database.move_events(&|event| events.borrow_mut().push((event.client, event.resource))).unwrap();
    assert_eq!(events.take(), [(Some("wgc_x".to_owned()), Some(RESOURCE.to_owned()))]);
}
