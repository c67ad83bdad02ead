//! Files with a wrong format.

use witgate_tests::gateway::{Setup, unframed};

use super::{BAD, GOOD, err, out, test};

#[test]
fn a_broken_file_is_reported_with_its_place() {
    let after = |text: &str| format!("{GOOD}\n[[case]]\nname = \"b\"\n{text}\n");
    let may = "principal.roles = []";
    let broken = [
        ("[[case]\n".to_owned(), "cases.toml:1:", "this is not TOML"),
        (GOOD.replace("builtin", "bultin"), "cases.toml:1:1", "did you mean `builtin`?"),
        (after(&format!("{may}\nexpects = \"allow\"")), "cases.toml:15:1", "did you mean `expect`?"),
        (after(&format!("{may}\nexpect = \"alow\"")), "cases.toml:15:10", "did you mean `allow`?"),
        (after(&format!("{may}\nexpect.denyed = \"x\"")), "cases.toml:15:8", "did you mean `denied`?"),
        (after(&format!("{may}\nexpect = {{ denied = \"x\", refused = \"y\" }}")), "cases.toml:", "expected"),
        (after(may), "cases.toml:12:", "nothing is expected"),
        (after("expect = \"allow\""), "cases.toml:12:", "write either `credential`"),
        (
            after(&format!("{may}\ncredential.bearer = \"x\"\nexpect = \"allow\"")),
            "cases.toml:12:",
            "two things",
        ),
        (
            after("credential = { bearer = \"x\", basic = \"y\" }\nexpect = \"not_mine\""),
            "cases.toml:14:",
            "not one credential",
        ),
        (
            after("credential.token = { signer = \"me\" }\nexpect = \"not_mine\""),
            "cases.toml:14:",
            "no `[signers.me]`",
        ),
        (
            after(&format!("{may}\nconfig = \"tem\"\nexpect = \"allow\"")),
            "cases.toml:15:10",
            "no `[configs.tem]`",
        ),
        (
            after(&format!("{may}\npeer = \"localhost\"\nexpect = \"allow\"")),
            "cases.toml:15:8",
            "not an IP address",
        ),
        (
            after(&format!("{may}\nlimits.timeout_ms = 0\nexpect = \"allow\"")),
            "cases.toml:15:",
            "from 1 to 60000",
        ),
        (
            after(&format!("{may}\nhttp = [{{ request = \"PUT https://a\" }}]\nexpect = \"allow\"")),
            "cases.toml:15:",
            "not a request",
        ),
        (
            after(&format!("{may}\nhost_calls = {{ \"http.sent\" = 0 }}\nexpect = \"allow\"")),
            "cases.toml:15:",
            "did you mean `http.send`?",
        ),
        (format!("{GOOD}{BAD}{BAD}"), "cases.toml:19:", "on line 12 has the same name"),
        (format!("{GOOD}[keys.a]\nsecret = \"x\"\npem = \"y\"\n"), "cases.toml:11:", "not one key"),
    ];
    for (content, place, why) in broken {
        let setup = Setup::new();
        setup.file("cases.toml", &content);
        let output = test(&setup, &["cases.toml"]);
        let message = unframed(&err(&output));
        assert_eq!(output.status.code(), Some(65), "{content}: {message}{}", out(&output));
        assert!(
            message.contains(place) && message.contains(why),
            "{place} {why}: {content}: {}",
            err(&output)
        );
    }
}

/// All faults at once, and for programs as well.
#[test]
fn every_fault_of_a_case_is_reported() {
    let setup = Setup::new();
    setup.file("cases.toml", GOOD.replace("call =", "cal =").replace("expect =", "expct ="));
    let output = test(&setup, &["--json"]);
    assert_eq!(output.status.code(), Some(65));
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let lines: Vec<_> =
        report["diagnostics"].as_array().unwrap().iter().map(|it| it["line"].as_u64()).collect();
    assert_eq!(lines, [Some(8), Some(10)], "{report:#}");
}

#[test]
fn cases_without_a_policy_are_reported() {
    let setup = Setup::new();
    setup.file("cases.toml", GOOD.replace("builtin = \"rbac\"\n", ""));
    for (arguments, why) in [
        (vec![], "nothing names a component"),
        (vec!["--component", "none.wasm"], "there is no file none.wasm"),
    ] {
        let output = test(&setup, &arguments);
        assert_eq!(output.status.code(), Some(69), "{}", out(&output));
        assert!(err(&output).contains(why), "{}", err(&output));
    }
}
