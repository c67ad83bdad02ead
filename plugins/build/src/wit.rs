//! The WIT package for the compilation of a source.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::project::GRANTED;
use crate::{Error, Project, package_version};

/// Interfaces that need no grant.
const ALWAYS: [&str; 5] = ["types", "request", "caller", "clock", "log"];

/// The project's package, with a world that has only those imports that `imports` in `plugin.toml` names. A component
/// with an interpreter imports its whole world, used or not, and the host refuses imports that are not granted.
pub(crate) fn narrowed(project: &Project) -> Result<TempDir, Error> {
    let wit = project.wit()?;
    let dir = tempfile::tempdir().map_err(|error| Error::io(&std::env::temp_dir(), &error))?;
    let package = dir.path().join("deps/auth");
    copy(&wit, &package).map_err(|error| Error::io(&wit, &error))?;
    let file = dir.path().join("plugin.wit");
    fs::write(&file, world(project)).map_err(|error| Error::io(&file, &error))?;
    Ok(dir)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension() == Some("wit".as_ref())) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

fn world(project: &Project) -> String {
    let version = package_version();
    let named = |name: &&str| project.imports.iter().any(|import| import == *name);
    let imports = ALWAYS.into_iter().chain(GRANTED.into_iter().filter(named));
    let imports = imports.map(|name| format!("    import witgate:auth/{name}@{version};\n"));
    let exports = project.world.exports().iter();
    let exports = exports.map(|name| format!("    export witgate:auth/{name}@{version};\n"));
    let items: String = imports.chain(exports).collect();
    format!("package witgate:plugin;\n\nworld {} {{\n{items}}}\n", project.world.name())
}

/// The advice for a compiler error about an interface that `plugin.toml` does not name.
pub(crate) fn hint(project: &Project, output: &str) -> String {
    let missing =
        |name: &&&str| output.contains(**name) && !project.imports.iter().any(|import| import == **name);
    match GRANTED.iter().find(missing) {
        Some(name) => format!(
            "\nIf the source uses `{name}` of witgate:auth, plugin.toml has to import it: `imports = [\"{name}\"]`"
        ),
        None => String::new(),
    }
}
