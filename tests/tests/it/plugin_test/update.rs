//! The option `--update`.

use witgate_tests::gateway::{Setup, program};

use super::{BAD, GOOD, err, out, test};

#[test]
fn only_expectations_are_rewritten() {
    let setup = Setup::new();
    let steps = r#"
[[case]]
name = "steps"
principal.roles = ["user"]
expect = "allow"
steps = [
    { call = "get_a" }, # as it is
    { call = "put_a" },
    { call = "put_b", expect = "abstain" },
]

[[case]]
name = "a table"
call = "put_c"
principal.roles = []
[case.expect]
denied = "else"
"#;
    let before = format!("{GOOD}{BAD}{steps}");
    let file = setup.file("cases.toml", &before);
    let unasked = test(&setup, &["--update"]);
    assert_eq!(unasked.status.code(), Some(69), "{}", out(&unasked));
    assert!(err(&unasked).contains("--yes"), "{}", err(&unasked));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);

    let updated = test(&setup, &["--update", "--yes"]);
    assert_eq!(updated.status.code(), Some(0), "{}{}", out(&updated), err(&updated));
    let after = std::fs::read_to_string(&file).unwrap();
    let denied = "expect.denied = \"not-allowed\"";
    let wanted = before
        .replace("expect = \"allow\" # they may not", &format!("{denied} # they may not"))
        .replace("{ call = \"put_a\" }", &format!("{{ call = \"put_a\", {denied} }}"))
        .replace("expect = \"abstain\"", denied)
        .replace("[case.expect]\ndenied = \"else\"\n", &format!("{denied}\n"));
    assert_eq!(after, wanted);
    let names: Vec<_> =
        std::fs::read_dir(setup.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["cases.toml"], "nothing is left beside it");
}

/// On a terminal the command asks, and changes nothing without a yes.
#[test]
fn an_update_can_be_declined() {
    let setup = Setup::new();
    let before = format!("{GOOD}{BAD}");
    let file = setup.file("cases.toml", &before);
    let script = "import os, pty, sys\n\
                  pid, fd = pty.fork()\n\
                  if pid == 0: os.execv(sys.argv[2], sys.argv[2:])\n\
                  os.write(fd, sys.argv[1].encode() + b'\\n')\n\
                  try:\n    while os.write(1, os.read(fd, 4096)): pass\n\
                  except OSError: pass\n\
                  sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    let witgate = program("witgate").display().to_string();
    let answered = |answer: &str| {
        let arguments = ["-c", script, answer, &witgate, "plugin", "test", "--update"];
        std::process::Command::new("python3").args(arguments).current_dir(setup.dir()).output().unwrap()
    };
    let no = answered("n");
    assert_eq!(no.status.code(), Some(1), "{}{}", out(&no), err(&no));
    assert!(out(&no).contains("Rewrite 1 expectation"), "{}", out(&no));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let yes = answered("y");
    assert_eq!(yes.status.code(), Some(0), "{}{}", out(&yes), err(&yes));
    assert!(std::fs::read_to_string(&file).unwrap().contains("not-allowed"));
}
