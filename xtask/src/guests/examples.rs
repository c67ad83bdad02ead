//! The examples that are plugins: each is a directory `examples/NAME` with a `plugin.toml`. A Rust example is the
//! package `witgate-example-NAME`. Examples in other languages are built as their authors would build them, and so are
//! fixtures in other languages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wasm_compose::composer::ComponentComposer;
use wasm_compose::config::Config;
use witgate_build::{Lang, Options, Project, Tools};

use super::component::{Built, digest, place, replace};
use super::package::Guest;

/// The example that is composed of two components: its own, and the one behind it.
const COMPOSED: (&str, &str) = ("composed", "rbac");

/// The Rust examples, sorted by name.
pub(super) fn in_rust(root: &Path) -> Result<Vec<Guest>> {
    let projects = projects(&root.join("examples"))?.into_iter().filter(|project| project.lang == Lang::Rust);
    Ok(projects.map(|project| guest(&project)).collect())
}

fn guest(project: &Project) -> Guest {
    let name = &project.name;
    let mut guest = Guest::new(format!("witgate-example-{name}"), format!("examples/{name}"));
    // An example with many dependencies is a separate workspace, so that only those who need it compile it.
    let is_workspace = project.dir.join("Cargo.lock").is_file();
    guest.manifest = is_workspace.then(|| project.dir.join("Cargo.toml"));
    guest.behind = (name == COMPOSED.0).then(|| COMPOSED.1.to_owned());
    guest
}

/// The projects in a directory, sorted by name.
fn projects(directory: &Path) -> Result<Vec<Project>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        if path.join("plugin.toml").is_file() {
            found.push(Project::open(&path)?);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Builds the examples and fixtures in other languages. A project with unchanged sources is not built again, because it
/// takes long to pack an interpreter.
pub(super) fn build_others(root: &Path) -> Result<()> {
    build_below(root, "examples", "examples", Options::default())?;
    // The fixtures are used to test the reports of traps.
    build_below(root, "tests/guests", "tests", Options { debug: true })
}

fn build_below(root: &Path, directory: &str, outputs: &str, options: Options) -> Result<()> {
    let tools = Tools::below(root.join("target/tools/plugins"));
    for project in projects(&root.join(directory))?.into_iter().filter(|project| project.lang != Lang::Rust) {
        let output = root.join(format!("target/plugins/{outputs}/{}.wasm", project.name));
        let stamp = root.join(format!("target/guests/{outputs}/{}.sources", project.name));
        let sources = sources(root, &project)?;
        let is_current = output.is_file() && fs::read_to_string(&stamp).is_ok_and(|old| old == sources);
        let bytes = match is_current {
            true => fs::read(&output)?,
            false => {
                let built = witgate_build::build(&project, options, &tools);
                built.with_context(|| format!("building {directory}/{}", project.name))?.bytes
            }
        };
        place(&output, &bytes)?.tell(&format!("{outputs}/{}", project.name));
        replace(&stamp, sources.as_bytes())?;
    }
    Ok(())
}

/// A digest of all inputs of a component: the project, the WIT interface, and the code that builds it.
fn sources(root: &Path, project: &Project) -> Result<String> {
    let mut files = Vec::new();
    for below in [&project.dir, &root.join("wit"), &root.join("plugins/build")] {
        collect(below, &mut files)?;
    }
    files.sort();
    let mut lines = String::new();
    for file in files {
        lines += &format!("{} {}\n", file.display(), digest(&fs::read(&file)?));
    }
    Ok(digest(lines.as_bytes()))
}

/// Adds the files below a directory, except for build results. Links are left out, because their targets are included
/// anyway.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_built =
            path.extension().is_some_and(|ending| ending == "wasm") || entry.file_name() == "bindings";
        match (is_built, kind.is_dir(), kind.is_file()) {
            (false, true, _) => collect(&path, files)?,
            (false, _, true) => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// Connects the exports of the component `inner` to the imports of `outer` with the same names. The result is one
/// component.
pub(super) fn compose(root: &Path, outer: &Path, inner: &str, output: &Path) -> Result<Built> {
    let inner = root.join(format!("target/plugins/{inner}.wasm"));
    if !inner.is_file() {
        bail!("{} is not built, and {} stands before it", inner.display(), outer.display());
    }
    let config = Config {
        // The directory in which further components would be searched for. It contains none that is needed.
        dir: root.join("target/guests/composed"),
        definitions: vec![inner],
        ..Config::default()
    };
    let composed = ComponentComposer::new(outer, &config).compose();
    place(output, &composed.with_context(|| format!("composing {}", output.display()))?)
}
