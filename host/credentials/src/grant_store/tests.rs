//! Grants in their files, and what killed processes leave of them.

use std::os::unix::fs::PermissionsExt as _;

use witgate_base::party::Principal;
use witgate_config::credentials::ClientProof;

use super::*;

fn grant(access: &str) -> StoredGrant {
    StoredGrant {
        login: LoginId::of_parts([access]),
        account: Some("octocat".to_owned()),
        access: access.into(),
        refresh: Some(format!("refresh-of-{access}").as_str().into()),
        end: Some(1_000),
        renewal: Some(900),
        scopes: vec!["repo".to_owned(), "read:user".to_owned()],
        has_ended: false,
    }
}

fn key(credential: &str) -> GrantKey {
    GrantKey::shared(&credential.into())
}

fn binding() -> GrantBinding {
    let (token_url, client_id) = ("https://a.example.com/token".to_owned(), "gate".to_owned());
    GrantBinding { token_url, client_id, resource: None }
}

fn store() -> (tempfile::TempDir, GrantStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = GrantStore { folder: folder.path().join("credentials"), plain: None, binding: binding() };
    (folder, store)
}

#[test]
fn a_grant_is_read_as_it_was_written_and_is_private() {
    let (_folder, store) = store();
    assert!(store.read(&key("github")).unwrap().is_none());
    let lock = store.lock(&key("github")).unwrap();
    store.write(&key("github"), &grant("token-0123456789"), &lock).unwrap();
    let read = store.read(&key("github")).unwrap().unwrap();
    assert_eq!(read.access.expose_secret(), "token-0123456789");
    assert_eq!(read.login, grant("token-0123456789").login);
    assert_eq!(read.refresh.unwrap().expose_secret(), "refresh-of-token-0123456789");
    assert_eq!((read.account.as_deref(), read.end, read.has_ended), (Some("octocat"), Some(1_000), false));
    assert_eq!(read.scopes, ["repo", "read:user"]);
    let text = fs::read_to_string(store.path(&key("github"))).unwrap();
    assert!(!text.contains("0123456789") && !text.contains("octocat"), "{text}");
    for path in [store.path(&key("github")), store.folder.join("key")] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(store.folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(store.remove(&key("github"), &lock).unwrap() && !store.remove(&key("github"), &lock).unwrap());
}

#[test]
fn an_imported_grant_is_renewed_before_its_end() {
    let imported = |refresh: Option<&str>, lifetime: Option<u64>| {
        let settings = TokenSettings {
            token_url: "https://a.example.com/token".parse().unwrap(),
            issuer: "a".into(),
            client_id: "gate".into(),
            proof: ClientProof::None,
            scopes: vec!["repo".to_owned()],
            audience: None,
            resource: None,
            refresh_before: Duration::from_secs(300),
        };
        let lifetime = lifetime.map(Duration::from_secs);
        let login = LoginId::of_parts(["a"]);
        StoredGrant::imported(login, "a".into(), refresh.map(SecretString::from), lifetime, &settings)
    };
    let now = clock::since_epoch().as_secs();
    let known = imported(Some("r"), Some(3600));
    let before = known.end.unwrap() - known.renewal.unwrap();
    assert!((270..=330).contains(&before), "{before}");
    assert!(imported(Some("r"), None).end.unwrap() <= now + 1, "its age is unknown");
    assert_eq!(imported(None, None).end, None, "nobody could renew it");
}

#[test]
fn a_login_stays_the_same_through_renewals_also_if_it_was_stored_without_an_id() {
    let (_folder, store) = store();
    let lock = store.lock(&key("a")).unwrap();
    let login = |credential: &str| store.read(&key(credential)).unwrap().unwrap().login;
    let without_id = |credential: &str| {
        let path = store.path(&key(credential));
        let mut file = read_file(&path).unwrap().unwrap();
        file.values.remove("login").unwrap();
        fs::write(&path, serde_json::to_string(&file).unwrap()).unwrap();
    };
    for credential in ["a", "b"] {
        store.write(&key(credential), &grant("t"), &lock).unwrap();
        without_id(credential);
    }
    let former = login("a");
    assert_eq!(login("a"), former);
    assert_ne!(login("b"), former, "equal tokens, another place");
    let issued = AccessToken { refresh: Some("r".into()), ..AccessToken::of("new".into(), None) };
    let renewed = StoredGrant::renewed(&store.read(&key("a")).unwrap().unwrap(), issued, Duration::ZERO);
    let mut journal = store.prepare(&key("a"), &lock).unwrap();
    store.note(&key("a"), &renewed, &mut journal).unwrap();
    drop((journal, lock));
    // The next process finishes the renewal.
    drop(store.lock(&key("a")).unwrap());
    assert_eq!(access(&store), "new");
    assert_eq!(login("a"), former);
    assert!(read_file(&store.path(&key("a"))).unwrap().unwrap().values.contains_key("login"));
}

#[test]
fn a_file_in_the_place_of_another_is_damaged() {
    let (_folder, store) = store();
    let lock = store.lock(&key("a")).unwrap();
    store.write(&key("a"), &grant("t"), &lock).unwrap();
    fs::copy(store.path(&key("a")), store.path(&key("b"))).unwrap();
    assert!(matches!(store.read(&key("b")), Err(GrantError::Damaged { .. })));
    for text in [
        "",
        "{}",
        "[]",
        r#"{"version":2,"credential":"a","values":{}}"#,
        r#"{"version":1,"credential":"a","values":{}}"#,
        r#"{"version":1,"credential":"a","binding":{"token_url":"https://a.example.com/token","client_id":"gate","resource":null},"values":{}}"#,
    ] {
        fs::write(store.path(&key("a")), text).unwrap();
        assert!(matches!(store.read(&key("a")), Err(GrantError::Damaged { .. })), "{text}");
    }
}

#[test]
fn a_grant_is_only_for_the_server_and_the_client_of_its_login() {
    let (_folder, store) = store();
    let lock = store.lock(&key("a")).unwrap();
    store.write(&key("a"), &grant("t"), &lock).unwrap();
    let others = [
        GrantBinding { token_url: "https://b.example.com/token".to_owned(), ..binding() },
        GrantBinding { client_id: "other".to_owned(), ..binding() },
        GrantBinding { resource: Some("https://c.example.com".to_owned()), ..binding() },
    ];
    let written = fs::read_to_string(store.path(&key("a"))).unwrap();
    for binding in others {
        let other = GrantStore { binding, ..store.clone() };
        assert!(other.read(&key("a")).unwrap().is_none(), "{other:?}");
        let mut file: GrantFile = serde_json::from_str(&written).unwrap();
        file.binding = other.binding.clone();
        fs::write(store.path(&key("a")), serde_json::to_string(&file).unwrap()).unwrap();
        assert!(matches!(other.read(&key("a")), Err(GrantError::Damaged { .. })), "{other:?}");
        fs::write(store.path(&key("a")), &written).unwrap();
    }
    assert!(store.read(&key("a")).unwrap().is_some());
}

#[test]
fn the_lock_of_a_credential_is_not_that_of_the_key() {
    let (_folder, store) = store();
    let lock = store.lock(&key("key")).unwrap();
    store.write(&key("key"), &grant("t"), &lock).unwrap();
    assert!(store.read(&key("key")).unwrap().is_some());
}

#[test]
fn the_grant_of_a_principal_is_of_no_use_to_others() {
    let (_folder, store) = store();
    let owner = |policy: &str, issuer, subject: &str| {
        GrantKey::of(&"hub".into(), Principal::new(policy.into(), issuer, subject))
    };
    let idp = Some("https://idp.example.com");
    let (ada, eve) = (owner("keys", None, "ada"), owner("keys", None, "eve"));
    let others = [eve.clone(), owner("idp", None, "ada"), owner("keys", idp, "ada"), key("hub")];
    store.write(&ada, &grant("of-ada"), &store.lock(&ada).unwrap()).unwrap();
    let written = fs::read_to_string(store.path(&ada)).unwrap();
    for other in &others {
        assert!(store.read(other).unwrap().is_none(), "{other}");
        // Neither a moved file nor one with another name inside.
        fs::write(store.path(other), &written).unwrap();
        assert!(matches!(store.read(other), Err(GrantError::Damaged { .. })), "{other}");
        let mut file: GrantFile = serde_json::from_str(&written).unwrap();
        file.owner = other.written_owner();
        fs::write(store.path(other), serde_json::to_string(&file).unwrap()).unwrap();
        assert!(matches!(store.read(other), Err(GrantError::Damaged { .. })), "{other}");
        fs::remove_file(store.path(other)).unwrap();
    }
    store.write(&eve, &grant("of-eve"), &store.lock(&eve).unwrap()).unwrap();
    store.write(&key("hub"), &grant("shared"), &store.lock(&key("hub")).unwrap()).unwrap();
    assert_eq!(store.of_principals(&"hub".into()).unwrap().keys, [ada.clone(), eve.clone()]);
    assert_eq!(store.of_principals(&"hu".into()).unwrap().keys, []);
    fs::write(store.path(&eve), "{").unwrap();
    let listed = store.of_principals(&"hub".into()).unwrap();
    assert_eq!((&*listed.keys, listed.unreadable.len()), (&[ada.clone()][..], 1));
    assert!(store.remove(&eve, &store.lock(&eve).unwrap()).unwrap(), "its content does not matter");
    assert_eq!(store.read(&ada).unwrap().unwrap().access.expose_secret(), "of-ada");
}

/// A new grant that is noted and not in its place.
fn noted(store: &GrantStore) -> PathBuf {
    let lock = store.lock(&key("a")).unwrap();
    store.write(&key("a"), &grant("former"), &lock).unwrap();
    let mut journal = store.prepare(&key("a"), &lock).unwrap();
    store.note(&key("a"), &grant("new"), &mut journal).unwrap();
    store.beside(&key("a"), "new")
}

fn access(store: &GrantStore) -> String {
    drop(store.lock(&key("a")).unwrap());
    store.read(&key("a")).unwrap().unwrap().access.expose_secret().to_owned()
}

#[test]
fn a_new_grant_that_cannot_be_put_in_its_place_stays_in_the_journal() {
    let (_folder, store) = store();
    let lock = store.lock(&key("a")).unwrap();
    let mut journal = store.prepare(&key("a"), &lock).unwrap();
    store.note(&key("a"), &grant("new"), &mut journal).unwrap();
    // No file can be renamed over a directory.
    fs::create_dir(store.path(&key("a"))).unwrap();
    store.finish(&key("a"), &journal, &lock).unwrap_err();
    drop((journal, lock));
    fs::remove_dir(store.path(&key("a"))).unwrap();
    assert_eq!(access(&store), "new");
}

#[test]
fn a_journal_stays_as_long_as_its_key_cannot_be_read() {
    let (_folder, store) = store();
    let journal = noted(&store);
    let [sealing, elsewhere] = ["key", "elsewhere"].map(|name| store.folder.join(name));
    fs::rename(&sealing, &elsewhere).unwrap();
    fs::create_dir(&sealing).unwrap();
    store.lock(&key("a")).unwrap_err();
    assert!(journal.exists());
    fs::remove_dir(&sealing).unwrap();
    fs::rename(&elsewhere, &sealing).unwrap();
    assert_eq!(access(&store), "new");
}

#[test]
fn a_grant_can_be_removed_although_the_key_of_a_left_renewal_is_lost() {
    let (_folder, store) = store();
    let journal = noted(&store);
    let sealing = store.folder.join("key");
    fs::write(&sealing, "damaged").unwrap();
    store.lock(&key("a")).unwrap_err();
    let lock = store.lock_for_removal(&key("a")).unwrap();
    assert!(store.is_interrupted(&key("a")));
    assert!(store.remove(&key("a"), &lock).unwrap());
    assert!(!journal.exists() && !store.is_interrupted(&key("a")));
    drop(lock);
    fs::remove_file(&sealing).unwrap();
    drop(store.lock(&key("a")).unwrap());
    assert!(store.read(&key("a")).unwrap().is_none());
}

#[test]
fn a_killed_write_leaves_no_tokens() {
    let (_folder, store) = store();
    let plain = GrantStore { plain: Some(store.folder.join("tokens.json")), ..store };
    plain.write(&key("a"), &grant("t"), &plain.lock(&key("a")).unwrap()).unwrap();
    let left = plain.folder.join(".tokens.json.part");
    assert!(!left.exists());
    fs::write(&left, "token").unwrap();
    assert_eq!(access(&plain), "t");
    assert!(!left.exists());
}

#[test]
fn a_lock_excludes_others_until_it_is_dropped() {
    let (_folder, store) = store();
    let lock = store.lock(&key("a")).unwrap();
    let other = store.clone();
    let waiting = std::thread::spawn(move || other.lock(&key("a")).map(drop));
    store.lock(&key("b")).unwrap();
    assert!(!waiting.is_finished());
    drop(lock);
    waiting.join().unwrap().unwrap();
}
