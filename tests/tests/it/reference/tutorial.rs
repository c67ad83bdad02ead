//! A server with users, sessions, roles, keys and an audit log: `examples/replace-tutorial`.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::clients::{Client, Clients, Session};
use witgate_tests::gateway::{Running, Setup, await_some, unframed, workspace};
use witgate_tests::oauth::{browser, directory};
use witgate_tests::wire::{Answer, Request};

const PASSWORD: &str = "correct horse battery";

/// The users of the example, with their roles.
const USERS: [(&str, &str); 4] =
    [("admin", "admin"), ("testuser", "user"), ("readonly", "readonly"), ("service_bot", "service")];

/// The example's directory, with its four users.
fn example() -> Setup {
    let setup = Setup::new();
    let from = workspace().join("examples/replace-tutorial");
    for name in ["server.py", "notes_client.py", "demo.py", "shell.py"] {
        fs::copy(from.join(name), setup.dir().join(name)).unwrap();
    }
    let config = fs::read_to_string(from.join("witgate.toml")).unwrap();
    let config = config.replace("\"python3\"", &format!("{:?}", python()));
    setup.file("witgate.toml", config.replace("127.0.0.1:8787", &setup.address()));
    for (name, role) in USERS {
        succeed(&setup, &["user", "add", name, "--accounts", "--role", role, "--password-stdin"], PASSWORD);
    }
    setup
}

fn python() -> String {
    Clients::installed().unwrap().python().display().to_string()
}

