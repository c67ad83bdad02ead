//! `witgate plugin run`, as authors use it: one question to a component, and the trace of its work.

use std::process::Output;

use serde_json::Value;
use witgate_tests::gateway::{Setup, component};

fn run(setup: &Setup, arguments: &[&str]) -> Output {
    setup.run(&[&["plugin", "run"], arguments].concat())
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}

/// A setup with the component of a shipped policy beside its settings.
fn rbac() -> (Setup, String) {
    let setup = Setup::new();
    setup.file("settings.toml", "[roles.user]\nallow = [\"get_*\"]\n");
    (setup, component("rbac").display().to_string())
}

#[test]
fn the_answer_is_the_exit_code() {
    let (setup, rbac) = rbac();
    let ask = |call: &str| {
        run(
            &setup,
            &[&rbac, "--settings", "settings.toml", "--call", call, "--principal", r#"{"roles":["user"]}"#],
        )
    };
    let yes = ask("get_sum");
    assert_eq!(yes.status.code(), Some(0), "{}{}", out(&yes), err(&yes));
    let text = out(&yes);
    for part in [
        "settings   accepted",
        "may alice, with the roles user, do tools/call get_sum?",
        "answer     \"allow\"",
        "KiB",
    ] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    let no = ask("put_sum");
    assert_eq!(no.status.code(), Some(1), "{}", err(&no));
    assert!(out(&no).contains("denied = \"not-allowed\""), "{}", out(&no));

    setup.file("settings.json", r#"{"roles":{"user":{"allow":["put_sum"]}}}"#);
    let other = run(
        &setup,
        &[
            "--json",
            &rbac,
            "--settings",
            "settings.json",
            "--call",
            "put_sum",
            "--principal",
            r#"{"roles":["user"]}"#,
        ],
    );
    let other = json(&other);
    assert_eq!((&other["ok"], &other["asked"][0]["answer"]), (&true.into(), &"allow".into()), "{other:#}");
    assert!(other["asked"][0]["memory_bytes"].as_u64() > Some(0), "{other:#}");
}

#[test]
fn unusable_inputs_have_distinct_exit_codes() {
    let (setup, rbac) = rbac();
    setup.file("bad.toml", "[roles\n");
    let bad = run(&setup, &[&rbac, "--settings", "bad.toml"]);
    assert_eq!(bad.status.code(), Some(65), "{}", err(&bad));
    assert!(err(&bad).contains("bad.toml is not TOML") && err(&bad).contains("on line 1"), "{}", err(&bad));

    setup.file("refused.json", r#"{"roles":{"user":{"allow":[7]}}}"#);
    let refused = run(&setup, &[&rbac, "--settings", "refused.json"]);
    assert_eq!(refused.status.code(), Some(1), "{}", err(&refused));
    assert!(out(&refused).contains("settings   refused: config.roles.user.allow.0"), "{}", out(&refused));

    setup.file("none.wasm", "no component");
    assert_eq!(run(&setup, &["none.wasm"]).status.code(), Some(69));
    let usage = run(&setup, &[&rbac, "--principal", "{\"roles\":7}"]);
    assert_eq!(usage.status.code(), Some(2), "{}", err(&usage));

    setup.file("mine/plugin.toml", "name = \"mine\"\nlang = \"cobol\"\nworld = \"authorizer\"\n");
    for command in ["run", "bench", "build", "test"] {
        let bad = setup.run(&["plugin", command, "mine"]);
        // A project without cases has nothing to test, whoever it is.
        setup.file("mine/cases.toml", "[[case]]\nname = \"x\"\nprincipal = {}\nexpect = \"allow\"\n");
        let bad = if command == "test" { setup.run(&["plugin", command, "mine"]) } else { bad };
        assert_eq!(bad.status.code(), Some(65), "{command}: {}", err(&bad));
        assert!(err(&bad).contains("unknown variant `cobol`"), "{command}: {}", err(&bad));
    }
}

#[test]
fn a_case_sets_the_environment_and_the_command_line_overrides_it() {
    let setup = Setup::new();
    setup.file("mine/plugin.toml", "name = \"mine\"\nlang = \"rust\"\nworld = \"authenticator\"\n");
    std::fs::copy(component("oauth2-introspection"), setup.dir().join("mine/mine.wasm")).unwrap();
    setup.file("mine/cases.toml", CASES);
    let good = run(&setup, &["mine", "--case", "a token that is active"]);
    let text = out(&good);
    assert_eq!(good.status.code(), Some(0), "{text}{}", err(&good));
    for part in
        ["who shows this bearer?", "http.send Post https://idp.example.com/introspect", "subject = \"ada\""]
    {
        assert!(text.contains(part), "no {part}: {text}");
    }
    // The output contains neither the token nor the secret of the host.
    for secret in ["some-opaque-token", "not-for-anybody"] {
        assert!(!text.contains(secret), "{text}");
    }

    setup.file("token", "another-opaque-token\n");
    let mut command = setup.command(&["plugin", "run", "mine", "--case", "a token that is active"]);
    let from_env =
        command.args(["--credential-env", "TOKEN"]).env("TOKEN", "another-opaque-token").output().unwrap();
    let from_file = run(&setup, &["mine", "--case", "a token that is active", "--credential-file", "token"]);
    for other in [from_env, from_file] {
        assert!(out(&other).contains("http form"), "it is another token: {}{}", out(&other), err(&other));
        assert!(!out(&other).contains("another-opaque-token"), "{}", out(&other));
    }

    let late = run(&setup, &["mine", "--case", "a token that is active", "--now", "2033-05-19T00:00:00Z"]);
    assert_eq!(late.status.code(), Some(1), "{}", out(&late));
    let unmatched = run(&setup, &["mine", "--case", "a token that is activ"]);
    assert_eq!(unmatched.status.code(), Some(69));
    assert!(err(&unmatched).contains("did you mean \"a token that is active\"?"), "{}", err(&unmatched));
}

const CASES: &str = r#"
[secrets]
SECRET = "not-for-anybody"
[config]
endpoint = "https://idp.example.com/introspect"
client_id = "witgate"
client_secret.env = "SECRET"
audience = "api"
[[case]]
name = "a token that is active"
credential.bearer = "some-opaque-token"
http = [{ request = "POST https://idp.example.com/introspect", auth = "basic witgate client_secret", form = { token = "{credential}", token_type_hint = "access_token" }, json = { active = true, sub = "ada", aud = "api", exp = 2000000300 } }]
expect.identity.subject = "ada"
"#;

#[test]
fn a_trap_shows_its_place_and_the_last_output() {
    let setup = Setup::new();
    let debug = component("tests/faulty-debug").display().to_string();
    let trapped = run(&setup, &[&debug, "--call", "traps"]);
    let text = out(&trapped);
    assert_eq!(trapped.status.code(), Some(1), "{text}{}", err(&trapped));
    for part in [
        "failed = \"trap\"",
        "it panicked or aborted",
        "tests/guests/faulty/src/lib.rs:40)",
        "log error: panicked at",
    ] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    let plain = component("tests/faulty").display().to_string();
    let trapped = json(&run(&setup, &["--json", &plain, "--call", "traps"]));
    let events = trapped["asked"][0]["events"].as_array().unwrap();
    let line = events.iter().find_map(|event| event["line"].as_str()).unwrap();
    assert!(line.starts_with("panicked at"), "{trapped:#}");
    let detail = trapped["asked"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("its last output: error: panicked at"), "{detail}");
}
