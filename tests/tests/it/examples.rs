//! Every example is loaded, and every command in the README files is run as it is written.
//!
//! A fenced block with the language `console` holds commands behind `$ `. Those of a block marked `console network`
//! need a server, a network or a compiler, and are left to the reader.
//!
//! The cases of examples that are plugins pass.

mod gateway;

use std::path::{Path, PathBuf};
use std::process::Command;

use witgate_tests::gateway::{Setup, component, program, workspace};

/// A value that is long enough for every secret of an example. Each has another end.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn every_example_is_valid_and_its_readme_runs() {
    let examples = examples("witgate.toml");
    assert!(examples.len() >= 5, "found only {examples:?}");
    for example in examples {
        let setup = with_secrets(Setup::new(), &example);
        copy(&example, setup.dir());
        add_components(&setup, &example);
        let commands = commands(&example.join("README.md"));
        assert!(commands.iter().any(|command| command == "witgate check"), "{example:?} does not check");
        for command in &commands {
            shell(&setup, &example, command);
        }
        let warnings = shell(&setup, &example, "witgate check --json");
        let report: serde_json::Value = serde_json::from_str(&warnings).unwrap();
        assert_eq!(report["diagnostics"], serde_json::json!([]), "{example:?}");
        examine(&setup, &example);
    }
}

/// Nothing fails but what a copy in an empty directory cannot have: programs, free ports, and logins.
fn examine(setup: &Setup, example: &Path) {
    let output = setup.run(&["doctor", "--offline", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for check in report["checks"].as_array().unwrap() {
        let failed = check["findings"].as_array().unwrap().iter().any(|finding| finding["level"] == "fail");
        let expected = ["upstreams", "listeners", "credentials"].iter().any(|name| check["check"] == *name);
        assert!(!failed || expected, "{example:?}: {check:#}");
    }
}

/// As its author would test it: the component beside the cases.
#[test]
fn every_plugin_passes_its_cases() {
    let plugins = examples("plugin.toml");
    assert!(plugins.len() >= 12, "found only {plugins:?}");
    for plugin in plugins {
        let name = plugin.file_name().unwrap().to_str().unwrap();
        let setup = Setup::new();
        copy(&plugin, setup.dir());
        std::fs::copy(component(&format!("examples/{name}")), setup.dir().join(format!("{name}.wasm")))
            .unwrap();
        let cases = std::fs::read_to_string(plugin.join("cases.toml")).unwrap_or_default();
        let says_no = ["expect.denied", "expect.refused"].iter().any(|no| cases.contains(no));
        assert!(
            says_no && cases.contains("config_error"),
            "{name}/cases.toml shows no denial, or no bad settings"
        );
        assert!(plugin.join("README.md").is_file(), "{name} does not say what it is for");
        let output = setup.run(&["plugin", "test", "."]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {}\n{text}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_readme_runs() {
    let setup = Setup::new();
    let readme = workspace().join("README.md");
    let commands = commands(&readme);
    for needed in ["witgate init", "witgate check"] {
        assert!(commands.iter().any(|command| command == needed), "the README does not show `{needed}`");
    }
    for command in &commands {
        shell(&setup, &readme, command);
    }
}

/// The configuration in the README is valid.
#[test]
fn the_configuration_of_the_readme_is_valid() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let blocks = fenced(&readme, "toml");
    let whole: Vec<_> = blocks.iter().filter(|block| block.contains("[upstreams.")).collect();
    assert!(!whole.is_empty(), "the README shows no configuration");
    for text in whole {
        let setup = Setup::new().env("JWT_SECRET", SECRET);
        setup.file("witgate.toml", text);
        setup.key(&["ada", "--allow", "*"]);
        shell(&setup, Path::new("README.md"), "witgate check");
    }
}

/// Every directory of `examples` with such a file.
fn examples(file: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(workspace().join("examples")).unwrap();
    let mut found: Vec<_> =
        all.map(|entry| entry.unwrap().path()).filter(|path| path.join(file).is_file()).collect();
    found.sort();
    found
}

/// Sets every variable that the example's configuration takes a secret from.
fn with_secrets(setup: Setup, example: &Path) -> Setup {
    let config = std::fs::read_to_string(example.join("witgate.toml")).unwrap();
    let named = config.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next());
    named.fold(setup, |setup, name| setup.env(name, &format!("{SECRET}{name}")))
}

/// Adds the components that the configuration names, which are those of other examples.
fn add_components(setup: &Setup, example: &Path) {
    let config = std::fs::read_to_string(example.join("witgate.toml")).unwrap();
    let named =
        config.split("component = \"plugins/").skip(1).filter_map(|rest| rest.split(".wasm\"").next());
    named.for_each(|name| _ = setup.component(&format!("examples/{name}")));
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// The commands of a page that can run anywhere.
fn commands(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = fenced(&text, "console");
    let lines = blocks.iter().flat_map(|block| block.lines());
    lines.filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// The fenced blocks of a page that are marked with exactly this.
fn fenced(text: &str, mark: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None::<(bool, String)>);
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => open = Some((found == mark, String::new())),
            (None, None) => {}
            (Some(_), Some(_)) => {
                blocks.extend(open.take().filter(|(wanted, _)| *wanted).map(|(_, text)| text))
            }
            (Some((_, text)), None) => *text += &format!("{line}\n"),
        }
    }
    blocks
}

/// Runs a command line as a reader would, in the directory of `setup`, and returns its output.
fn shell(setup: &Setup, page: &Path, line: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", line]);
    // The environment of a `witgate` command, and the programs that the pages name.
    let model = setup.command(&[]);
    command.env_clear().current_dir(setup.dir());
    command.envs(model.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let programs = stubs(setup);
    let witgate = program("witgate").parent().unwrap().display().to_string();
    let rest = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{witgate}:{programs}:{rest}"));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: `{line}` ended with {}:\n{text}", page.display(), output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// `npx`, which a configuration may name; it has to be there, and nobody calls it here.
fn stubs(setup: &Setup) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let npx = setup.file("programs/npx", "#!/bin/sh\nexit 1\n");
    std::fs::set_permissions(&npx, std::fs::Permissions::from_mode(0o755)).unwrap();
    npx.parent().unwrap().display().to_string()
}
