//! `witgate key` commands that are killed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use witgate_base::digest::{digest_text, sha256};
use witgate_tests::gateway::Setup;

use super::{Chance, kills};

/// The state of a key, as commands have reported it.
#[derive(Clone, Debug)]
struct Known {
    text: String,
    revoked: bool,
}

#[test]
fn a_killed_command_has_reported_the_truth_and_left_a_whole_store() {
    let setup = Setup::new();
    setup.key(&["first", "--allow", "*", "--store", "keys.toml"]);
    let longest = how_long(&setup);
    let (mut chance, mut known) = (Chance(0x5eed), BTreeMap::<String, Known>::new());
    let mut acknowledged = 0;
    for number in 0..kills(50) {
        let names: Vec<_> =
            known.iter().filter(|(_, key)| !key.revoked).map(|(name, _)| name.clone()).collect();
        let name = match names.len() {
            0 => format!("key-{number}"),
            count => names[usize::try_from(chance.below(count as u64)).unwrap()].clone(),
        };
        let (command, name) = match chance.below(4) {
            2 if !names.is_empty() => ("rotate", name),
            3 if !names.is_empty() => ("revoke", name),
            _ => ("create", format!("key-{number}")),
        };
        let output = killed(&setup, &[command, &name], chance.within(longest));
        if let Ok(output) = serde_json::from_str::<Value>(&output) {
            acknowledged += 1;
            let text = output["key"].as_str().map(str::to_owned);
            let before = known.get(&name).map(|key| key.text.clone()).unwrap_or_default();
            known.insert(name.clone(), Known { text: text.unwrap_or(before), revoked: command == "revoke" });
            holds(&setup, &known, None);
        } else {
            // The command may have made its change or not; the store is whole in either case.
            holds(&setup, &known, Some(&name));
            adopt(&setup, &mut known, &name);
        }
    }
    assert!(acknowledged > 0, "no command was quick enough");
}

/// Somewhat more than a command takes on this machine, so that some are done.
fn how_long(setup: &Setup) -> Duration {
    let start = Instant::now();
    for number in 0..3 {
        setup.key(&[&format!("timed-{number}"), "--allow", "*", "--store", "keys.toml"]);
    }
    start.elapsed() / 2
}

fn killed(setup: &Setup, arguments: &[&str], after: Duration) -> String {
    let more: &[&str] = if arguments[0] == "create" { &["--allow", "*"] } else { &[] };
    let all = [&["key"], arguments, more, &["--json", "--store", "keys.toml"]].concat();
    let mut command = setup.command(&all);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut text = String::new();
    child.stdout.unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Asserts that the store is whole, and contains every confirmed change. For `unsure`, both states are right.
fn holds(setup: &Setup, known: &BTreeMap<String, Known>, unsure: Option<&String>) {
    let (list, text) = (list(setup), std::fs::read_to_string(setup.dir().join("keys.toml")).unwrap());
    for (name, key) in known.iter().filter(|(name, _)| Some(*name) != unsure) {
        let state = list.get(name).unwrap_or_else(|| panic!("{name} is gone from {list:?}"));
        assert_eq!(state == "revoked", key.revoked, "{name}: {state}");
        let hash = digest_text(&sha256(key.text.as_bytes()));
        let hash = hash.trim_start_matches("sha256:");
        assert!(key.text.is_empty() || text.contains(hash), "{name}: its text is not the one that was shown");
    }
}

/// Adopts the state that an unfinished command has left.
fn adopt(setup: &Setup, known: &mut BTreeMap<String, Known>, name: &String) {
    let list = list(setup);
    match list.get(name) {
        // A key may have a text that nobody has seen.
        Some(state) => known.insert(name.clone(), Known { text: String::new(), revoked: state == "revoked" }),
        None => known.remove(name),
    };
}

fn list(setup: &Setup) -> BTreeMap<String, String> {
    let output = setup.run(&["key", "list", "--json", "--store", "keys.toml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|key| (text(key, "name"), text(key, "state"))).collect()
}
