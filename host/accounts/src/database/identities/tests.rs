use super::*;
use crate::event::Actor;
use crate::login_method::LoginMethod;
use crate::test_accounts::{TestAccounts, password_start};

const ISSUER: &str = "https://idp.example.com";

fn arrival(subject: &str, name: &str) -> ProviderArrival {
    ProviderArrival {
        provider: "idp".to_owned(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        name: name.to_owned(),
        email: None,
        matches_email: false,
        gets_account: false,
        roles: BTreeMap::new(),
    }
}

fn new(subject: &str, name: &str) -> ProviderArrival {
    ProviderArrival { gets_account: true, ..arrival(subject, name) }
}

/// With this verified address, which finds the account of that name.
fn addressed(arrival: ProviderArrival, email: &str) -> ProviderArrival {
    ProviderArrival { email: Some(email.to_owned()), matches_email: true, ..arrival }
}

/// With the same subject at another provider.
fn elsewhere(arrival: ProviderArrival) -> ProviderArrival {
    let issuer = "https://other.example.com".to_owned();
    ProviderArrival { provider: "other".to_owned(), issuer, ..arrival }
}

fn arrive(database: &mut AccountDatabase, arrival: &ProviderArrival, now: i64) -> ArrivalOutcome {
    arrive_in(database, arrival, now).1
}

/// The secret of the session, too.
fn arrive_in(
    database: &mut AccountDatabase,
    arrival: &ProviderArrival,
    now: i64,
) -> (SecretString, ArrivalOutcome) {
    let secret = SecretString::from(random::text().unwrap());
    let start = SessionStart {
        method: LoginMethod::Provider,
        provider: Some(arrival.provider.clone()),
        browser: String::new(),
    };
    let outcome = database.arrive(arrival, (&secret, &start), now).unwrap();
    (secret, outcome)
}

/// The events that wait, without those of the user `ada`.
fn events(database: &mut AccountDatabase) -> Vec<AccountEvent> {
    let events = parking_lot::Mutex::new(Vec::new());
    database.move_events(&|event: AccountEvent| events.lock().push(event)).unwrap();
    events.into_inner().into_iter().filter(|event| event.name.as_deref() != Some("ada")).collect()
}

fn user(outcome: ArrivalOutcome) -> AccountUser {
    match outcome {
        ArrivalOutcome::User { user, .. } => user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_account_is_made_only_if_the_settings_say_so() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    // Neither the name nor the subject of somebody else finds their account.
    for arrival in [arrival("1", "ada"), arrival("ada", "ada"), arrival(&accounts.ada.id, "ada")] {
        assert_eq!(arrive(&mut database, &arrival, 1), ArrivalOutcome::NoAccount);
    }
    assert_eq!(database.users().unwrap().len(), 1);
}

#[test]
fn a_subject_keeps_its_account_whatever_its_name() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let first = user(arrive(&mut database, &new("1", "octocat"), 1));
    assert_eq!((&*first.name, first.roles.len()), ("octocat", 0));
    let again = user(arrive(&mut database, &new("1", "renamed"), 2));
    assert_eq!((again.id, &*again.name), (first.id.clone(), "octocat"));
    // The next owner of the name is somebody else.
    let other = user(arrive(&mut database, &new("2", "octocat"), 3));
    assert_eq!(&*other.name, "octocat (idp)");
    assert_ne!(other.id, first.id);
    let third = user(arrive(&mut database, &new("3", "OctoCat"), 3));
    assert!(third.name.starts_with("OctoCat (idp ") || third.name == "OctoCat (idp)", "{}", third.name);
    // The same subject of another issuer, too.
    assert_ne!(user(arrive(&mut database, &elsewhere(new("1", "x")), 4)).id, first.id);
}

#[test]
fn a_new_account_never_takes_the_name_of_a_user() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let names: Vec<_> = ["ada", "Ada", " ada ", "a\u{202e}da"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| user(arrive(&mut database, &new(&number.to_string(), name), 1)).name)
        .collect();
    assert!(names.iter().all(|name| !name.eq_ignore_ascii_case("ada")), "{names:?}");
}

