use std::path::Path;
use std::process::{Command, Stdio};

use witgate_api_key::store::{Store, Time};

use super::ImportChange::{Added, Skipped, Unchanged, Updated};
use super::{ConfiguredKey, ExistingKeys, ForeignKeys, ImportTerms, KeyStore, KeyStoreError, NewKey, sha256};
use witgate_base::whole_file::{FileError, Lock};

const NOW: Time = Time(1_767_225_600);

fn new(name: &str) -> NewKey {
    NewKey { name: name.to_owned(), allow: vec!["get_*".to_owned()], ..NewKey::default() }
}

fn store(folder: &tempfile::TempDir) -> KeyStore {
    KeyStore::at(folder.path().join("keys.toml"))
}

fn names(store: &KeyStore) -> Vec<String> {
    store.read().unwrap().keys.into_iter().map(|key| key.name).collect()
}

#[test]
fn a_key_is_shown_once_and_only_its_hash_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let made = store.create(new("ci"), NOW).unwrap();
    assert_eq!(made.text.reveal().len(), "wgk_".len() + 43);
    let text = std::fs::read_to_string(store.path()).unwrap();
    assert!(!text.contains(made.text.reveal()) && text.starts_with("# Keys of Witgate"));
    assert_eq!(store.read().unwrap().keys, [made.key]);
    assert!(!format!("{:?}", made.text).contains("wgk_"));
    assert!(matches!(store.create(new("ci"), NOW), Err(KeyStoreError::Taken(_))));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_a_store() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.create(new("a"), NOW).unwrap();
    let mode = || std::fs::metadata(store.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    // A group that was let in stays in; everybody does not.
    std::fs::set_permissions(store.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    store.create(new("b"), NOW).unwrap();
    assert_eq!(mode(), 0o640);
}

#[test]
fn a_revoked_key_stays_revoked_and_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    assert!(matches!(store.revoke("ci", NOW), Err(KeyStoreError::Missing(_))));
    let id = store.create(new("ci"), NOW).unwrap().key.id;
    store.revoke(&id, NOW).unwrap();
    assert_eq!(store.revoke("ci", Time(NOW.0 + 9)).unwrap().revoked, Some(NOW));
    assert!(matches!(store.rotate("ci", None, None, Default::default()), Err(KeyStoreError::Revoked(_))));
    assert!(matches!(store.create(new("ci"), NOW), Err(KeyStoreError::TakenByRevoked(_))));
    let unknown = store.revoke("nobody", NOW).unwrap_err().to_string();
    assert_eq!(unknown, "there is no key `nobody`; there are: ci");
}

#[test]
fn a_rotated_key_has_two_valid_texts_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let first = store.create(new("ci"), NOW).unwrap();
    let until = Time(NOW.0 + 60);
    let second = store.rotate("ci", Some(until), None, Default::default()).unwrap();
    let previous = second.key.previous.unwrap();
    assert_eq!((previous.sha256, previous.until), (sha256(first.text.reveal()), until));
    assert_eq!(second.key.sha256, sha256(second.text.reveal()));
    assert_eq!(store.rotate("ci", None, Some(until), Default::default()).unwrap().key.previous, None);
    assert_eq!(store.read().unwrap().keys[0].expires, Some(until));
}

#[test]
fn invalid_keys_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let bad = NewKey { deny: vec![String::new()], ..new("ci") };
    assert_eq!(
        store.create(bad, NOW).unwrap_err().to_string(),
        "`` is not a pattern: an empty pattern matches nothing; write `*` or a name"
    );
    let hidden = [
        "a\nb",
        "ada\u{202e}nimda",
        "root\u{200b}",
        "\u{feff}root",
        "root\u{e0041}",
        "a\u{ad}b",
        "a\u{3164}",
    ];
    for name in hidden {
        let roles = NewKey { roles: vec![name.to_owned()], ..new("ci") };
        for key in [new(name), roles] {
            assert!(matches!(store.create(key, NOW), Err(KeyStoreError::Hidden { .. })), "{name:?}");
        }
    }
    assert_eq!(
        store.create(new("ada\u{202e}nimda"), NOW).unwrap_err().to_string(),
        "the name `ada\\u{202e}nimda` contains the character U+202E, which is invisible or changes the direction of text; remove it"
    );
    let late = NewKey { expires: Some(Time(u64::MAX)), ..new("ci") };
    assert!(matches!(store.create(late, NOW), Err(KeyStoreError::TooLong)));
    assert!(!store.path().exists());
}

