//! The encrypted store, by `witgate secret`, and by the gateway that reads it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use witgate_tests::gateway::Setup;
use witgate_tests::recorder::Recorder;

use super::{await_credential, over_http, serve};

/// Runs `witgate secret` with this standard input.
fn secret(setup: &Setup, arguments: &[&str], input: &str) -> Output {
    let mut command = setup.command(&[&["secret"], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The standard output of a command that succeeds.
#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The standard error of a command that could not run.
#[track_caller]
fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_store_is_in_force_without_a_restart() {
    let (recorder, setup) = (Recorder::start(), Setup::new());
    done(&secret(&setup, &["set", "flavour", "-"], "first-credential\n"));
    let upstream = over_http(&recorder, "{ stored = 'flavour' }");
    let (running, caller) = serve(setup, &upstream);
    await_credential(&recorder, &caller, "first-credential").await;
    done(&secret(running.setup(), &["set", "flavour", "-"], "second-credential"));
    await_credential(&recorder, &caller, "second-credential").await;
    assert!(!running.log().contains("-credential"), "{}", running.log());
    let used = failed(&secret(running.setup(), &["rm", "flavour"], ""));
    assert!(used.contains("is used by upstreams.record.headers.X-Flavour"), "{used}");
}

#[test]
fn the_commands_show_no_value_without_reveal() {
    let setup = Setup::new();
    assert!(failed(&secret(&setup, &["list"], "")).contains("secret-missing"));
    done(&secret(&setup, &["set", "a", "-"], "sesame\n"));
    assert!(failed(&secret(&setup, &["set", "b"], "")).contains("there is no terminal"));
    assert!(failed(&secret(&setup, &["set", "b c", "-"], "x")).contains("cannot be the name of a secret"));
    assert!(failed(&secret(&setup, &["set", "b", "-"], "\n")).contains("is empty"));
    let hidden = failed(&secret(&setup, &["get", "a"], ""));
    assert!(hidden.contains("6 bytes") && !hidden.contains("sesame"), "{hidden}");
    assert_eq!(done(&secret(&setup, &["get", "a", "--reveal"], "")), "sesame\n");
    let listed: Value = serde_json::from_str(&done(&secret(&setup, &["list", "--json"], ""))).unwrap();
    assert_eq!(listed, json!([{ "name": "a", "bytes": 6, "used_by": [] }]));
    assert!(!done(&secret(&setup, &["list"], "")).contains("sesame"));
    let own = done(&secret(&setup, &["recipients", "list"], ""));
    let own = own.split_whitespace().next().unwrap();
    assert!(failed(&secret(&setup, &["recipients", "rm", own], "")).contains("could not decrypt"));
    assert!(failed(&secret(&setup, &["recipients", "add", "age1x"], "")).contains("is not a recipient"));
    done(&secret(&setup, &["rm", "a"], ""));
    assert!(failed(&secret(&setup, &["rm", "a"], "")).contains("has no secret"));
}

/// A shell that permits no file of any size, as on a full disk.
#[test]
fn nothing_is_half_written_on_a_full_disk() {
    let setup = Setup::new();
    let full = ["-c", "trap '' XFSZ; ulimit -S -f 0; exec \"$@\"", "sh"].map(str::to_owned);
    let set = |value: &str, is_full: bool| {
        let mut command = setup.command(&["secret", "set", "a", "-"]);
        if is_full {
            command = setup.started_by("sh", &full, &command);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let names = || {
        let state = setup.dir().join("witgate.state");
        let entries =
            [setup.dir(), &state].into_iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten());
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("secrets") && !name.ends_with(".lock")).collect::<BTreeSet<_>>()
    };
    assert!(failed(&set("first", true)).contains("File too large"));
    assert_eq!(names(), BTreeSet::new());
    done(&set("first", false));
    let whole = ["secrets.age", "secrets.counter", "secrets.key"].map(str::to_owned).into();
    assert_eq!(names(), whole);
    assert!(failed(&set("second", true)).contains("the file is unchanged"));
    assert_eq!(names(), whole);
    assert_eq!(done(&secret(&setup, &["get", "a", "--reveal"], "")), "first\n");
}

#[test]
fn secrets_of_other_programs_are_imported() {
    let setup = Setup::new();
    setup.file(".env", "A=sesame\nexport B='open sesame'\nC=\n");
    setup.file("secrets.json", r#"{ "D": "of json" }"#);
    setup.file("encryption.key", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n");
    let token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
    setup.file("secure_config.json", json!({ "encrypted_E": token, "debug": true }).to_string());
    for arguments in [
        &["import", ".env"] as &[_],
        &["import", "secrets.json"],
        &["import", "--fernet", "encryption.key", "secure_config.json"],
    ] {
        let output = secret(&setup, arguments, "");
        done(&output);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("sesame") && !said.contains("of json") && !said.contains("hello"), "{said}");
        assert_eq!(said.contains("Not encrypted there, and left: debug."), arguments.len() > 2, "{said}");
        assert!(String::from_utf8(secret(&setup, arguments, "").stderr).unwrap().contains("Nothing new"));
    }
    for (name, value) in [("A", "sesame"), ("B", "open sesame"), ("D", "of json"), ("E", "hello")] {
        assert_eq!(done(&secret(&setup, &["get", name, "--reveal"], "")), format!("{value}\n"));
    }
    setup.file("secrets.json", r#"{ "D": "another", "F": "new" }"#);
    assert!(failed(&secret(&setup, &["import", "secrets.json"], "")).contains("other values of D"));
    assert!(failed(&secret(&setup, &["get", "F"], "")).contains("secret-missing"), "nothing half-imported");
    done(&secret(&setup, &["import", "secrets.json", "--update"], ""));
    setup.file("encryption.key", "dw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n");
    let wrong = failed(&secret(&setup, &["import", "--fernet", "encryption.key", "secure_config.json"], ""));
    assert!(wrong.contains("`encrypted_E`: it was encrypted with another key"), "{wrong}");
    setup.file("secrets.json", "{ 'sesame");
    let unreadable = failed(&secret(&setup, &["import", "secrets.json"], ""));
    assert!(unreadable.contains("at line 1 and column 3") && !unreadable.contains("sesame"), "{unreadable}");
}