fn run(setup: &Setup, arguments: &[&str], input: &str) -> Output {
    let mut command = setup.command(arguments);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn succeed(setup: &Setup, arguments: &[&str], input: &str) -> String {
    let output = run(setup, arguments, input);
    let said = told(&output);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

fn told(output: &Output) -> String {
    unframed(&format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// A key of a user with these scopes.
fn key(setup: &Setup, user: &str, name: &str, scopes: &[&str]) -> String {
    let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
    let arguments: Vec<_> =
        ["accounts", "keys", "create", user, name, "--json"].into_iter().chain(scopes).collect();
    let output = run(setup, &arguments, "");
    assert!(output.status.success(), "{}", told(&output));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

fn request(running: &Running, method: &str, params: Value) -> Request {
    Request::stateless(&running.address(), "/mcp", method, params)
}

fn call(running: &Running, key: &str, tool: &str, arguments: Value) -> Answer {
    request(running, "tools/call", json!({ "name": tool, "arguments": arguments })).bearer(key).send()
}

/// The data of an own tool, or the text of one of the server.
fn answered(answer: &Answer) -> Value {
    let result = answer.result();
    assert_eq!(result["isError"], false, "{result}");
    // The server's text is a member of its own.
    match &result["structuredContent"]["result"] {
        Value::Null => result["structuredContent"].clone(),
        text => text.clone(),
    }
}

fn denied(answer: &Answer) -> bool {
    let result = answer.result();
    result["isError"] == true
}

fn tools(running: &Running, key: Option<&str>) -> Vec<String> {
    let list = request(running, "tools/list", json!({}));
    let list = key.iter().fold(list, |list, key| list.bearer(key));
    list.send().names("tools", "name")
}

/// Runs a program of the example with these lines of input.
fn python_program(running: &Running, program: &str, input: &str) -> String {
    let mut command = std::process::Command::new(python());
    command.arg(program).arg(running.url()).current_dir(running.setup().dir());
    for (name, _) in USERS {
        command.env(name.to_uppercase(), PASSWORD);
    }
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}\n{}", told(&output), running.log());
    String::from_utf8(output.stdout).unwrap()
}

/// The scripted client logs in as three users by OAuth, with the official SDK.
#[test]
fn the_scripted_client_shows_everything() {
    let running = example().serve();
    let said = python_program(&running, "demo.py", "");
    let line = |who: &str, what: &str| {
        let found = said.lines().find(|line| line.starts_with(&format!("{who:<12} {what:<28} ")));
        found.unwrap_or_else(|| panic!("{who} {what}: {said}")).to_owned()
    };
    assert!(
        line("nobody", "the tools").ends_with("['authenticate_user', 'authenticate_with_api_key']"),
        "{said}"
    );
    assert!(line("nobody", "authenticate_user").contains("/login"), "{said}");
    assert!(line("testuser", "get_user_profile").contains("'name': 'testuser'"), "{said}");
    assert!(line("testuser", "list_notes").ends_with("plan"), "{said}");
    assert!(line("the key", "list_notes").ends_with("plan"), "{said}");
    for (who, what) in [
        ("nobody", "get_user_profile"),
        ("testuser", "list_audit_events"),
        ("testuser", "a scope of others"),
        ("the key", "create_secure_note"),
        ("readonly", "create_secure_note"),
    ] {
        assert!(line(who, what).contains("denied: "), "{said}");
    }
    assert!(line("the key", "authenticate_with_api_key").ends_with("testuser"), "{said}");
    assert!(line("testuser", "logout").contains("True"), "{said}");
    assert!(line("readonly", "list_notes").ends_with("There are none."), "{said}");
    assert!(line("admin", "list_audit_events").contains("denials"), "{said}");
    assert!(line("admin", "security://summary").contains("'allowed'"), "{said}");
    // The log may say that what was shown begins as a key does.
    let log = running.log().replace("begins with `wgk_`", "");
    assert!(!log.contains(PASSWORD) && !log.contains("wgk_"), "{log}");
}

#[test]
fn the_interactive_client_talks_to_a_person() {
    let running = example().serve();
    let input = format!(
        "login testuser {PASSWORD_OF_SHELL}\nnote plan Buy bread\nnotes\napikey reader notes:read\nlogout\nquit\n"
    );
    succeed(
        running.setup(),
        &["user", "passwd", "testuser", "--accounts", "--password-stdin"],
        PASSWORD_OF_SHELL,
    );
    let said = python_program(&running, "shell.py", &input);
    for words in ["apikey NAME", "'name': 'testuser'", "Kept the note plan.", "\nplan", "wgk_", "logged_out"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// The commands of the interactive client are split at blanks.
const PASSWORD_OF_SHELL: &str = "correct-horse-battery";

/// The TypeScript client and a real browser get in with the URL alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_with_a_browser_and_calls_a_tool() {
    let running = example().serve();
    let session = Session::http(running.url()).mode("auto").limit(Duration::from_secs(120));
    let more = [
        format!("--browser={}", browser().unwrap().display()),
        "--name=testuser".to_owned(),
        format!("--password={PASSWORD}"),
        "--scope=notes:read".to_owned(),
        format!("--tools={}", json!([["get_user_profile", {}]])),
    ];
    let clients = Clients::installed().unwrap();
    let report: witgate_tests::clients::Scenario =
        clients.drive_other(&directory().join("login.mjs"), &session, &more).await.unwrap();
    assert_eq!(report.error, None, "{report:?}\n{}", running.log());
    assert!(report.steps["get_user_profile"].to_string().contains("testuser"), "{report:?}");
}

#[test]
fn roles_decide_about_tools_and_resources() {
    let setup = example();
    let keys: Vec<_> =
        USERS.iter().map(|(user, _)| key(&setup, user, "k", &["notes:read", "notes:write"])).collect();
    let running = setup.serve();
    assert_eq!(tools(&running, None), ["authenticate_user", "authenticate_with_api_key"]);
    let [admin, user, readonly, service] = keys.as_slice() else { panic!("{keys:?}") };
    for (key, tool, may) in [
        (admin, "list_audit_events", true),
        (admin, "get_security_summary", true),
        (user, "create_api_key", true),
        (user, "list_audit_events", false),
        (user, "get_security_summary", false),
        (readonly, "get_user_profile", true),
        (readonly, "create_secure_note", false),
        (readonly, "create_api_key", false),
        (service, "create_secure_note", true),
        (service, "create_api_key", false),
    ] {
        assert_eq!(tools(&running, Some(key)).contains(&tool.to_owned()), may, "{tool}");
    }
    assert!(denied(&call(&running, user, "list_audit_events", json!({}))));
    assert!(denied(&call(&running, readonly, "create_secure_note", json!({ "title": "a", "content": "b" }))));
    let read =
        |key: &str, uri: &str| request(&running, "resources/read", json!({ "uri": uri })).bearer(key).send();
    let text = |answer: &Answer| answer.result()["contents"][0]["text"].as_str().unwrap().to_owned();
    assert!(text(&read(user, "user://profile")).contains("\"testuser\""));
    assert!(text(&read(admin, "security://summary")).contains("\"outcomes\""));
    assert_eq!(read(user, "security://summary").status, 403);
    let resources = |key: &str| {
        request(&running, "resources/list", json!({})).bearer(key).send().names("resources", "uri")
    };
    assert_eq!(resources(user), ["user://profile"]);
    assert_eq!(resources(admin), ["user://profile", "security://summary"]);
    // Without a credential, nothing else is answered.
    let alone =
        request(&running, "tools/call", json!({ "name": "get_user_profile", "arguments": {} })).send();
    assert_eq!((alone.status, alone.refusal().2), (401, "no-credential".to_owned()));
}

#[test]
fn notes_have_owners_and_keys_reach_those_of_their_owner() {
    let setup = example();
    let (one, other) =
        (key(&setup, "testuser", "a", &["notes:write"]), key(&setup, "testuser", "b", &["notes:read"]));
    let service = key(&setup, "service_bot", "a", &["notes:read"]);
    let running = setup.serve();
    let note = json!({ "title": "plan", "content": "Buy bread." });
    // On a busy machine, Python may not start in the time for a process.
    await_some("a note", || {
        let result = call(&running, &one, "create_secure_note", note.clone()).result();
        (result["isError"] == false).then(String::new)
    });
    assert_eq!(answered(&call(&running, &other, "get_note", json!({ "title": "plan" }))), "Buy bread.");
    assert_eq!(answered(&call(&running, &service, "list_notes", json!({}))), "There are none.");
    // The scopes of a key narrow what its owner may.
    let missing = call(&running, &one, "list_notes", json!({}));
    assert_eq!(missing.status, 403, "{}", missing.text());
    assert!(missing.header("www-authenticate").unwrap().contains("notes:read"));
}

#[test]
fn a_key_never_has_more_than_its_owner_and_ends_at_once() {
    let setup = example();
    let key = key(&setup, "testuser", "a", &["notes:read"]);
    let running = setup.serve();
    let setup = running.setup();
    let profile = || call(&running, &key, "get_user_profile", json!({}));
    assert_eq!(answered(&profile())["roles"], json!(["user"]));
    succeed(setup, &["accounts", "roles", "testuser", "--role", "readonly"], "");
    assert_eq!(answered(&profile())["roles"], json!(["readonly"]));
    // A key cannot make keys.
    succeed(setup, &["accounts", "roles", "testuser", "--role", "user"], "");
    let more = call(&running, &key, "create_api_key", json!({ "name": "more" }));
    assert!(denied(&more), "{}", more.text());
    succeed(setup, &["user", "disable", "testuser", "--accounts"], "");
    assert_eq!(profile().refusal(), (401, 401, "revoked".to_owned()));
    succeed(setup, &["user", "enable", "testuser", "--accounts"], "");
    await_some("the enabled owner", || (profile().status == 200).then(String::new));
    succeed(setup, &["accounts", "keys", "end", "testuser", "a"], "");
    assert_eq!(profile().refusal(), (401, 401, "revoked".to_owned()));
    let listed = succeed(setup, &["accounts", "keys", "list", "testuser", "--json"], "");
    assert!(listed.contains("[]"), "{listed}");
}

#[test]
fn a_key_in_an_argument_proves_one_call_and_is_taken_out() {
    let setup = example();
    let key = key(&setup, "testuser", "a", &[]);
    let running = setup.serve();
    let ask = |arguments: Value| {
        let params = json!({ "name": "authenticate_with_api_key", "arguments": arguments });
        request(&running, "tools/call", params).send()
    };
    let known = answered(&ask(json!({ "api_key": key })));
    assert_eq!((&known["authenticated"], &known["name"]), (&json!(true), &json!("testuser")));
    assert_eq!(answered(&ask(json!({})))["authenticated"], false);
    let wrong = ask(json!({ "api_key": "wgk_0000000000000000000000000000000000000000000" }));
    assert_eq!(wrong.refusal(), (401, 401, "unknown-key".to_owned()));
    // No tool takes a password.
    let params =
        json!({ "name": "authenticate_user", "arguments": { "username": "admin", "password": PASSWORD } });
    let refused = request(&running, "tools/call", params).send();
    assert!(denied(&refused) && refused.text().contains("not accepted as arguments"), "{}", refused.text());
    assert!(!running.log().contains(&key), "{}", running.log());
}

#[test]
fn guesses_are_paused_and_calls_are_limited() {
    let setup = example();
    // On a busy machine, a hundred calls may take a minute.
    let config = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    setup.file("witgate.toml", config.replace("100/min", "20/min"));
    let key = key(&setup, "testuser", "a", &[]);
    let running = setup.serve();
    let wrong = "wgk_0000000000000000000000000000000000000000000";
    let statuses: Vec<_> =
        (0..40).map(|_| call(&running, wrong, "get_user_profile", json!({})).status).collect();
    assert!(statuses.contains(&401) && statuses.contains(&429), "{statuses:?}");
    succeed(running.setup(), &["lockout", "clear"], "");
    // A refused call of a tool is the result of a failed tool.
    let answers: Vec<_> =
        (0..60).map(|_| call(&running, &key, "get_user_profile", json!({})).text()).collect();
    let refused = answers.iter().filter(|text| text.contains("Too many calls")).count();
    assert!((1..=40).contains(&refused), "{refused}: {answers:?}");
}

#[test]
fn every_decision_is_in_a_log_that_can_be_verified() {
    let setup = example();
    let (admin, user) = (key(&setup, "admin", "a", &[]), key(&setup, "testuser", "a", &[]));
    let running = setup.serve();
    assert!(denied(&call(&running, &user, "list_audit_events", json!({}))));
    let arguments = json!({ "outcome": "denied", "limit": 5 });
    let denials = await_some("the entry", || {
        let events = answered(&call(&running, &admin, "list_audit_events", arguments.clone()));
        let found = events["events"].as_array().unwrap().first().cloned();
        found.map(|event| event.to_string())
    });
    assert!(denials.contains("list_audit_events"), "{denials}");
    let bad = call(&running, &admin, "list_audit_events", json!({ "since": "soon" }));
    assert!(denied(&bad), "{}", bad.text());
    let summary = answered(&call(&running, &admin, "get_security_summary", json!({})));
    assert_eq!((&summary["accounts"]["users"], &summary["accounts"]["keys"]), (&json!(4), &json!(2)));
    assert_eq!(summary["audit"]["available"], true, "{summary}");
    drop(running.log());
    let verified = run(running.setup(), &["audit", "verify"], "");
    assert!(verified.status.success(), "{}", told(&verified));
}

/// Programs with a fixed key, in clients of several makes.
#[tokio::test(flavor = "multi_thread")]
async fn programs_use_a_key_in_each_client() {
    let setup = example();
    let key = key(&setup, "service_bot", "nightly", &["notes:read", "notes:write"]);
    let running = setup.serve();
    for client in [Client::TsSdk, Client::PyMcp] {
        let session = Session::http(running.url()).limit(Duration::from_secs(60));
        let session = session.header("Authorization", &format!("Bearer {key}")).call("list_notes", json!({}));
        let report = Clients::installed().unwrap().run(client, &session).await.unwrap();
        assert_eq!(report.text().as_deref(), Some("There are none."), "{client:?}: {report:?}");
    }
}

#[test]
fn the_database_is_made_with_its_users_and_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let setup = example();
    let users = succeed(&setup, &["user", "list", "--accounts", "--json"], "");
    for (name, role) in USERS {
        assert!(users.contains(&format!("\"{name}\"")) && users.contains(&format!("\"{role}\"")), "{users}");
    }
    let mode = setup.dir().join("accounts.db").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let short = run(&setup, &["user", "add", "x", "--accounts", "--password-stdin"], "short");
    assert!(!short.status.success(), "{}", told(&short));
    succeed(&setup, &["check"], "");
}