#[test]
fn a_new_account_has_no_password() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let made = user(arrive(&mut database, &new("1", "eve"), 1));
    assert_eq!(made.hash, PasswordHash::nobody());
    assert!(database.begin_session(&made, &password_start(), 2).unwrap().is_some());
}

#[test]
fn an_address_finds_an_account_once() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let nobody = PasswordHash::nobody();
    let owner = database.add_user("Eve@Example.com", &nobody, &[]).unwrap();
    let by_address = |subject| addressed(arrival(subject, "eve"), "eve@example.com");
    assert_eq!(user(arrive(&mut database, &by_address("1"), 1)).id, owner.id);
    // The address belongs to somebody else at the provider now.
    assert_eq!(arrive(&mut database, &by_address("2"), 2), ArrivalOutcome::NoAccount);
    assert_eq!(user(arrive(&mut database, &arrival("1", "eve"), 3)).id, owner.id);
    database.disable_user("Eve@Example.com").unwrap();
    assert_eq!(arrive(&mut database, &by_address("1"), 4), ArrivalOutcome::Disabled);
}

#[test]
fn a_disabled_user_stays_out_and_gets_no_second_account() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let made = user(arrive(&mut database, &new("1", "eve"), 1));
    database.disable_user(&made.id).unwrap();
    assert_eq!(arrive(&mut database, &new("1", "eve"), 2), ArrivalOutcome::Disabled);
    assert_eq!(database.users().unwrap().len(), 2);
    assert!(database.begin_session(&made, &password_start(), 3).unwrap().is_none());
}

#[test]
fn roles_follow_the_provider_at_each_login_and_others_stay() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    database.link_identity("ada", ISSUER, "1").unwrap();
    let with = |roles: &[(&str, bool)]| ProviderArrival {
        roles: roles.iter().map(|(role, has)| ((*role).to_owned(), *has)).collect(),
        ..arrival("1", "ada")
    };
    let mut roles = |roles: &[(&str, bool)]| match arrive(&mut database, &with(roles), 1) {
        ArrivalOutcome::User { user, has_other_roles, .. } => (user.roles, has_other_roles),
        other => panic!("{other:?}"),
    };
    assert_eq!(roles(&[("admin", true), ("dev", false)]), (vec!["admin".to_owned(), "ops".to_owned()], true));
    assert!(!roles(&[("admin", true)]).1);
    assert_eq!(roles(&[("admin", false), ("dev", true)]), (vec!["dev".to_owned(), "ops".to_owned()], true));
    assert_eq!(roles(&[]), (vec!["dev".to_owned(), "ops".to_owned()], false));
}

#[test]
fn other_roles_end_the_logins_with_the_former_ones() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let mut arrival = ProviderArrival { roles: [("admin".to_owned(), true)].into(), ..new("1", "eve") };
    let made = user(arrive(&mut database, &arrival, 1));
    let session = database.begin_session(&made, &password_start(), 1).unwrap().unwrap();
    arrive(&mut database, &arrival, 2);
    assert!(database.session(&session, &accounts.settings, 2).unwrap().is_some());
    arrival.roles.insert("admin".to_owned(), false);
    arrive(&mut database, &arrival, 3);
    assert!(database.session(&session, &accounts.settings, 3).unwrap().is_none());
}

#[test]
fn an_identity_has_one_user() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    database.add_user("eve", &PasswordHash::nobody(), &[]).unwrap();
    database.link_identity("ada", ISSUER, "1").unwrap();
    assert!(matches!(database.link_identity("eve", ISSUER, "1"), Err(AccountsError::Invalid(_))));
    assert!(matches!(database.unlink_identity("eve", ISSUER, "1"), Err(AccountsError::Invalid(_))));
    assert_eq!(database.identities_of("ada").unwrap().len(), 1);
    database.unlink_identity("ada", ISSUER, "1").unwrap();
    assert_eq!(arrive(&mut database, &arrival("1", "ada"), 1), ArrivalOutcome::Unlinked);
    database.link_identity("eve", ISSUER, "1").unwrap();
    database.remove_user("eve").unwrap();
    assert_eq!(arrive(&mut database, &arrival("1", "eve"), 2), ArrivalOutcome::NoAccount);
    for number in 0..MOST_OF_ONE {
        database.link_identity("ada", ISSUER, &format!("s{number}")).unwrap();
    }
    assert!(matches!(database.link_identity("ada", ISSUER, "further"), Err(AccountsError::Invalid(_))));
}

