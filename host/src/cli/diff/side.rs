//! One side of a comparison, as the arguments name it.

use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::control::socket;
use crate::cli::explain::scene::SceneSource;
use crate::cli::outcome::CommandFailure;
use crate::control;
use crate::control::protocol::{self, ControlCommand, RecipeReport};
use witgate_policy::generation::Recipe;

/// The configuration in force.
const LIVE: &str = "live";

/// The source that `text` names. `policy` is the one whose component may be replaced.
pub(super) fn source_of(
    context: &Context,
    text: &str,
    policy: Option<&str>,
) -> Result<SceneSource, CommandFailure> {
    let path = PathBuf::from(text);
    if text == LIVE {
        return Ok(SceneSource::InForce);
    }
    if let Ok(number) = text.parse() {
        return Ok(SceneSource::Earlier(Box::new(earlier(context, number)?)));
    }
    if !path.exists() {
        return Err(CommandFailure::new(format!(
            "there is no file {text}; name a configuration, a component, the number of a generation, or `{LIVE}`"
        )));
    }
    match path.extension().is_some_and(|suffix| suffix == "wasm") {
        true => Ok(SceneSource::Component { policy: policy_of(context, &path, policy)?, file: path }),
        false => Ok(SceneSource::Candidate(path)),
    }
}

/// The recipe of a generation that the running Witgate still knows.
pub(in crate::cli) fn earlier(context: &Context, generation: u64) -> Result<Recipe, CommandFailure> {
    let command = ControlCommand::GenerationRecipe { generation };
    let answer = control::ask(&socket(context)?, &command).map_err(CommandFailure::new)?;
    let report: RecipeReport = protocol::read(&answer).map_err(CommandFailure::new)?;
    match report.is_whole {
        true => Ok(report.recipe),
        false => Err(CommandFailure::new(format!(
            "generation {generation} follows its configuration only in part, so it cannot be built again"
        ))),
    }
}

/// The policy that a component is for: the one that is named, the one with a component of this name, or the only one with
/// a component.
fn policy_of(context: &Context, file: &Path, policy: Option<&str>) -> Result<String, CommandFailure> {
    if let Some(policy) = policy {
        return Ok(policy.to_owned());
    }
    let config = context.load()?.config;
    let with_component = || config.policies.values().filter(|policy| policy.component.is_some());
    let is_same_file = |component: &PathBuf| component.file_name() == file.file_name();
    let same: Vec<_> = with_component().filter(|policy| policy.component.iter().any(is_same_file)).collect();
    let all: Vec<_> = with_component().collect();
    match (same.as_slice(), all.as_slice()) {
        ([only], _) | ([], [only]) => Ok(only.name.clone()),
        _ => Err(CommandFailure::new(format!(
            "name the policy whose component {} replaces with `--policy NAME`",
            file.display()
        ))),
    }
}
