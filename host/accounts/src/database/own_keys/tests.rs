use super::*;
use crate::test_accounts::TestAccounts;

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
    let (key, text) = database.make_key(&accounts.ada.id, terms("ci"), now_ms()).unwrap();
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
    assert!(matches!(database.make_key(&accounts.ada.id, terms("b"), now_ms()), Err(OwnKeyFault::User)));
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
    database.make_key(&accounts.ada.id, terms("ci"), now_ms()).unwrap();
    database.make_key(&long.id, terms("ci"), now_ms()).unwrap();
    assert_eq!(file(&accounts).len(), 2);
}

#[test]
fn rights_that_no_key_can_have_cost_nobody_else_their_keys() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let ben = database.add_user("ben", &accounts.ada.hash, &[]).unwrap();
    database.make_key(&accounts.ada.id, terms("ci"), now_ms()).unwrap();
    // As a provider gives them.
    let give = "INSERT INTO roles (user, role) VALUES (?1, ?2)";
    for number in 0..300 {
        database.connection.execute(give, (&ben.id, format!("r{number}"))).unwrap();
    }
    let made = database.make_key(&ben.id, terms("ci"), now_ms());
    assert!(matches!(made, Err(OwnKeyFault::Unfit)), "{made:?}");
    assert_eq!(file(&accounts).len(), 1);
    database.set_roles("ben", &[]).unwrap();
    database.make_key(&ben.id, terms("ci"), now_ms()).unwrap();
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
    let (key, _) = database.make_key(ada, terms("ci"), now).unwrap();
    assert!(matches!(database.make_key(ada, terms("ci"), now), Err(OwnKeyFault::Taken)));
    assert_eq!(database.end_key(&ben.id, &key.id, now).unwrap(), None);
    assert_eq!(database.end_key(ada, "ci", now).unwrap(), Some(key));
    assert!(file(&accounts)[0].revoked.is_some());
    assert!(database.keys_of(ada).unwrap().is_empty());
    assert_eq!(database.end_key(ada, "ci", now).unwrap(), None);
    database.make_key(ada, terms("ci"), now).unwrap();
    database.make_key(ada, terms("other"), now).unwrap();
    assert_eq!(database.end_keys(ada, now).unwrap(), 2);
    // The day after, nothing is left of them.
    database.make_key(&ben.id, terms("ci"), now + 2 * DAY).unwrap();
    assert_eq!(file(&accounts).len(), 1);
}

#[test]
fn the_keys_of_a_user_are_bounded() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let (ada, now) = (&accounts.ada.id, now_ms());
    for place in 0..MOST_OF_A_DAY {
        database.make_key(ada, terms(&format!("k{place}")), now).unwrap();
        if place + 1 >= MOST_OF_ONE {
            let more = database.make_key(ada, terms("more"), now);
            assert!(matches!(more, Err(OwnKeyFault::TooMany)), "{more:?}");
            database.end_key(ada, &format!("k{place}"), now).unwrap();
        }
    }
    let more = database.make_key(ada, terms("more"), now);
    assert!(matches!(more, Err(OwnKeyFault::TooMany)), "{more:?}");
    database.make_key(ada, terms("more"), now + DAY + 1).unwrap();
}

#[test]
fn terms_are_checked() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    let mut refused = |change: fn(&mut OwnKeyTerms)| {
        let mut terms = terms("ci");
        change(&mut terms);
        database.make_key(&accounts.ada.id, terms, now).unwrap_err().to_string()
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
    database.make_key(&accounts.ada.id, terms("a"), now).unwrap();
    database.make_key(&accounts.ada.id, OwnKeyTerms { expires: Some(now + DAY), ..terms("b") }, now).unwrap();
    assert_eq!(database.count_keys(now, now + 2 * DAY).unwrap(), (2, 1));
    assert_eq!(database.count_keys(now + DAY, now + 2 * DAY).unwrap(), (1, 0));
}

#[test]
fn each_change_of_a_key_is_an_event() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let now = now_ms();
    database.move_events(&drop).unwrap();
    let (key, text) = database.make_key(&accounts.ada.id, terms("ci"), now).unwrap();
    database.end_keys(&accounts.ada.id, now).unwrap();
    let events = std::cell::RefCell::new(Vec::new());
    database.move_events(&|event| events.borrow_mut().push(event)).unwrap();
    let told: Vec<_> = events.take().into_iter().map(|event| (event.action, event.key, event.name)).collect();
    let of = |action| (action, Some(key.id.clone()), Some("ada".to_owned()));
    assert_eq!(told, [of(AccountAction::KeyMade), of(AccountAction::KeyEnded)]);
    assert!(!format!("{told:?}").contains(text.expose_secret()));
}
