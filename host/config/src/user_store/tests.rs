use super::*;

const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
const OTHER: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqD";
const NOW: Time = Time(1_767_225_600);

fn terms(existing: ExistingKeys) -> UserImportTerms {
    UserImportTerms { roles: vec!["user".to_owned()], allow: Vec::new(), existing, dry_run: false }
}

fn store(folder: &tempfile::TempDir) -> UserStore {
    UserStore::at(folder.path().join("users.toml"))
}

fn new(name: &str) -> NewUser {
    let (roles, scopes, allow, deny) = Default::default();
    NewUser { name: name.to_owned(), hash: HASH.parse().unwrap(), roles, scopes, allow, deny }
}

#[test]
fn users_are_added_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    assert!(matches!(store.read(), Err(UserStoreError::Missing(_))));
    let ada = store.add(NewUser { allow: vec!["get_*".to_owned()], ..new("ada") }, NOW).unwrap();
    assert!(matches!(store.add(new("ada"), NOW), Err(UserStoreError::Taken(_))));
    assert!(matches!(store.disable("eve", NOW), Err(UserStoreError::Unknown { .. })));
    assert_eq!(store.disable(&ada.id, NOW).unwrap().disabled, Some(NOW));
    assert_eq!(store.disable("ada", Time(NOW.0 + 1)).unwrap().disabled, Some(NOW), "it stays as it is");
    assert_eq!(store.enable("ada").unwrap(), ada);
    assert_eq!(store.set_hash("ada", OTHER.parse().unwrap()).unwrap().hash.as_str(), OTHER);
    assert_eq!(store.remove("ada").unwrap().name, "ada");
    assert!(store.read().unwrap().users.is_empty());
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_store() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.add(new("ada"), NOW).unwrap();
    assert_eq!(store.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_renewed_hash_replaces_only_the_former_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.add(new("ada"), NOW).unwrap();
    let renewed = OTHER.parse().unwrap();
    assert_eq!(store.renew(HASH, &renewed).unwrap().unwrap().hash, renewed);
    let before = std::fs::read(store.path()).unwrap();
    assert_eq!(store.renew(HASH, &renewed).unwrap(), None, "somebody has changed it meanwhile");
    assert_eq!(std::fs::read(store.path()).unwrap(), before);
}

#[test]
fn names_and_patterns_of_new_users_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let fault = |new: NewUser| store.add(new, NOW).unwrap_err().to_string();
    assert!(fault(new("a:b")).contains("colon"));
    assert!(fault(new("a\u{202e}b")).contains("U+202E"));
    assert!(fault(NewUser { allow: vec![String::new()], ..new("a") }).contains("is not a pattern"));
    assert!(fault(NewUser { scopes: vec!["a b".to_owned()], ..new("a") }).contains("`scopes` 0"));
    assert!(!store.path().exists());
    assert!(store.can_add(&new("ada"), NOW).is_ok() && store.can_add(&new(""), NOW).is_err());
}

#[test]
fn a_damaged_store_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    std::fs::write(store.path(), "version = 1\n[[users]]\nname = 'ada'").unwrap();
    let error = store.add(new("ben"), NOW).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("nothing was written"), "{error}");
    assert!(std::fs::read_to_string(store.path()).unwrap().ends_with("'ada'"));
}

#[test]
fn files_of_htpasswd_and_json_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let file = UserImport::parse(&format!("# people\nada:{HASH}\n\nben:{OTHER}\r\n")).unwrap();
    let changes = store.import(&file, &terms(ExistingKeys::Refuse), NOW).unwrap();
    assert!(changes.iter().all(|(change, user)| *change == ImportChange::Added && user.roles == ["user"]));
    let json = |hash: &str| format!(r#"{{"ada": {{"hash": "{hash}", "roles": ["ops"]}}}}"#);
    let other = UserImport::parse(&json(OTHER)).unwrap();
    for (existing, expected) in [
        (ExistingKeys::Skip, ImportChange::Skipped),
        (ExistingKeys::Update, ImportChange::Updated),
        (ExistingKeys::Refuse, ImportChange::Unchanged),
    ] {
        let [(change, _)] = &store.import(&other, &terms(existing), NOW).unwrap()[..] else { panic!() };
        assert_eq!(*change, expected);
    }
    let again = UserImport::parse(&json(HASH)).unwrap();
    let error = store.import(&again, &terms(ExistingKeys::Refuse), NOW).unwrap_err();
    assert!(matches!(error, UserStoreError::TakenByAnother(name) if name == "ada"));
    let users = store.read().unwrap().users;
    assert_eq!((users[0].hash.as_str(), &users[0].roles), (OTHER, &vec!["ops".to_owned()]));
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let file = UserImport::parse(&format!("ada:{HASH}")).unwrap();
    let terms = UserImportTerms { dry_run: true, ..terms(ExistingKeys::Refuse) };
    assert_eq!(store.import(&file, &terms, NOW).unwrap().len(), 1);
    assert!(!store.path().exists());
}

#[test]
fn unusable_files_are_refused_with_their_places_and_without_hashes() {
    let fault = |text: &str| UserImport::parse(text).unwrap_err().to_string();
    assert!(fault(&format!("ada:{HASH}\nben")).starts_with("line 2: "));
    assert!(fault("{\"ada\": {\"hash\": \"x\"}, \"ada\": {}}").starts_with("line 1, column "));
    assert!(fault("{\"ada\": {\"password\": \"secret\"}}").starts_with("the user `ada` does not have"));
    assert!(fault(&format!("ada:{HASH}\nada:{HASH}")).contains("occurs twice"));
    let text = fault("ada:$apr1$salt$secret\nben:$6$salt$secret\neve:secret");
    for said in ["`ada` has a hash of MD5", "`ben` has a hash of SHA-512-crypt", "`eve` has not a password"] {
        assert!(text.contains(said), "{text}");
    }
    assert!(!text.contains("salt") && !text.contains("secret"), "{text}");
}

#[test]
fn passwords_that_can_be_guessed_are_refused() {
    let services = ["Notes".to_owned(), "mcp.example.com".to_owned()];
    let fault = |text: &str, weak| {
        password_fault(NewPassword { user: "adalovelace", services: &services, text }, weak)
    };
    assert_eq!(fault("", true), Some(PasswordFault::Empty));
    assert_eq!(fault("a\tb", true), Some(PasswordFault::Control));
    assert_eq!(fault(&"x".repeat(1_025), true), Some(PasswordFault::Long));
    assert_eq!((fault("short", false), fault("short", true)), (Some(PasswordFault::Short), None));
    for name in ["AdaLovelace", "ada.lovelace", "adalovelace2026", "!Ada Lovelace!"] {
        assert_eq!(fault(name, false), Some(PasswordFault::Name), "{name}");
        assert_eq!(fault(name, true), None, "{name}");
    }
    for service in ["mcp.example.com", "MCPexamplecom1", "notesnotes", "Notes!2026"] {
        assert_eq!(fault(service, false), Some(PasswordFault::Service), "{service}");
    }
    for common in
        ["password", "Password1!", "P@ssw0rd", "qwertyuiop", "iloveyou", "dragon2026", "aaaaaaaaaaaa"]
    {
        assert_eq!(fault(common, false), Some(PasswordFault::Common), "{common}");
        assert_eq!(fault(common, true), None, "{common}");
    }
    for good in
        ["correct horse", "adalovelace likes tea", "notes on a small planet", "dragonfly pond 7", "zhK4-vq2m"]
    {
        assert_eq!(fault(good, false), None, "{good}");
    }
}
