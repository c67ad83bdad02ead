//! Rust: the project's crate, compiled to a `cdylib`, and encoded as a component.

use std::process::Command;
use std::time::Duration;

use crate::process::attempt;
use crate::toolchain::{CargoBuild, Toolchain};
use crate::{CompilerOutput, Error, Options, Project, Tools, component};

/// Time limit for a build. On a slow core, with the standard library built from source, it takes about two minutes.
const BUILD: Duration = Duration::from_secs(1200);

/// The build profile: small, and without unwinding, which components do not support. A project may change the profile
/// of this name.
const PROFILE: &str = "component";

/// The words with which cargo reports its own progress.
const PROGRESS: [&str; 9] = [
    "Compiling",
    "Downloading",
    "Downloaded",
    "Updating",
    "Locking",
    "Adding",
    "Finished",
    "Blocking",
    "Removing",
];

pub(crate) fn compile(project: &Project, options: Options, tools: &Tools) -> Result<CompilerOutput, Error> {
    let shared = tools.directory("rust").map_err(Error::tools)?;
    let toolchain = {
        let _lock = tools.lock().map_err(Error::tools)?;
        Toolchain::find(&project.dir, &shared.join("toolchain")).map_err(Error::tools)?
    };
    let out = tempfile::tempdir().map_err(|error| Error::tools(error.into()))?;
    let module = out.path().join("module.wasm");
    let mut cargo = toolchain.cargo(&CargoBuild {
        subcommand: "rustc",
        directory: &project.dir,
        seen_as: ".",
        target_dir: &shared.join("target"),
        profile: PROFILE,
    });
    cargo.args(["--lib", "--crate-type", "cdylib"]);
    keep_names(&mut cargo, options);
    // All projects share a directory of built dependencies, and two projects may have the same name, so the component
    // is written to another place.
    cargo.arg("--").arg(format!("--emit=link={}", module.display()));
    let end = attempt(&mut cargo, BUILD).map_err(Error::tools)?;
    let output = without_progress(&end.output);
    if !end.succeeded() {
        return Err(Error::Source(format!("the crate does not compile ({}):\n{output}", end.reason())));
    }
    let module = std::fs::read(&module).map_err(|error| Error::io(&module, &error))?;
    let bytes = component::encode(&module)
        .map_err(|error| Error::Source(format!("the module does not fit its world: {error:#}")))?;
    Ok(CompilerOutput { bytes, with: toolchain.to_string(), warnings: output })
}

/// Settings of the profile for this build, which override those of the project.
fn keep_names(cargo: &mut Command, options: Options) {
    if options.debug {
        for setting in ["strip=false", "debug='line-tables-only'"] {
            cargo.args(["--config", &format!("profile.{PROFILE}.{setting}")]);
        }
    }
}

fn without_progress(output: &str) -> String {
    let is_progress = |line: &&str| PROGRESS.iter().any(|word| line.trim_start().starts_with(word));
    let lines: Vec<&str> = output.lines().filter(|line| !is_progress(line)).collect();
    lines.join("\n").trim().to_owned()
}
