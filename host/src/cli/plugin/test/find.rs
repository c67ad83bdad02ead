//! Which cases there are, and whom they are put to.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Arguments;
use crate::cli::Failure;
use crate::config::PolicyKind;
use crate::policy::cases::{Case, CasesError, Subject, Suite};

/// What `--against` calls the built-in.
pub(super) const BUILTIN: &str = "builtin";

/// What was found at the places that were named.
pub(super) enum Found {
    /// Cases.
    Suites(Suites),
    /// None, and why.
    Nothing(String),
}

/// Files of cases, at least one of which has one.
pub(super) struct Suites {
    pub(super) suites: Vec<Cast>,
}

/// A file of cases, and whom they are put to.
pub(super) struct Cast {
    pub(super) suite: Suite,
    pub(super) subject: Subject,
    /// Whom else.
    pub(super) against: Option<Subject>,
}

/// `plugin.toml`. What else stands in it is for others.
#[derive(Deserialize)]
struct Project {
    name: String,
}

impl Suites {
    /// Finds them.
    pub(super) fn find(arguments: &Arguments) -> Result<Found, Failure> {
        let mut suites = Vec::new();
        let mut empty = Vec::new();
        let mut broken = Vec::new();
        for place in arguments.places() {
            let files = case_files(&place)?;
            if files.is_empty() {
                empty.push(format!(
                    "there are no cases in {}: write {}",
                    place.display(),
                    place.join("cases.toml").display()
                ));
            }
            for file in files {
                match Suite::read(&file) {
                    Ok(suite) => suites.push(suite),
                    Err(CasesError::Count(file, 0)) => {
                        empty.push(format!(
                            "there are no cases in {}: write one, with `[[case]]`",
                            file.display()
                        ));
                    }
                    Err(CasesError::Broken(faults)) => broken.extend(faults),
                    Err(error @ (CasesError::Count(..) | CasesError::TooLarge(..))) => {
                        return Err(Failure::Data(error.to_string(), Vec::new()));
                    }
                    Err(error @ CasesError::Unreadable(..)) => return Err(Failure::new(error.to_string())),
                }
            }
        }
        if !broken.is_empty() {
            return Err(Failure::Data("the cases cannot be used".to_owned(), broken));
        }
        if !empty.is_empty() {
            return Ok(Found::Nothing(empty.join("\n")));
        }
        Self::filtered(suites, arguments)
    }

    fn filtered(suites: Vec<Suite>, arguments: &Arguments) -> Result<Found, Failure> {
        let kept = |case: &Case| arguments.filter.as_ref().is_none_or(|text| case.name.contains(text));
        let mut cast = Vec::new();
        for mut suite in suites {
            suite.cases.retain(kept);
            if !suite.cases.is_empty() {
                cast.push(Cast {
                    subject: subject(&suite, arguments)?,
                    against: against(&suite, arguments)?,
                    suite,
                });
            }
        }
        Ok(match (cast.is_empty(), &arguments.filter) {
            (true, Some(text)) => Found::Nothing(format!("no case has `{text}` in its name")),
            _ => Found::Suites(Self { suites: cast }),
        })
    }
}

/// Files that a run at `place` looks at, whether they are there or not.
pub(super) fn files(place: &Path) -> Vec<PathBuf> {
    let mut files = case_files(place).unwrap_or_default();
    files.push(place.join("cases.toml"));
    let named: Vec<_> = files.iter().filter_map(|file| Suite::read(file).ok()?.component).collect();
    files.extend(named);
    files.extend(
        project_above(place).into_iter().flat_map(|(dir, project)| {
            [dir.join("plugin.toml"), dir.join(project.name).with_extension("wasm")]
        }),
    );
    files
}

/// The files of cases at a place: itself, or those of the project.
fn case_files(place: &Path) -> Result<Vec<PathBuf>, Failure> {
    if place.is_file() {
        return Ok(vec![place.to_owned()]);
    }
    if !place.is_dir() {
        let message = format!("there is no {}; name a plugin project or a file of cases", place.display());
        return Err(Failure::new(message));
    }
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let entries = fs::read_dir(place.join("cases")).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_toml).collect();
    files.sort();
    files.splice(..0, Some(place.join("cases.toml")).filter(|file| file.is_file()));
    Ok(files)
}

/// Who the cases of a file are put to: whom the command line names, whom the file names, or the project's component.
fn subject(suite: &Suite, arguments: &Arguments) -> Result<Subject, Failure> {
    let kind = suite.kind.unwrap_or(PolicyKind::Custom);
    if let Some(path) = arguments.component.as_ref().or(suite.component.as_ref()) {
        return Ok(Subject::component(kind, path));
    }
    if let Some(kind) = suite.kind {
        return Ok(Subject::builtin(kind));
    }
    match project_above(&suite.path) {
        Some((dir, project)) => {
            let component = dir.join(&project.name).with_extension("wasm");
            match component.is_file() {
                true => Ok(Subject::component(kind, &component)),
                false => Err(Failure::new(format!(
                    "there is no {}; build it with `witgate plugin build {}`",
                    component.display(),
                    dir.display()
                ))),
            }
        }
        None => Err(Failure::new(format!(
            "nothing says whom the cases in {} are put to; name a component with `--component FILE`, or write \
             `component = \"PATH.wasm\"` or `builtin = \"KIND\"` into the file",
            suite.path.display()
        ))),
    }
}

fn against(suite: &Suite, arguments: &Arguments) -> Result<Option<Subject>, Failure> {
    match (arguments.against.as_deref(), suite.kind) {
        (None, _) => Ok(None),
        (Some(BUILTIN), Some(kind)) => Ok(Some(Subject::builtin(kind))),
        (Some(BUILTIN), None) => Err(Failure::new(format!(
            "nothing says which built-in; write `builtin = \"KIND\"`, such as `rbac`, into {}",
            suite.path.display()
        ))),
        (Some(path), kind) => {
            Ok(Some(Subject::component(kind.unwrap_or(PolicyKind::Custom), Path::new(path))))
        }
    }
}

/// The project that a file of cases, or a directory, belongs to.
fn project_above(place: &Path) -> Option<(PathBuf, Project)> {
    let dir = if place.is_dir() { place } else { place.parent()? };
    let above = dir.file_name().filter(|name| *name == "cases").and_then(|_| dir.parent());
    [Some(dir), above].into_iter().flatten().find_map(|dir| {
        let text = fs::read_to_string(dir.join("plugin.toml")).ok()?;
        Some((dir.to_owned(), toml::from_str(&text).ok()?))
    })
}
