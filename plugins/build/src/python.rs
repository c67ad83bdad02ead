//! Python: componentize-py puts an interpreter and the source into one component.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{ask, attempt, works};
use crate::tools::set_up;
use crate::{CompilerOutput, Error, Project, Tools, wit};

/// The version of componentize-py. Sources depend on it, because each version generates other bindings.
const VERSION: &str = "0.25.0";

/// Time limit for a build. It starts the interpreter, which takes twelve seconds on one core.
const BUILD: Duration = Duration::from_secs(600);

pub(crate) fn compile(project: &Project, tools: &Tools) -> Result<CompilerOutput, Error> {
    let wit = wit::narrowed(project)?;
    let program = find(tools).map_err(Error::tools)?;
    let out = tempfile::tempdir().map_err(|error| Error::tools(error.into()))?;
    let file = out.path().join("component.wasm");
    let mut command = Command::new(&program);
    command.arg("--quiet").arg("--wit-path").arg(wit.path()).args([
        "--world",
        project.world.name(),
        "componentize",
    ]);
    command.arg(module(project)?).arg("--python-path").arg(&project.dir).arg("--output").arg(&file);
    // The search for packages would leave bytecode in the project.
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(&project.dir);
    let end = attempt(&mut command, BUILD).map_err(Error::tools)?;
    if !end.succeeded() {
        let output = end.output.trim();
        return Err(Error::Source(format!(
            "{} does not become a component ({}):\n{output}{}",
            project.source.display(),
            end.reason(),
            wit::hint(project, output)
        )));
    }
    let bytes = std::fs::read(&file).map_err(|error| Error::io(&file, &error))?;
    Ok(CompilerOutput { bytes, with: format!("componentize-py {VERSION}"), warnings: String::new() })
}

/// The name of the source in Python's `import`.
fn module(project: &Project) -> Result<String, Error> {
    let bare = project.source.with_extension("");
    let parts: Option<Vec<&str>> = bare.iter().map(|part| part.to_str()).collect();
    let is_name = |part: &&str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match parts.filter(|parts| parts.iter().all(is_name)) {
        Some(parts) => Ok(parts.join(".")),
        None => Err(Error::Project(format!(
            "plugin.toml: Python cannot import {}; use only letters, digits and `_` in the name of the file",
            project.source.display()
        ))),
    }
}

/// An installed tool of the right version, or else the one in the cache, which is installed if it is missing.
pub(crate) fn find(tools: &Tools) -> Result<PathBuf> {
    let named = PathBuf::from("componentize-py");
    if is_right(&named) {
        return Ok(named);
    }
    let _lock = tools.lock()?;
    let name = format!("componentize-py-{VERSION}");
    let below = |dir: &Path| dir.join("bin/componentize-py");
    let cached_tool = below(&tools.directory("")?.join(&name));
    if is_right(&cached_tool) {
        return Ok(cached_tool);
    }
    let python = python()?;
    let dir = tools.install(&name, &format!("pip install componentize-py=={VERSION}"), |dir| {
        set_up(Command::new(&python).args(["-m", "venv"]).arg(dir))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let package = format!("componentize-py=={VERSION}");
        set_up(Command::new(dir.join("bin/python")).args(pip).arg(package)).with_context(advice)
    })?;
    let program = below(&dir);
    match is_right(&program) {
        true => Ok(program),
        false => bail!("{} does not run; {}", program.display(), advice()),
    }
}

fn is_right(program: &Path) -> bool {
    let output = ask(Command::new(program).arg("--version"));
    output.is_some_and(|output| output.split_whitespace().any(|word| word == VERSION))
}

/// A Python that can create a virtual environment. Debian's needs an extra package for that.
fn python() -> Result<PathBuf> {
    let can = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    let names = ["python3", "python"];
    let found = names.iter().find(|name| works(Command::new(name).args(["-c", can])));
    found.map(PathBuf::from).with_context(advice)
}

fn advice() -> String {
    format!(
        "a plugin in Python needs componentize-py {VERSION}, which is not installed, and installing it needs Python 3.10 \
         or newer with `venv`. Any of these helps:\n\
         - pip, anywhere: `pip install componentize-py=={VERSION}`, so that `componentize-py` is on PATH\n\
         - Debian, Ubuntu: `sudo apt-get install python3-venv`\n\
         - Fedora: `sudo dnf install python3`\n\
         - macOS: `brew install python`"
    )
}
