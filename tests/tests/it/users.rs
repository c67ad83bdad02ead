//! Users with passwords: the commands, logins, their end, and the import of existing hashes.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use witgate_tests::gateway::{Running, Setup, await_some};
use witgate_tests::wire::{Answer, Request, read_answer};

const PASSWORD: &str = "correct horse: b\u{e4}ttery";

/// A gateway before its own tools, with a `basic` policy that has these further settings.
fn setup(policy: &str) -> Setup {
    let setup = Setup::new();
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.people]\nkind = \"basic\"\n{policy}\nconfig = {{ users = \"users.toml\", realm = \"tools\" }}\n\
             [pipeline]\nauthenticate = [\"people\"]\nauthorize = [\"people\"]\n"
        ),
    );
    setup
}

/// Runs a command with this standard input.
fn run(setup: &Setup, arguments: &[&str], input: &str) -> Output {
    let mut command = setup.command(arguments);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn succeed(setup: &Setup, arguments: &[&str], input: &str) -> String {
    let output = run(setup, arguments, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    assert!(!said.contains("correct horse") && !said.contains("$argon2"), "{said}");
    said + &String::from_utf8_lossy(&output.stdout)
}

fn add(setup: &Setup, name: &str) {
    succeed(setup, &["user", "add", name, "--allow", "*", "--password-stdin"], &format!("{PASSWORD}\n"));
}

/// The answer to a call with this name and password.
fn call(running: &Running, name: &str, password: &str) -> Answer {
    call_with(running, Some(&format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))))
}

fn call_with(running: &Running, authorization: Option<&str>) -> Answer {
    let params = json!({ "name": "echo", "arguments": { "text": "hello" } });
    let request = Request::stateless(&running.address(), "/mcp", "tools/call", params);
    match authorization {
        Some(value) => request.set("Authorization", value).send(),
        None => request.send(),
    }
}

fn reason(answer: &Answer) -> String {
    answer.refusal().2
}

#[test]
fn a_user_logs_in_and_nobody_else() {
    for component in [false, true] {
        let setup = setup(if component { "component = \"plugins/basic.wasm\"" } else { "" });
        if component {
            setup.component("basic");
        }
        add(&setup, "jos\u{e9}");
        let running = setup.serve();
        assert_eq!(call(&running, "jos\u{e9}", PASSWORD).status, 200);
        assert!(call(&running, "jose\u{301}", PASSWORD).status == 200, "the same name, decomposed");

        let [wrong, unknown] = ["jos\u{e9}", "eve"].map(|name| call(&running, name, "correct horse"));
        assert_eq!(wrong.refusal(), (401, 401, "invalid-credentials".to_owned()));
        assert_eq!(unknown.refusal(), wrong.refusal());
        assert_eq!(unknown.message()["error"]["message"], wrong.message()["error"]["message"]);
        assert_eq!(reason(&call_with(&running, Some("Basic ???"))), "malformed");
        for refused in [&wrong, &call_with(&running, None)] {
            let challenges = refused.all("www-authenticate");
            let [bearer, basic] = challenges[..] else { panic!("{challenges:?}") };
            assert!(bearer.starts_with("Bearer "), "{bearer}");
            assert_eq!(basic, "Basic realm=\"tools\", charset=\"UTF-8\"");
        }
        let log = running.log();
        let shown = STANDARD.encode(format!("jos\u{e9}:{PASSWORD}"));
        assert!(
            !log.contains("correct horse") && !log.contains(&shown) && !log.contains("$argon2id"),
            "{log}"
        );
    }
}

#[test]
fn a_disabled_user_is_refused_at_once_and_their_streams_end() {
    let setup = setup("");
    add(&setup, "ada");
    let running = setup.serve();
    assert_eq!(call(&running, "ada", PASSWORD).status, 200);
    let credential = format!("Basic {}", STANDARD.encode(format!("ada:{PASSWORD}")));
    let listen = Request::stateless(&running.address(), "/mcp", "subscriptions/listen", json!({}))
        .set("Authorization", &credential)
        .open();
    let begun = read_answer(&listen, Duration::from_secs(60), |bytes| !bytes.is_empty());
    assert!(!begun.ended, "{begun:?}");

    succeed(running.setup(), &["user", "disable", "ada"], "");
    assert_eq!(reason(&call(&running, "ada", PASSWORD)), "disabled");
    let rest = read_answer(&listen, Duration::from_secs(60), |_| false);
    assert!(rest.ended, "{rest:?}");
    succeed(running.setup(), &["user", "enable", "ada"], "");
    assert_eq!(call(&running, "ada", PASSWORD).status, 200);

    succeed(running.setup(), &["user", "passwd", "ada", "--password-stdin"], "another password\n");
    assert_eq!(reason(&call(&running, "ada", PASSWORD)), "invalid-credentials");
    assert_eq!(call(&running, "ada", "another password").status, 200);
    succeed(running.setup(), &["user", "remove", "ada"], "");
    assert_eq!(reason(&call(&running, "ada", "another password")), "invalid-credentials");
}

/// A line of a file, by the real program if it is installed.
fn htpasswd(name: &str, password: &str) -> String {
    let made = Command::new("htpasswd").args(["-nbB", "-C", "4", name, password]).output();
    match made {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
        _ => "ada:$2y$04$U1hiWKnP4LxhnZtSu2jup.RNORiAPtY3BGpNwAyUETEWyGzKYEfui\n".to_owned(),
    }
}

#[test]
fn an_imported_hash_is_replaced_at_the_next_login() {
    let setup = setup("");
    setup.file("htpasswd", htpasswd("ada", "correct horse"));
    assert!(succeed(&setup, &["user", "import", "htpasswd", "--allow", "*"], "").contains("ada"));
    let store = setup.dir().join("users.toml");
    let hash = |store: &Path| std::fs::read_to_string(store).unwrap();
    assert!(hash(&store).contains("$2y$"));
    let running = setup.serve();
    assert_eq!(reason(&call(&running, "ada", "correct horses")), "invalid-credentials");
    assert!(hash(&store).contains("$2y$"));
    assert_eq!(call(&running, "ada", "correct horse").status, 200);
    await_some("the new hash", || hash(&store).contains("$argon2id$").then_some(()));
    let listed = succeed(running.setup(), &["user", "list"], "");
    assert!(listed.contains("argon2") && !listed.contains('$'), "{listed}");
    assert_eq!(call(&running, "ada", "correct horse").status, 200);
}

#[test]
fn commands_say_what_is_wrong_and_write_nothing() {
    let setup = setup("");
    let add = ["user", "add", "ada", "--password-stdin"];
    for (input, said) in [
        ("", "the password is empty"),
        ("short\n", "fewer than 8 characters"),
        ("a\tlong password\n", "control character"),
        ("two lines\nof text\n", "control character"),
    ] {
        let output = run(&setup, &add, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{error}");
    }
    let output = run(&setup, &["user", "add", "a:b", "--password-stdin"], PASSWORD);
    assert!(String::from_utf8_lossy(&output.stderr).contains("colon"));
    let md5 = "ada:$apr1$c4WoMPo3$SXsafkvaHHa6uXQZWr7ob0\n";
    let output = run(&setup, &["user", "import", "-"], md5);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("a hash of MD5") && !error.contains("SXsafkva"), "{error}");
    assert!(!setup.dir().join("users.toml").exists());
}
