//! The option `--against`.

use witgate_tests::cases::directory;
use witgate_tests::gateway::{Setup, component};

use super::{GOOD, err, json, out, test};

#[test]
fn a_shipped_component_answers_like_the_built_in() {
    let setup = Setup::new();
    let table = directory().join("rbac.toml").display().to_string();
    let rbac = component("rbac").display().to_string();
    let output = test(&setup, &[&table, "--component", &rbac, "--against", "builtin"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
}

#[test]
fn every_difference_is_shown() {
    let setup = Setup::new();
    // A guest that allows every tool that does not name a failure.
    let faulty = component("tests/faulty").display().to_string();
    let second = "\n[[case]]\nname = \"users put\"\ncall = \"put_sum\"\nprincipal.roles = [\"user\"]\n\
                  expect.denied = \"not-allowed\"\n";
    setup.file("cases.toml", format!("{GOOD}{second}"));
    let output = test(&setup, &["--against", &faulty]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let text = out(&output);
    assert!(
        text.contains("this one   denied = \"not-allowed\"") && text.contains("the other  \"allow\""),
        "{text}"
    );
    assert!(text.contains("2 passed, 0 failed, 1 answered differently by the other"), "{text}");
    let report = json(&setup, &["--against", &faulty]);
    assert_eq!((&report["ok"], &report["differ"]), (&false.into(), &1.into()));
    assert_eq!(report["cases"][1]["differences"][0]["other"], "\"allow\"");

    setup.file("cases.toml", GOOD.replace("builtin = \"rbac\"", ""));
    let unknown = test(&setup, &["--component", &faulty, "--against", "builtin"]);
    assert_eq!(unknown.status.code(), Some(69));
    assert!(err(&unknown).contains("nothing says which built-in"), "{}", err(&unknown));
}
