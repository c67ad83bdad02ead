//! Failing cases, and their reports.

use witgate_tests::gateway::{Setup, component};

use super::{BAD, GOOD, err, out, test};

#[test]
fn a_good_suite_passes_and_a_bad_one_fails() {
    let setup = Setup::new();
    setup.file("cases.toml", GOOD);
    let good = test(&setup, &[]);
    assert_eq!(good.status.code(), Some(0), "{}{}", out(&good), err(&good));
    let text = out(&good);
    assert!(text.contains("ok   ./cases.toml:6  users get  allow"), "{text}");
    assert!(text.contains("1 case, 1 passed, 0 failed"), "{text}");
    assert!(text.contains("no case brings about: denied"), "{text}");

    setup.file("cases.toml", format!("{GOOD}{BAD}"));
    let bad = test(&setup, &["cases.toml"]);
    assert_eq!(bad.status.code(), Some(1), "{}", err(&bad));
    let text = out(&bad);
    assert!(text.contains("FAIL cases.toml:12  users put  denied not-allowed"), "{text}");
    assert!(
        text.contains("expected   \"allow\"") && text.contains("found      denied = \"not-allowed\""),
        "{text}"
    );
    assert!(text.contains("2 cases, 1 passed, 1 failed"), "{text}");

    let filtered = test(&setup, &["--filter", "get"]);
    assert_eq!(filtered.status.code(), Some(0), "{}", out(&filtered));
    let unmatched = test(&setup, &["--filter", "nobody has this name"]);
    assert_eq!(unmatched.status.code(), Some(1));
    assert!(out(&unmatched).contains("no case has"), "{}", out(&unmatched));
}

#[test]
fn an_empty_suite_fails() {
    let setup = Setup::new();
    let none = test(&setup, &[]);
    assert_eq!(none.status.code(), Some(1), "{}", err(&none));
    assert!(out(&none).contains("there are no cases in"), "{}", out(&none));
    setup.file("cases.toml", "builtin = \"rbac\"\n");
    let empty = test(&setup, &[]);
    assert_eq!(empty.status.code(), Some(1), "{}", err(&empty));
    assert!(out(&empty).contains("write one, with `[[case]]`"), "{}", out(&empty));
}

#[test]
fn a_project_has_a_component_and_cases_in_several_files() {
    let setup = Setup::new();
    setup.file("mine/plugin.toml", "name = \"mine\"\nlang = \"rust\"\nworld = \"authorizer\"\n");
    let case = GOOD.replace("builtin = \"rbac\"\n", "");
    setup.file("mine/cases.toml", &case);
    setup.file("mine/cases/more.toml", case.replace("users get", "users get more"));
    let unbuilt = test(&setup, &["mine"]);
    assert_eq!(unbuilt.status.code(), Some(69));
    assert!(err(&unbuilt).contains("build it with `witgate plugin build mine`"), "{}", err(&unbuilt));

    std::fs::copy(component("rbac"), setup.dir().join("mine/mine.wasm")).unwrap();
    for place in ["mine", "mine/cases.toml", "mine/cases/more.toml"] {
        let built = test(&setup, &[place]);
        assert_eq!(built.status.code(), Some(0), "{}{}", out(&built), err(&built));
        let expected = if place == "mine" { "2 cases, 2 passed" } else { "1 case, 1 passed" };
        assert!(out(&built).contains(expected), "{}", out(&built));
        assert!(out(&built).contains("KiB"), "it is a component that has run: {}", out(&built));
    }

    std::fs::write(setup.dir().join("mine/mine.wasm"), "no component").unwrap();
    let no_component = test(&setup, &["mine"]);
    assert_eq!(no_component.status.code(), Some(69), "{}", out(&no_component));
    let absent = test(&setup, &["nowhere"]);
    assert_eq!(absent.status.code(), Some(69));
}

/// Each failure is expected by its reason code. An unexpected one is printed with the engine's message.
#[test]
fn failing_components_fail_their_cases() {
    let setup = Setup::new();
    let case = |tool: &str, expect: &str| {
        format!("[[case]]\nname = \"{tool}\"\ncall = \"{tool}\"\nprincipal = {{}}\nexpect.{expect}\n")
    };
    let faulty = component("tests/faulty");
    let cases = [
        ("loops", "timeout"),
        ("traps", "trap"),
        ("eats-memory", "memory"),
        ("talks-nonsense", "bad-output"),
    ];
    let all: String =
        cases.iter().map(|(tool, reason)| case(tool, &format!("failed = \"{reason}\""))).collect();
    setup.file("cases.toml", format!("component = \"{}\"\n{all}", faulty.display()));
    let output = test(&setup, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));

    setup.file("cases.toml", case("traps", "denied = \"late\""));
    let trapped = test(&setup, &["--component", &faulty.display().to_string()]);
    assert_eq!(trapped.status.code(), Some(1));
    let text = out(&trapped);
    assert!(text.contains("it panicked or aborted (wasm `unreachable`)"), "{text}");

    // The limits are the real ones, unless the file sets others.
    let case = case("loops", "failed = \"timeout\"");
    setup.file("cases.toml", format!("component = \"{}\"\nlimits.timeout_ms = 5\n{case}", faulty.display()));
    let report = super::json(&setup, &[]);
    let ticks = report["cases"][0]["steps"][0]["guest_ms"].as_u64().unwrap();
    assert!((5..20).contains(&ticks), "{report:#}");
}

/// The policy's HTTP requests, log lines and host calls are compared with the case.
#[test]
fn host_calls_of_a_policy_are_checked() {
    let setup = Setup::new();
    let file = |question: &str| {
        format!(
            r#"builtin = "oauth2-introspection"
[secrets]
SECRET = "not-for-anybody"
[exchange]
request = "POST https://idp.example.com/introspect"
auth = "basic witgate client_secret"
form = {{ token = "{{credential}}", token_type_hint = "access_token" }}
[config]
endpoint = "https://idp.example.com/introspect"
client_id = "witgate"
client_secret.env = "SECRET"
audience = "api"
[[case]]
name = "x"
credential.bearer = "some-opaque-token"
{question}
"#
        )
    };
    let good = r#"http = [{ json = { active = true, sub = "ada", aud = "api", exp = 2000000300 } }]
host_calls = { "http.send" = 1, "cache.put" = 1 }
expect.identity.subject = "ada""#;
    let cases = [
        (good.to_owned(), 0, ""),
        (good.replace("\"http.send\" = 1", "\"http.send\" = 2"), 1, "http.send 1 times"),
        (
            good.replace("http = [{", "http = [{ auth = \"none\","),
            1,
            "found      basic witgate client_secret",
        ),
        (good.replace("http = [{", "http = [{ form.token = \"x\","), 1, "http form"),
        (good.replace("[{", "[{ json = {} }, {"), 1, "nothing was sent"),
        (format!("{good}\nlog = [\"nobody says this\"]"), 1, "\"nobody says this\""),
        (
            "http = []\nexpect.unavailable.detail = \"\"".to_owned(),
            1,
            "found      POST https://idp.example.com/introspect",
        ),
    ];
    for (question, code, message) in cases {
        setup.file("cases.toml", file(&question));
        let output = test(&setup, &[]);
        assert_eq!(output.status.code(), Some(code), "{question}: {}{}", out(&output), err(&output));
        assert!(out(&output).contains(message), "{question}: {}", out(&output));
        assert!(!out(&output).contains("not-for-anybody"), "{}", out(&output));
    }
}
