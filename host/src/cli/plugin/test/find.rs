//! The search for files of cases, and for the component of each.

use std::path::{Path, PathBuf};

use witgate_build::MANIFEST;

use super::arguments::Arguments;
use crate::cli::outcome::CommandFailure;
use crate::cli::plugin::project::{self, case_files};
use witgate_cases::{Case, CasesError, Suite, TestSubject};
use witgate_config::PolicyKind;

/// The name of the built-in for `--against`.
pub(super) const BUILTIN: &str = "builtin";

/// The result of the search.
pub(super) enum FindResult {
    /// Files of cases.
    Suites(Suites),
    /// There are no cases; the text gives the reason.
    Nothing(String),
}

/// Files of cases, with at least one case.
pub(super) struct Suites {
    pub(super) suites: Vec<SuiteRun>,
}

/// A file of cases, and the component to run them against.
pub(super) struct SuiteRun {
    pub(super) suite: Suite,
    pub(super) subject: TestSubject,
    /// The second component to run the cases against.
    pub(super) against: Option<TestSubject>,
}

impl Suites {
    /// Finds the files of cases.
    pub(super) fn find(arguments: &Arguments) -> Result<FindResult, CommandFailure> {
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
                        return Err(CommandFailure::Data(error.to_string(), Vec::new()));
                    }
                    Err(error @ CasesError::Unreadable(..)) => {
                        return Err(CommandFailure::new(error.to_string()));
                    }
                }
            }
        }
        if !broken.is_empty() {
            return Err(CommandFailure::Data("the cases cannot be used".to_owned(), broken));
        }
        if !empty.is_empty() {
            return Ok(FindResult::Nothing(empty.join("\n")));
        }
        Self::filtered(suites, arguments)
    }

    fn filtered(suites: Vec<Suite>, arguments: &Arguments) -> Result<FindResult, CommandFailure> {
        let kept = |case: &Case| arguments.filter.as_ref().is_none_or(|text| case.name.contains(text));
        let mut cast = Vec::new();
        for mut suite in suites {
            suite.cases.retain(kept);
            if !suite.cases.is_empty() {
                cast.push(SuiteRun {
                    subject: subject(&suite, arguments)?,
                    against: against(&suite, arguments)?,
                    suite,
                });
            }
        }
        Ok(match (cast.is_empty(), &arguments.filter) {
            (true, Some(text)) => FindResult::Nothing(format!("no case has `{text}` in its name")),
            _ => FindResult::Suites(Self { suites: cast }),
        })
    }
}

/// Files that a run at `place` reads, also those that do not exist.
pub(super) fn files(place: &Path) -> Vec<PathBuf> {
    let mut files = case_files(place).unwrap_or_default();
    files.push(place.join("cases.toml"));
    let named: Vec<_> = files.iter().filter_map(|file| Suite::read(file).ok()?.component).collect();
    files.extend(named);
    if let Some(dir) = project::dir_above(place) {
        files.push(dir.join(MANIFEST));
        files.extend(project::open(&dir).ok().map(|project| project::built_to(&dir, &project)));
    }
    files
}

/// The subject of a file's cases: the component that the command line names, the one that the file names, or
/// the project's.
fn subject(suite: &Suite, arguments: &Arguments) -> Result<TestSubject, CommandFailure> {
    let kind = suite.kind.unwrap_or(PolicyKind::Custom);
    if let Some(path) = arguments.component.as_ref().or(suite.component.as_ref()) {
        return Ok(TestSubject::component(kind, path));
    }
    if let Some(kind) = suite.kind {
        return Ok(TestSubject::builtin(kind));
    }
    match project::above(&suite.path)? {
        Some((dir, project)) => Ok(TestSubject::component(kind, &project::component(&dir, &project)?)),
        None => Err(CommandFailure::new(format!(
            "nothing names a component for the cases in {}; name a component with `--component FILE`, or write \
             `component = \"PATH.wasm\"` or `builtin = \"KIND\"` into the file",
            suite.path.display()
        ))),
    }
}

fn against(suite: &Suite, arguments: &Arguments) -> Result<Option<TestSubject>, CommandFailure> {
    match (arguments.against.as_deref(), suite.kind) {
        (None, _) => Ok(None),
        (Some(BUILTIN), Some(kind)) => Ok(Some(TestSubject::builtin(kind))),
        (Some(BUILTIN), None) => Err(CommandFailure::new(format!(
            "nothing says which built-in; write `builtin = \"KIND\"`, such as `rbac`, into {}",
            suite.path.display()
        ))),
        (Some(path), kind) => {
            Ok(Some(TestSubject::component(kind.unwrap_or(PolicyKind::Custom), Path::new(path))))
        }
    }
}