#[test]
fn imported_keys_are_hashed_all_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let long = "0123456789abcdef0123456789abcdef";
    let foreign = |text: &str| serde_json::from_str::<ForeignKeys>(text).unwrap();
    let both = foreign(&format!(
        r#"{{"api_keys": {{"a": "{long}", "b": "hunter2"}}, "key_permissions": {{"a": ["get_*"]}}}}"#
    ));
    let (strict, weak) = (ImportTerms::default(), ImportTerms { weak: true, ..ImportTerms::default() });
    let error = store.import(&both, strict, NOW).unwrap_err().to_string();
    assert!(error.contains(": b.") && !error.contains("hunter2"), "{error}");
    assert!(!store.path().exists());
    let keys = store.import(&both, weak, NOW).unwrap();
    let keys: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
    assert_eq!((keys[0].allow.as_slice(), keys[0].sha256), (["get_*".to_owned()].as_slice(), sha256(long)));
    assert!(keys[1].allow.is_empty());
    assert!(!std::fs::read_to_string(store.path()).unwrap().contains(long));
    assert!(!format!("{both:?}").contains("hunter2"));
    let stray = foreign(r#"{"api_keys": {}, "key_permissions": {"x": []}}"#);
    assert!(matches!(store.import(&stray, strict, NOW), Err(KeyStoreError::Permissions(_))));
}

