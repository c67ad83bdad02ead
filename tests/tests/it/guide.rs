//! The pages for authors of plugins, command by command.

use std::env;

use witgate_tests::console;
use witgate_tests::gateway::{program, workspace};

/// Runs every command of a page of `docs`.
fn follow(page: &str) {
    let text = std::fs::read_to_string(workspace().join("docs").join(page)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let programs = program("witgate").parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", env::var("PATH").unwrap());
    let tools = workspace().join("target/tools/plugins").display().to_string();
    let environment = [("PATH", path.as_str()), ("WITGATE_TOOLS", &tools), ("NO_COLOR", "1")];
    let faults = console::run(&text, directory.path(), &environment);
    assert!(faults.is_empty(), "docs/{page}:\n\n{}", faults.join("\n\n"));
}

#[test]
fn the_plugin_guide_leads_to_a_running_plugin() {
    follow("plugin-guide.md");
}

#[test]
fn the_page_for_rust_works() {
    follow("plugins/rust.md");
}

#[test]
fn the_page_for_python_works() {
    follow("plugins/python.md");
}

#[test]
fn the_page_for_javascript_works() {
    follow("plugins/javascript.md");
}

#[test]
fn the_page_for_c_works() {
    follow("plugins/c.md");
}