#[test]
fn a_name_is_an_address_only_if_it_is_the_verified_one() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let mut name = |subject: &str, arrival: ProviderArrival| {
        user(arrive(&mut database, &ProviderArrival { subject: subject.to_owned(), ..arrival }, 1)).name
    };
    assert_eq!(name("1", new("", "cfo@corp.com")), "cfo (idp)", "nobody has verified it");
    assert!(name("2", new("", "cfo@corp.com")).starts_with("cfo (idp "));
    assert_eq!(name("3", new("", "vp\u{ff20}corp.com")), "vp (idp)", "it only looks like one");
    assert_eq!(name("4", new("", "@corp.com")), "idp (idp)");
    assert_eq!(name("5", addressed(new("", "cto@corp.com"), "cfo@corp.com")), "cto (idp)", "another one");
    assert_eq!(name("6", addressed(new("", "ceo@corp.com"), "ceo@corp.com")), "ceo@corp.com");
    assert_eq!(name("7", addressed(new("", "ceo@corp.com"), "ceo@corp.com")), "ceo (idp)", "it is taken");
}

/// Somebody takes the name of another person at one provider, and waits for that person to log in at another one.
#[test]
fn an_address_never_finds_an_account_that_somebody_got_by_themselves() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    for email in [None, Some("cfo@corp.com".to_owned())] {
        let subject = if email.is_some() { "former owner" } else { "mallory" };
        arrive(&mut database, &ProviderArrival { email, ..new(subject, "cfo@corp.com") }, 1);
    }
    let before: Vec<_> = database.users().unwrap().into_iter().map(|user| user.id).collect();
    let owner = elsewhere(addressed(new("1", "cfo@corp.com"), "cfo@corp.com"));
    assert!(!before.contains(&user(arrive(&mut database, &owner, 2)).id));
    // An account that an operator has connected with somebody is not free, whatever the provider.
    database.add_user("cto@corp.com", &PasswordHash::nobody(), &[]).unwrap();
    database.link_identity("cto@corp.com", ISSUER, "9").unwrap();
    let other = elsewhere(addressed(arrival("2", "cto"), "cto@corp.com"));
    assert_eq!(arrive(&mut database, &other, 3), ArrivalOutcome::NoAccount);
}

#[test]
fn a_disabled_account_does_not_come_back_as_a_new_one() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    database.add_user("Eve@example.com", &PasswordHash::nobody(), &[]).unwrap();
    database.disable_user("Eve@example.com").unwrap();
    let eve = addressed(new("1", "eve@example.com"), "eve@example.com");
    assert_eq!(arrive(&mut database, &eve, 1), ArrivalOutcome::Disabled);
    assert_eq!(database.users().unwrap().len(), 2);
    database.enable_user("Eve@example.com").unwrap();
    assert_eq!(user(arrive(&mut database, &eve, 2)).name, "Eve@example.com");
    // The same for an account with an identity elsewhere.
    database.disable_user("Eve@example.com").unwrap();
    assert_eq!(arrive(&mut database, &elsewhere(eve), 3), ArrivalOutcome::Disabled);
}

#[test]
fn an_identity_that_was_taken_away_stays_away() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    database.add_user("eve@example.com", &PasswordHash::nobody(), &[]).unwrap();
    let eve = addressed(new("1", "eve@example.com"), "eve@example.com");
    let made = user(arrive(&mut database, &eve, 1));
    database.unlink_identity(&made.id, ISSUER, "1").unwrap();
    assert_eq!(arrive(&mut database, &eve, 2), ArrivalOutcome::Unlinked);
    assert_eq!(database.users().unwrap().len(), 2);
    database.link_identity("ada", ISSUER, "1").unwrap();
    assert_eq!(user(arrive(&mut database, &eve, 3)).id, accounts.ada.id);
    database.unlink_identity("ada", ISSUER, "1").unwrap();
    assert_eq!(arrive(&mut database, &arrival("1", "x"), 4), ArrivalOutcome::Unlinked, "again");
}