#[test]
fn an_import_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let keys = |keys: &str| {
        ForeignKeys::lenient(&format!(
            r#"{{"api_keys": {keys}, "key_permissions": {{"z": []}}, "other": 1}}"#
        ))
        .unwrap()
    };
    let text = |c: char| c.to_string().repeat(32);
    let first = keys(&format!(r#"{{"a": "{}", "b": "{}"}}"#, text('1'), text('2')));
    let next = keys(&format!(r#"{{"a": "{}", "c": "{}"}}"#, text('3'), text('4')));
    let import = |foreign: &ForeignKeys, existing, dry_run| {
        let terms = ImportTerms { existing, dry_run, weak: false };
        let changes = store.import(foreign, terms, NOW).map_err(|error| error.to_string())?;
        Ok::<_, String>(changes.into_iter().map(|(change, _)| change).collect::<Vec<_>>())
    };
    assert_eq!(import(&first, ExistingKeys::Refuse, true).unwrap(), [Added, Added]);
    assert!(!store.path().exists(), "a dry run writes nothing");
    assert_eq!(import(&first, ExistingKeys::Refuse, false).unwrap(), [Added, Added]);
    assert_eq!(import(&first, ExistingKeys::Refuse, false).unwrap(), [Unchanged, Unchanged]);
    let refused = import(&next, ExistingKeys::Refuse, false).unwrap_err();
    assert!(refused.starts_with("there is another key `a` already"), "{refused}");
    assert_eq!(store.read().unwrap().keys.len(), 2);
    assert_eq!(import(&next, ExistingKeys::Skip, false).unwrap(), [Skipped, Added]);
    assert_eq!(import(&next, ExistingKeys::Update, false).unwrap(), [Updated, Unchanged]);
    let same = keys(&format!(r#"{{"d": "{}"}}"#, text('2')));
    let refused = import(&same, ExistingKeys::Update, false).unwrap_err();
    assert!(refused.contains("`d` has the same text as `b`"), "{refused}");
    store.revoke("a", NOW).unwrap();
    let refused = import(&next, ExistingKeys::Update, false).unwrap_err();
    assert!(refused.contains("a revoked key"), "{refused}");
    assert_eq!(import(&next, ExistingKeys::Skip, false).unwrap(), [Skipped, Unchanged]);
}

#[test]
fn a_damaged_store_is_left_as_it_is() {
    let cases =
        ["", "version = 2\n", "version = 1\n[[keys]]\nname = \"a\"\n", "version = 1\nkeys = [", "\u{0}\u{0}"];
    for damaged in cases {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        std::fs::write(store.path(), damaged).unwrap();
        for error in [
            store.create(new("b"), NOW).err(),
            store.revoke("a", NOW).err(),
            store.rotate("a", None, None, Default::default()).err(),
        ] {
            let error = error.unwrap();
            assert!(matches!(error, KeyStoreError::Damaged { .. }), "{damaged:?}: {error}");
            assert!(error.to_string().contains("nothing was written"), "{error}");
        }
        assert_eq!(std::fs::read_to_string(store.path()).unwrap(), damaged);
    }
}

#[test]
fn a_store_that_is_not_text_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    std::fs::write(store.path(), [0xff, 0xfe]).unwrap();
    assert!(matches!(
        store.create(new("b"), NOW),
        Err(KeyStoreError::File(FileError::Io { action: "read", .. }))
    ));
    assert_eq!(std::fs::read(store.path()).unwrap(), [0xff, 0xfe]);
}

#[test]
fn a_failing_rename_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.create(new("a"), NOW).unwrap();
    let before = std::fs::read(store.path()).unwrap();
    let lock = Lock::take(store.path()).unwrap();
    let error = lock.replace_by("version = 1\n", |_, _| Err(std::io::Error::other("pulled"))).unwrap_err();
    assert!(error.to_string().ends_with("pulled; the file is unchanged"), "{error}");
    drop(lock);
    assert_eq!(std::fs::read(store.path()).unwrap(), before);
    assert!(!folder.path().join(".keys.toml.new").exists());
    store.create(new("b"), NOW).unwrap();
}

#[cfg(unix)]
#[test]
fn the_target_of_a_link_is_replaced_and_the_link_stays() {
    let folder = tempfile::tempdir().unwrap();
    let real = KeyStore::at(folder.path().join("real.toml"));
    real.create(new("a"), NOW).unwrap();
    std::os::unix::fs::symlink("real.toml", folder.path().join("keys.toml")).unwrap();
    store(&folder).create(new("b"), NOW).unwrap();
    assert_eq!(names(&real), ["a", "b"]);
    assert!(std::fs::symlink_metadata(folder.path().join("keys.toml")).unwrap().is_symlink());
}

#[test]
fn many_writing_threads_lose_no_key_and_readers_see_whole_stores() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.create(new("first"), NOW).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for key in 0..10 {
                    store.create(new(&format!("{writer}-{key}")), NOW).unwrap();
                }
            });
        }
        for _ in 0..200 {
            assert!(!store.read().unwrap().keys.is_empty());
        }
    });
    assert_eq!(names(&store).len(), 41);
}

/// The body of a child process: the tests below run this test binary with a store and a job in the
/// environment.
#[test]
#[expect(clippy::disallowed_methods, reason = "no variable of a configuration")]
fn writer_process() {
    let (Ok(path), Ok(job)) = (std::env::var("WITGATE_TEST_STORE"), std::env::var("WITGATE_TEST_JOB")) else {
        return;
    };
    match job.as_str() {
        "die" => {
            let lock = Lock::take(Path::new(&path)).unwrap();
            drop(lock.replace_by("version = 1\n", |_, _| std::process::abort()));
        }
        writer => {
            for key in 0..10 {
                KeyStore::at(&path).create(new(&format!("{writer}-{key}")), NOW).unwrap();
            }
        }
    }
}

fn process(store: &KeyStore, job: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "key_store::tests::writer_process"]);
    command.env("WITGATE_TEST_STORE", store.path()).env("WITGATE_TEST_JOB", job);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn many_writing_processes_lose_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let children: Vec<_> =
        (0..3).map(|writer| process(&store, &format!("w{writer}")).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(names(&store).len(), 30);
}

