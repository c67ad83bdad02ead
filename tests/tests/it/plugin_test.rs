//! `witgate plugin test`, as authors use it: its output and exit code for passing cases, failing cases, broken files
//! and components that fail.

mod comparison;
mod failures;
mod format_faults;
mod reports;
mod update;
mod watch;

use std::process::Output;

use serde_json::Value;
use witgate_tests::gateway::Setup;

/// A case for rbac that passes.
const GOOD: &str = r#"builtin = "rbac"

[config.roles.user]
allow = ["get_*"]

[[case]]
name = "users get"
call = "get_sum"
principal.roles = ["user"]
expect = "allow"
"#;

/// A case that does not pass.
const BAD: &str = r#"
[[case]]
name = "users put" # wrong
call = "put_sum"
principal.roles = ["user"]
expect = "allow" # they may not
"#;

/// Runs `witgate plugin test` with these arguments.
fn test(setup: &Setup, arguments: &[&str]) -> Output {
    setup.run(&[&["plugin", "test"], arguments].concat())
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The output with `--json`.
fn json(setup: &Setup, arguments: &[&str]) -> Value {
    let output = test(setup, &[&["--json"], arguments].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", out(&output), err(&output)))
}
