//! Projects of plugins that commands are given: their components, and their files of cases.

use std::fs;
use std::path::{Path, PathBuf};

use witgate_build::{Error, MANIFEST, Project};

use crate::cli::outcome::CommandFailure;
use witgate_cases::{CasesError, Suite};

/// The failure of a command: the fault is in a project, in a file of it, or in the machine.
pub(super) fn failure(error: &Error) -> CommandFailure {
    match error {
        Error::Manifest(what) => CommandFailure::Data(what.clone(), Vec::new()),
        other => CommandFailure::new(other.to_string()),
    }
}

/// The project in a directory.
pub(super) fn open(dir: &Path) -> Result<Project, CommandFailure> {
    Project::open(dir).map_err(|error| failure(&error))
}

/// The project that a file of cases, or a directory, belongs to, and its directory in the form that the user wrote.
pub(super) fn above(place: &Path) -> Result<Option<(PathBuf, Project)>, CommandFailure> {
    let Some(dir) = dir_above(place) else { return Ok(None) };
    open(&dir).map(|project| Some((dir, project)))
}

/// The directory of that project, also if the project cannot be used.
pub(super) fn dir_above(place: &Path) -> Option<PathBuf> {
    let dir = if place.is_dir() { place } else { dir_of(place) };
    let above = dir.file_name().filter(|name| *name == "cases").and_then(|_| dir.parent());
    let found = [Some(dir), above].into_iter().flatten().find(|dir| dir.join(MANIFEST).is_file());
    found.map(Path::to_owned)
}

/// The directory that a file is in.
pub(super) fn dir_of(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The component of the project in `dir`.
///
/// # Errors
/// When it is not built.
pub(super) fn component(dir: &Path, project: &Project) -> Result<PathBuf, CommandFailure> {
    let component = built_to(dir, project);
    match component.is_file() {
        true => Ok(component),
        false => Err(CommandFailure::new(format!(
            "there is no {}; build it with `witgate plugin build {}`",
            component.display(),
            dir.display()
        ))),
    }
}

/// The path of the built component.
pub(super) fn built_to(dir: &Path, project: &Project) -> PathBuf {
    dir.join(format!("{}.wasm", project.name))
}

/// The component that `place` names: a file, or the directory of a project.
pub(super) fn component_of(place: &Path) -> Result<PathBuf, CommandFailure> {
    match place.is_dir() {
        true => component(place, &open(place)?),
        false => Ok(place.to_owned()),
    }
}

/// The files of cases at `place`: itself, or those of the project.
pub(super) fn case_files(place: &Path) -> Result<Vec<PathBuf>, CommandFailure> {
    if place.is_file() {
        return Ok(vec![place.to_owned()]);
    }
    if !place.is_dir() {
        let message = format!("there is no {}; name a plugin project or a file of cases", place.display());
        return Err(CommandFailure::new(message));
    }
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let entries = fs::read_dir(place.join("cases")).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_toml).collect();
    files.sort();
    files.splice(..0, Some(place.join("cases.toml")).filter(|file| file.is_file()));
    Ok(files)
}

/// Reads a file of cases; a faulty one is a failure.
pub(super) fn suite(file: &Path) -> Result<Suite, CommandFailure> {
    Suite::read(file).map_err(|error| match error {
        CasesError::Broken(faults) => CommandFailure::Data("the cases cannot be used".to_owned(), faults),
        CasesError::Unreadable(..) => CommandFailure::new(error.to_string()),
        CasesError::Count(..) | CasesError::TooLarge(..) => {
            CommandFailure::Data(error.to_string(), Vec::new())
        }
    })
}