#[test]
fn a_killed_writer_leaves_the_old_store_and_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.create(new("a"), NOW).unwrap();
    assert!(!process(&store, "die").status().unwrap().success());
    assert!(folder.path().join(".keys.toml.new").exists());
    assert_eq!(names(&store), ["a"]);
    store.create(new("b"), NOW).unwrap();
    assert_eq!(names(&store), ["a", "b"]);
    assert!(Store::parse(&std::fs::read_to_string(store.path()).unwrap()).is_ok());
}

#[test]
fn no_new_key_collides_with_a_key_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let text = "0123456789abcdef0123456789abcdef";
    let configured = |name: &str, sha256| ConfiguredKey { name: name.to_owned(), sha256 };
    let store = store(&folder).beside(vec![configured("ci", Some(sha256(text))), configured("unset", None)]);
    assert!(matches!(store.create(new("ci"), NOW), Err(KeyStoreError::Configured(_))));
    assert!(matches!(store.create(new("unset"), NOW), Err(KeyStoreError::Configured(_))));
    let import = |name: &str, text: &str, existing| {
        let mut foreign = ForeignKeys::default();
        foreign.add(name, text);
        store.import(&foreign, ImportTerms { existing, ..ImportTerms::default() }, NOW)
    };
    let other = text.replace('0', "x");
    assert!(matches!(import("ci", &other, ExistingKeys::Refuse), Err(KeyStoreError::Configured(_))));
    let same = import("a", text, ExistingKeys::Refuse);
    assert!(matches!(same, Err(KeyStoreError::SameAsConfigured { .. })));
    import("a", &other, ExistingKeys::Refuse).unwrap();
    let same = import("a", text, ExistingKeys::Update);
    assert!(matches!(same, Err(KeyStoreError::SameAsConfigured { .. })));
    assert_eq!(names(&store), ["a"]);
}

#[test]
fn a_text_that_cannot_be_meant_is_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let text = "0123456789abcdef0123456789abcdef";
    for (text, said) in [
        (format!("{text}\n"), "control character"),
        (format!("{text}\u{7f}"), "control character"),
        (format!(" {text}"), "a blank"),
        (format!("bearer {text}"), "begins with `Bearer `"),
    ] {
        let mut foreign = ForeignKeys::default();
        foreign.add("ci", &text);
        let fault = store.import(&foreign, ImportTerms::default(), NOW).unwrap_err().to_string();
        assert!(fault.contains(said) && !fault.contains("0123"), "{fault}");
    }
    let twice = format!(r#"{{"api_keys": {{"ci": "{text}", "ci": "{text}x"}}}}"#);
    for foreign in [serde_json::from_str(&twice).unwrap(), ForeignKeys::lenient(&twice).unwrap()] {
        let fault = store.import(&foreign, ImportTerms::default(), NOW);
        assert!(matches!(fault, Err(KeyStoreError::Twice(name)) if name == "ci"));
    }
}

#[test]
fn an_import_that_changes_nothing_does_not_write_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let keys = r#"{"api_keys": {"readonly": "0123456789abcdef0123456789abcdef", "mine": "1123456789abcdef0123456789abcdef"},
                   "key_permissions": {"mine": ["echo"]}}"#;
    let import = || {
        let mut foreign: ForeignKeys = serde_json::from_str(keys).unwrap();
        for (name, patterns) in [("readonly", &["get_*"][..]), ("mine", &["*"]), ("nobody", &["*"])] {
            foreign.allow_one(name, patterns);
        }
        store.import(&foreign, ImportTerms::default(), NOW).unwrap()
    };
    let allowed: Vec<_> = import().into_iter().map(|(_, key)| (key.name, key.allow)).collect();
    let wanted = [("mine", "echo"), ("readonly", "get_*")];
    assert_eq!(allowed, wanted.map(|(name, pattern)| (name.to_owned(), vec![pattern.to_owned()])));
    let commented = format!("# Mine.\n{}", std::fs::read_to_string(store.path()).unwrap());
    std::fs::write(store.path(), &commented).unwrap();
    assert!(import().iter().all(|(change, _)| *change == Unchanged));
    assert_eq!(std::fs::read_to_string(store.path()).unwrap(), commented);
}
