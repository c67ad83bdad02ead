use super::*;
use crate::test_accounts::{TestAccounts, password_start};

const ISSUER: &str = "https://idp.example.com";

fn arrival(subject: &str, name: &str) -> ProviderArrival {
    ProviderArrival {
        provider: "idp".to_owned(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        name: name.to_owned(),
        email: None,
        gets_account: false,
        roles: BTreeMap::new(),
    }
}

fn new(subject: &str, name: &str) -> ProviderArrival {
    ProviderArrival { gets_account: true, ..arrival(subject, name) }
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
        assert_eq!(database.arrive(&arrival, 1).unwrap(), ArrivalOutcome::NoAccount);
    }
    assert_eq!(database.users().unwrap().len(), 1);
}

#[test]
fn a_subject_keeps_its_account_whatever_its_name() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let first = user(database.arrive(&new("1", "octocat"), 1).unwrap());
    assert_eq!((&*first.name, first.roles.len()), ("octocat", 0));
    let again = user(database.arrive(&new("1", "renamed"), 2).unwrap());
    assert_eq!((again.id, &*again.name), (first.id.clone(), "octocat"));
    // The next owner of the name is somebody else.
    let other = user(database.arrive(&new("2", "octocat"), 3).unwrap());
    assert_eq!(&*other.name, "octocat (idp)");
    assert_ne!(other.id, first.id);
    let third = user(database.arrive(&new("3", "OctoCat"), 3).unwrap());
    assert!(third.name.starts_with("OctoCat (idp ") || third.name == "OctoCat (idp)", "{}", third.name);
    // The same subject of another issuer, too.
    let elsewhere = ProviderArrival { issuer: "https://other.example.com".to_owned(), ..new("1", "x") };
    assert_ne!(user(database.arrive(&elsewhere, 4).unwrap()).id, first.id);
}

#[test]
fn a_new_account_never_takes_the_name_of_a_user() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let names: Vec<_> = ["ada", "Ada", " ada ", "a\u{202e}da"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| user(database.arrive(&new(&number.to_string(), name), 1).unwrap()).name)
        .collect();
    assert!(names.iter().all(|name| !name.eq_ignore_ascii_case("ada")), "{names:?}");
}

#[test]
fn a_new_account_has_no_password() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let made = user(database.arrive(&new("1", "eve"), 1).unwrap());
    assert_eq!(made.hash, PasswordHash::nobody());
    assert!(database.begin_session(&made, &password_start(), 2).unwrap().is_some());
}

#[test]
fn an_address_finds_an_account_once() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let nobody = PasswordHash::nobody();
    let owner = database.add_user("Eve@Example.com", &nobody, &[]).unwrap();
    let by_address =
        |subject| ProviderArrival { email: Some("eve@example.com".to_owned()), ..arrival(subject, "eve") };
    assert_eq!(user(database.arrive(&by_address("1"), 1).unwrap()).id, owner.id);
    // The address belongs to somebody else at the provider now.
    assert_eq!(database.arrive(&by_address("2"), 2).unwrap(), ArrivalOutcome::NoAccount);
    assert_eq!(user(database.arrive(&arrival("1", "eve"), 3).unwrap()).id, owner.id);
    database.disable_user("Eve@Example.com").unwrap();
    assert_eq!(database.arrive(&by_address("1"), 4).unwrap(), ArrivalOutcome::Disabled);
}

#[test]
fn a_disabled_user_stays_out_and_gets_no_second_account() {
    let accounts = TestAccounts::new();
    let mut database = accounts.open();
    let made = user(database.arrive(&new("1", "eve"), 1).unwrap());
    database.disable_user(&made.id).unwrap();
    assert_eq!(database.arrive(&new("1", "eve"), 2).unwrap(), ArrivalOutcome::Disabled);
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
    let mut roles = |roles: &[(&str, bool)]| match database.arrive(&with(roles), 1).unwrap() {
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
    let made = user(database.arrive(&arrival, 1).unwrap());
    let session = database.begin_session(&made, &password_start(), 1).unwrap().unwrap();
    database.arrive(&arrival, 2).unwrap();
    assert!(database.session(&session, &accounts.settings, 2).unwrap().is_some());
    arrival.roles.insert("admin".to_owned(), false);
    database.arrive(&arrival, 3).unwrap();
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
    assert_eq!(database.arrive(&arrival("1", "ada"), 1).unwrap(), ArrivalOutcome::NoAccount);
    database.link_identity("eve", ISSUER, "1").unwrap();
    database.remove_user("eve").unwrap();
    assert_eq!(database.arrive(&arrival("1", "eve"), 2).unwrap(), ArrivalOutcome::NoAccount);
    for number in 0..MOST_OF_ONE {
        database.link_identity("ada", ISSUER, &format!("s{number}")).unwrap();
    }
    assert!(matches!(database.link_identity("ada", ISSUER, "further"), Err(AccountsError::Invalid(_))));
}
