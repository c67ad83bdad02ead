//! JavaScript: componentize-js puts an engine and the source into one component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{attempt, works};
use crate::tools::set_up;
use crate::{CompilerOutput, Error, Options, Project, Tools, wit};

/// The version that `package.json` in the project names.
const VERSION: &str = "0.23.0";

const PACKAGE: &str = "node_modules/@bytecodealliance/componentize-js";

/// Time limit for a build. It starts the engine, which takes a few seconds.
const BUILD: Duration = Duration::from_secs(600);

/// The npm packages, in exactly these versions. componentize-js uses the installed `preview2-shim`, and does not find
/// its files in version 0.26.
const FILES: [(&str, &str); 2] = [
    ("package.json", include_str!("javascript/package.json")),
    (".npmrc", include_str!("javascript/.npmrc")),
];

pub(crate) fn compile(project: &Project, options: Options, tools: &Tools) -> Result<CompilerOutput, Error> {
    let wit = wit::narrowed(project)?;
    let library = of_project(&project.dir).map_or_else(|| find(tools), Ok).map_err(Error::tools)?;
    let out = tempfile::tempdir().map_err(|error| Error::tools(error.into()))?;
    let (script, file) = (out.path().join("componentize.mjs"), out.path().join("component.wasm"));
    fs::write(&script, include_str!("javascript/componentize.mjs"))
        .map_err(|error| Error::io(&script, &error))?;
    let mut node = Command::new("node");
    node.arg(&script).arg(&library).arg(project.dir.join(&project.source)).arg(wit.path());
    node.arg(project.world.name()).arg(&file).args(left_out(options)).current_dir(&project.dir);
    let end = attempt(&mut node, BUILD).map_err(Error::tools)?;
    if !end.succeeded() {
        let output = end.output.trim();
        return Err(Error::Source(format!(
            "{} does not become a component ({}):\n{output}{}",
            project.source.display(),
            end.reason(),
            wit::hint(project, output)
        )));
    }
    let bytes = fs::read(&file).map_err(|error| Error::io(&file, &error))?;
    Ok(CompilerOutput { bytes, with: format!("componentize-js {VERSION}"), warnings: String::new() })
}

/// The disabled features of the engine, none of which Witgate grants. Debug builds keep standard error, for the
/// console and the traces of errors.
fn left_out(options: Options) -> &'static [&'static str] {
    match options.debug {
        true => &["random", "clocks", "http", "fetch-event"],
        false => &["random", "clocks", "http", "fetch-event", "stdio"],
    }
}

/// The tool that `npm install` has installed in the project or a directory above it.
fn of_project(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().map(|dir| dir.join(PACKAGE)).find(|library| is_right(library))
}

/// The tool in the cache, installed if it is missing.
pub(crate) fn find(tools: &Tools) -> Result<PathBuf> {
    if !works(Command::new("node").args(["-e", "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"]))
    {
        bail!("a plugin in JavaScript needs Node.js 20 or newer, which is not installed. {}", advice());
    }
    let _lock = tools.lock()?;
    let name = format!("componentize-js-{VERSION}");
    let cached_tool = tools.directory("")?.join(&name).join(PACKAGE);
    if is_right(&cached_tool) {
        return Ok(cached_tool);
    }
    let what = format!("npm install @bytecodealliance/componentize-js@{VERSION}");
    let dir = tools.install(&name, &what, |dir| {
        FILES.iter().try_for_each(|(file, text)| fs::write(dir.join(file), text))?;
        let mut npm = Command::new("npm");
        // No package needs an install script.
        npm.args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]);
        set_up(npm.current_dir(dir)).with_context(advice)
    })?;
    Ok(dir.join(PACKAGE))
}

fn is_right(library: &Path) -> bool {
    let manifest = fs::read_to_string(library.join("package.json")).unwrap_or_default();
    manifest.contains(&format!("\"version\": \"{VERSION}\""))
}

fn advice() -> String {
    format!(
        "It stands on @bytecodealliance/componentize-js {VERSION} from npm. Any of these helps:\n\
         - Debian, Ubuntu: `sudo apt-get install nodejs npm` where that is Node.js 20 or newer, else https://nodejs.org\n\
         - Fedora: `sudo dnf install nodejs`\n\
         - macOS: `brew install node`\n\
         - where npm cannot reach its registry from here: `npm install @bytecodealliance/componentize-js@{VERSION}` in the project"
    )
}