#[test]
fn a_person_who_is_not_allowed_any_more_loses_roles_and_logins() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let roles = [("admin".to_owned(), true), ("dev".to_owned(), true)];
    let (session, outcome) =
        arrive_in(&mut database, &ProviderArrival { roles: roles.into(), ..new("1", "eve") }, 1);
    let made = user(outcome);
    database.set_roles("eve", &["admin", "dev", "own"].map(str::to_owned)).unwrap();
    let (session_now, _) = arrive_in(&mut database, &arrival("1", "eve"), 2);
    assert!(database.session(&session, &accounts.settings, 2).unwrap().is_none());
    assert!(database.session(&session_now, &accounts.settings, 2).unwrap().is_some());
    events(&mut database);
    let refused = |subject: &str| RefusedArrival {
        provider: "idp".to_owned(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        roles: ["admin", "dev", "other"].map(str::to_owned).to_vec(),
    };
    database.turn_away(&refused("2"), 3).unwrap();
    assert!(database.session(&session_now, &accounts.settings, 3).unwrap().is_some(), "another person");
    database.turn_away(&refused("1"), 4).unwrap();
    assert!(database.session(&session_now, &accounts.settings, 4).unwrap().is_none());
    assert_eq!(database.named_user(&made.id).unwrap().roles, ["own"]);
    let event = events(&mut database);
    let [event] = event.as_slice() else { panic!("{event:?}") };
    assert_eq!(
        (event.action, event.reason.as_deref()),
        (AccountAction::RolesChanged, Some("provider-not-allowed"))
    );
    // Further attempts have nothing to end.
    database.turn_away(&refused("1"), 5).unwrap();
    assert!(events(&mut database).is_empty());
    arrive(&mut database, &arrival("1", "eve"), 6);
    events(&mut database);
    database.turn_away(&refused("1"), 7).unwrap();
    assert_eq!(events(&mut database)[0].action, AccountAction::LoginsEnded);
}

#[test]
fn logins_and_links_are_recorded_with_their_provider() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let eve = database.add_user("eve@example.com", &PasswordHash::nobody(), &[]).unwrap();
    events(&mut database);
    database.act_as(None);
    arrive(&mut database, &addressed(arrival("1", "eve"), "eve@example.com"), 1);
    let events = events(&mut database);
    let [linked, login] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        (linked.action, linked.reason.as_deref()),
        (AccountAction::IdentityLinked, Some("match-email"))
    );
    assert_eq!((login.action, login.method.as_deref()), (AccountAction::LoggedIn, Some("provider")));
    for event in [linked, login] {
        assert_eq!((event.user.as_ref(), event.provider.as_deref()), (Some(&eve.id), Some("idp")));
        assert_eq!(event.by, Some(Actor::User { user: eve.id.clone() }));
    }
}

#[test]
fn the_accounts_that_people_get_by_themselves_are_bounded() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let statement = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
                     INSERT INTO users (id, name, hash, created, made_by) SELECT n, n, ?2, 1, ?3 FROM n";
    let values = (MOST_MADE - 1, PasswordHash::nobody().as_str().to_owned(), ISSUER);
    database.connection.execute(statement, values).unwrap();
    let last = user(arrive(&mut database, &new("a", "a"), 1));
    assert_eq!(arrive(&mut database, &new("b", "b"), 2), ArrivalOutcome::TooManyAccounts);
    assert_eq!(user(arrive(&mut database, &new("a", "a"), 3)).id, last.id, "who has one gets in");
    user(arrive(&mut database, &elsewhere(new("b", "b")), 4));
    database.link_identity("ada", ISSUER, "b").unwrap();
    assert_eq!(user(arrive(&mut database, &new("b", "b"), 5)).id, accounts.ada.id);
}
