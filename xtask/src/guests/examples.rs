//! The examples that are plugins in Rust: the directory `examples/NAME` holds the package `witgate-example-NAME`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasm_compose::composer::ComponentComposer;
use wasm_compose::config::Config;

use super::{Built, Guest, place};

/// The one that is composed of two components: its own, and what that stands before.
const COMPOSED: (&str, &str) = ("composed", "rbac");

/// All of them, by name.
pub(super) fn all(root: &Path) -> Result<Vec<Guest>> {
    let directory = root.join("examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_rust(&entry.path())? {
            continue;
        }
        let mut guest = Guest::new(format!("witgate-example-{name}"), format!("examples/{name}"));
        if entry.path().join("Cargo.lock").is_file() {
            // Heavy ones are workspaces of their own, so that nobody compiles them who does not need them.
            guest.manifest = Some(entry.path().join("Cargo.toml"));
        }
        if name == COMPOSED.0 {
            guest.behind = Some(COMPOSED.1.to_owned());
        }
        found.push(guest);
    }
    found.sort_by(|a, b| a.output.cmp(&b.output));
    Ok(found)
}

fn is_rust(example: &Path) -> Result<bool> {
    let project = example.join("plugin.toml");
    if !project.is_file() {
        return Ok(false);
    }
    let text = fs::read_to_string(&project).with_context(|| format!("reading {}", project.display()))?;
    Ok(text.lines().any(|line| line.trim() == "lang = \"rust\""))
}

/// Puts the exports of the component `inner` behind the imports of `outer`, which are of the same names. What comes out is one component.
pub(super) fn compose(root: &Path, outer: &Path, inner: &str, output: &Path) -> Result<Built> {
    let inner = root.join(format!("target/plugins/{inner}.wasm"));
    if !inner.is_file() {
        bail!("{} is not built, and {} stands before it", inner.display(), outer.display());
    }
    let config = Config {
        // Where other components would be looked for: nowhere.
        dir: root.join("target/guests/composed"),
        definitions: vec![inner],
        ..Config::default()
    };
    let composed = ComponentComposer::new(outer, &config).compose();
    place(output, &composed.with_context(|| format!("composing {}", output.display()))?)
}
