//! `--update`.

use witgate_tests::gateway::Setup;

use super::{BAD, GOOD, err, out, test};

#[test]
fn expectations_are_rewritten_and_nothing_else() {
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
