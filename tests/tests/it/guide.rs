//! The pages for authors of plugins, command by command.

use std::env;

use witgate_tests::console;
use witgate_tests::gateway::{program, workspace};

/// Follows a page of `docs` to the letter.
fn follow(page: &str) {
    let text = std::fs::read_to_string(workspace().join("docs").join(page)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let programs = program("witgate").parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", env::var("PATH").unwrap());
    let faults = console::run(&text, directory.path(), &[("PATH", &path), ("NO_COLOR", "1")]);
    assert!(faults.is_empty(), "docs/{page}:\n\n{}", faults.join("\n\n"));
}
