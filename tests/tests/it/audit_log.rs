//! The audit log of a real gateway: killed under load, without a disk, searched, and verified by another program.

mod commands;
mod disk;
mod events;
mod file_systems;
mod judge;
mod kill;
mod tools;
mod witness;

use std::path::PathBuf;

use serde_json::Value;
use witgate_audit::verify::{LogVerification, verify};
use witgate_audit::{PUBLIC_KEY_FILE, public_keys};
use witgate_tests::gateway::{Setup, workspace};

/// A configuration for `own_tools` with API keys, and `[audit]` with these settings.
fn config(setup: &Setup, settings: &str) {
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n\
             [audit]\ndirectory = 'log'\ncheckpoint_to = 'elsewhere'\n{settings}\n"
        ),
    );
}

fn directory(setup: &Setup) -> PathBuf {
    setup.dir().join("log")
}

/// Checks the log with the public key and with the checkpoints that are kept elsewhere.
fn verified(setup: &Setup) -> LogVerification {
    let keys = public_keys(&directory(setup).join(PUBLIC_KEY_FILE)).unwrap();
    // A process that is killed at once has signed nothing.
    let known: Vec<_> = [setup.dir().join("elsewhere")].into_iter().filter(|path| path.exists()).collect();
    verify(&directory(setup), &keys, &known)
}

/// The text of all segments. They are not compressed.
fn text(setup: &Setup) -> String {
    let mut paths: Vec<_> =
        std::fs::read_dir(directory(setup)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// All complete entries. Each has the documented form.
fn entries(setup: &Setup) -> Vec<Value> {
    let text = text(setup);
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let entries: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let schema = std::fs::read_to_string(workspace().join("docs/audit.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    for entry in &entries {
        assert!(schema.is_valid(entry), "no documented form: {entry}");
    }
    entries
}

/// The entries of one kind.
fn of_kind(setup: &Setup, kind: &str) -> Vec<Value> {
    entries(setup).into_iter().filter(|entry| entry["kind"] == kind).collect()
}
