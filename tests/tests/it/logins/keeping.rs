//! Endings that a command could not put in force, keys, and the audit log.

use super::*;

/// The settings of an audit log.
const AUDIT: &str = "[audit]\ndirectory = \"log\"\n";

/// Appends to the configuration.
fn add_to_config(setup: &Setup, text: &str) {
    let path = setup.dir().join("witgate.toml");
    let now = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{now}\n{text}")).unwrap();
}

fn is_refused(running: &Running, tokens: &Value) -> Option<()> {
    (call(running, tokens).status == 401).then_some(())
}

#[test]
fn an_ending_that_a_command_could_not_put_in_force_is_put_in_force_by_the_running_gateway() {
    let running = setup("").serve();
    let (_, tokens) = Person::new(&running).let_in();
    assert_eq!(call(&running, &tokens).status, 200);
    // The command commits the ending, and cannot write the list of ended logins.
    let in_the_way = running.setup().dir().join("witgate.state/accounts/.ended.jsonl.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let output = run(running.setup(), &["accounts", "end", "ada"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("NOT IN FORCE"), "{said}");
    running.await_log("logins that have ended may still be accepted");
    assert_eq!(call(&running, &tokens).status, 200);
    std::fs::remove_dir(&in_the_way).unwrap();
    await_some("the end of the login", || is_refused(&running, &tokens));
}

#[test]
fn a_new_key_signs_when_it_is_known_and_a_distrusted_one_is_refused_at_once() {
    let running = setup("").serve();
    let mut person = Person::new(&running);
    let (client, first) = person.let_in();
    let refresh = |person: &mut Person<'_>, tokens: &Value| {
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let form = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", refresh)];
        body(&person.post("/token", &form))
    };
    succeed(running.setup(), &["accounts", "rotate-key"], "");
    let second = refresh(&mut person, &first);
    assert_eq!([&first, &second].map(|tokens| call(&running, tokens).status), [200, 200]);
    succeed(running.setup(), &["accounts", "rotate-key", "--distrust-former"], "");
    assert_eq!([&first, &second].map(|tokens| call(&running, tokens).status), [401, 401]);
    let third = refresh(&mut person, &second);
    assert_eq!(call(&running, &third).status, 200);
}

#[test]
fn accounts_that_move_wait_for_a_restart() {
    let running = setup("").serve();
    let (_, tokens) = Person::new(&running).let_in();
    succeed(running.setup(), &["accounts", "backup", "other.db"], "");
    let path = running.setup().dir().join("witgate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[accounts]\n", "[accounts]\nstore = \"other.db\"\n")).unwrap();
    running.await_log("the accounts are elsewhere now");
    std::fs::write(&path, text).unwrap();
    succeed(running.setup(), &["accounts", "end", "ada"], "");
    assert_eq!(call(&running, &tokens).status, 401);
}

#[test]
fn each_change_is_in_the_audit_log_with_who_made_it() {
    let setup = setup("");
    add_to_config(&setup, AUDIT);
    let running = setup.serve();
    Person::new(&running).let_in();
    succeed(running.setup(), &["accounts", "roles", "ada", "--role", "admin"], "");
    let schema = std::fs::read_to_string(workspace().join("docs/audit.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let log = running.setup().dir().join("log");
    let entries = || {
        let files = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
        let segments = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        let text: String = segments.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|entry| entry["kind"] == "account").collect::<Vec<_>>()
    };
    let last =
        await_some("the event", || entries().into_iter().find(|entry| entry["action"] == "roles-changed"));
    assert_eq!((&last["name"], &last["roles"]), (&"ada".into(), &json!(["admin"])), "{last}");
    assert!(last["by"]["uid"].is_u64() && last["by"]["pid"].is_u64(), "{last}");
    let all = entries();
    for entry in &all {
        assert!(schema.is_valid(entry), "no documented form: {entry}");
    }
    // The first one is of a command before the start.
    let actions: Vec<_> = all.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["user-added", "logged-in", "access-given", "roles-changed"]);
    assert_eq!(all[1]["by"]["user"], all[1]["user"]);
    assert_eq!(all[1]["method"], "password");
    assert!(all[1]["peer"].is_string(), "{}", all[1]);
}
