//! The arguments that `plugin run` and `plugin bench` share: the plugin, and its settings.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::project;
use crate::cli::outcome::CommandFailure;
use witgate_cases::{Case, CaseSettings, Suite, TestSubject};
use witgate_config::PolicyKind;
use witgate_config::shape::{listed, nearest};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PluginArgument {
    /// Component file, or directory of a plugin project
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    plugin: PathBuf,

    /// Settings in JSON or TOML [default: those of the case, or none]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Test case that provides the call, the caller and the results of host functions
    #[arg(long, value_name = "NAME")]
    case: Option<String>,

    /// File that contains the case [default: the files of the project]
    #[arg(long, value_name = "FILE", requires = "case")]
    cases: Option<PathBuf>,
}

/// The plugin that the command runs, with its case.
pub(super) struct PluginUnderTest {
    pub(super) subject: TestSubject,
    /// The component file.
    pub(super) path: PathBuf,
    /// The directory of files that the settings name.
    pub(super) dir: PathBuf,
    /// The world, and the questions if there is a case.
    pub(super) case: Case,
}

impl PluginArgument {
    /// Reads the files that the arguments name.
    pub(super) fn cast(&self) -> Result<PluginUnderTest, CommandFailure> {
        let path = project::component_of(&self.plugin)?;
        let home = project::dir_of(&path).to_owned();
        let (mut dir, kind, mut case) = match &self.case {
            None => (home, None, Case::of(json!({}))),
            Some(name) => {
                let (suite, case) = self.find(name, &home)?;
                (suite.dir().to_owned(), suite.kind, case)
            }
        };
        if let Some(file) = &self.settings {
            case.settings = CaseSettings::just(settings(file)?);
            dir = project::dir_of(file).to_owned();
        }
        let subject = TestSubject::component(kind.unwrap_or(PolicyKind::Custom), &path);
        Ok(PluginUnderTest { subject, path, dir, case })
    }

    fn find(&self, name: &str, home: &Path) -> Result<(Suite, Case), CommandFailure> {
        let files = match &self.cases {
            Some(file) => vec![file.clone()],
            None => project::case_files(home)?,
        };
        let mut known = Vec::new();
        for file in &files {
            let suite = project::suite(file)?;
            if let Some(case) = suite.cases.iter().find(|case| case.name == name) {
                let case = case.clone();
                return Ok((suite, case));
            }
            known.extend(suite.cases.into_iter().map(|case| case.name));
        }
        let help = match nearest(name, known.iter().map(String::as_str)) {
            _ if files.is_empty() => {
                format!("there are no files of cases in {}; name one with `--cases FILE`", home.display())
            }
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there are {}", listed(&known)),
        };
        Err(CommandFailure::new(format!("no case has the name \"{name}\"; {help}")))
    }
}

/// Settings in a file of their own, in the form in which operators write them.
fn settings(file: &Path) -> Result<Value, CommandFailure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CommandFailure::new(format!("{} cannot be read: {error}", file.display())))?;
    let bad = |what: &str, why: String| {
        CommandFailure::Data(format!("{} is not {what}: {why}; correct it there", file.display()), Vec::new())
    };
    match file.extension().is_some_and(|extension| extension == "toml") {
        true => toml::from_str(&text).map_err(|error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
            bad("TOML", format!("{} on line {}", error.message(), before.matches('\n').count() + 1))
        }),
        false => serde_json::from_str(&text).map_err(|error| bad("JSON", error.to_string())),
    }
}
