//! Cases about `pins`, and the file of approved definitions.

use super::{Folder, REST};
use witgate_plugin::ToolAnnotations;

use crate::pins::{Definition, DefinitionVerdict, EntryKind, LARGEST_KEPT, LockFile, PinMode, lock_path};

fn folder(pins: &str) -> Folder {
    Folder::with(&REST.replace("own_tools = true", &format!("own_tools = true\npins = {pins}")))
}

fn approve(folder: &Folder) -> Definition {
    let definition = Definition::read(EntryKind::Tool, r#"{"name":"echo"}"#).unwrap();
    let path = lock_path(folder.0.path());
    LockFile::change(&path, |lock| lock.approve("own", EntryKind::Tool, "echo", (&definition).into()))
        .unwrap();
    definition
}

#[test]
fn definitions_are_compared_with_those_of_the_upstream() {
    let folder = folder("'hold'");
    let definition = approve(&folder);
    let config = folder.load().unwrap().config;
    let pins = config.upstreams[0].pins.as_ref().unwrap();
    assert_eq!((pins.mode, pins.is_damaged), (PinMode::Hold, false));
    let verdict = pins.approved.verdict(EntryKind::Tool, "echo", Some(&definition.digest));
    assert_eq!(verdict, DefinitionVerdict::Approved);
    assert!(config.files.has(&lock_path(folder.0.path())), "a change of the file is noticed");
    assert_eq!(folder.says(), "");
}

#[test]
fn annotations_are_those_of_the_approved_definitions() {
    let folder = folder("'hold'");
    let large = format!(
        r#"{{"name":"large","description":"{}","annotations":{{"destructiveHint":false}}}}"#,
        "x".repeat(LARGEST_KEPT)
    );
    for text in [
        r#"{"name":"plain"}"#,
        r#"{"name":"safe","annotations":{"destructiveHint":false}}"#,
        r#"{"name":"odd","annotations":{"destructiveHint":"no"}}"#,
        &large,
    ] {
        let definition = Definition::read(EntryKind::Tool, text).unwrap();
        let name = definition.name(EntryKind::Tool).unwrap().to_owned();
        let path = lock_path(folder.0.path());
        LockFile::change(&path, |lock| lock.approve("own", EntryKind::Tool, &name, (&definition).into()))
            .unwrap();
    }
    let config = folder.load().unwrap().config;
    let approved = &config.upstreams[0].pins.as_ref().unwrap().approved;
    let default = ToolAnnotations::default();
    assert_eq!(approved.annotations("plain"), Some(default));
    assert_eq!(approved.annotations("safe"), Some(ToolAnnotations { destructive: false, ..default }));
    // Only the digest of a large definition is known.
    for unknown in ["odd", "large", "new", "Safe"] {
        assert_eq!(approved.annotations(unknown), None, "{unknown}");
    }
}

#[test]
fn nothing_is_compared_by_default() {
    for folder in [folder("'off'"), Folder::with(REST)] {
        assert!(folder.load().unwrap().config.upstreams[0].pins.is_none());
        std::fs::write(lock_path(folder.0.path()), "damaged").unwrap();
        assert_eq!(folder.says(), "");
    }
}

#[test]
fn an_upstream_without_approved_definitions_is_told() {
    let says = folder("'hold'").says();
    assert!(says.contains("no definition of the upstream `own` is approved"), "{says}");
    assert!(says.contains("neither listed nor callable"), "{says}");
    let says = folder("'warn'").says();
    assert!(says.contains("is reported"), "{says}");
}

#[test]
fn a_damaged_file_is_an_error() {
    let folder = folder("'warn'");
    std::fs::write(lock_path(folder.0.path()), "{}").unwrap();
    assert!(folder.load().is_err());
    assert!(folder.says().contains("witgate.lock is damaged"), "{}", folder.says());
    let says = self::folder("'sometimes'").says();
    assert!(says.contains("pins"), "{says}");
}
