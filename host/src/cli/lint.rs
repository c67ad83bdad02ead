//! `witgate lint`: settings that are valid, and probably mistakes.

mod catalogue;
mod contradictory_condition;
pub(super) mod coverage;
mod denied_ui;
mod destructive_wildcard;
mod finding;
#[cfg(test)]
pub(super) mod fixture;
mod impossible_value;
mod input_schema;
mod limit_above_upstream;
mod live_snapshot;
mod optional_argument;
mod overlapping_issuers;
mod pipeline_place;
pub(super) mod placed_rules;
mod report;
mod rule_holder;
mod sarif;
pub(super) mod scene;
mod shadowed_rule;
mod single_item;
pub(super) mod snapshot;
mod unknown_argument;
mod unknown_name;
mod unreachable_role;
mod unsupported_scope;
mod unusable_origin;

use std::path::PathBuf;

use self::catalogue::LintResult;
use self::scene::LintScene;
use self::snapshot::ListSnapshot;
use super::context::Context;
use super::explain::scene::ExplanationScene;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use witgate_base::clock;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    lists: ListOptions,
    /// File for the lists, to lint with them later
    #[arg(long, value_name = "FILE", requires = "live")]
    save_lists: Option<PathBuf>,
    /// Print the findings as SARIF 2.1.0
    #[arg(long)]
    sarif: bool,
}

/// The options that say where the lists of upstreams come from.
#[derive(Debug, clap::Args)]
pub(super) struct ListOptions {
    /// Ask the upstreams for their lists, and the issuers for their scopes
    #[arg(long)]
    live: bool,
    /// File with the lists, which `witgate lint --live --save-lists FILE` has written
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    lists: Option<PathBuf>,
}

impl ListOptions {
    /// The configuration with the lists, and what is unknown.
    pub(super) fn scene(&self, context: &Context) -> Result<(LintScene, Vec<String>), CommandFailure> {
        if self.live {
            return runtime()?.block_on(async {
                let at = clock::since_epoch().as_secs();
                let scene = ExplanationScene::build(context, None, at).await?;
                let (lists, mut notes) = live_snapshot::ask(context, &scene).await;
                notes.extend(scene.faults.iter().cloned());
                Ok((LintScene::new(scene.config).with(lists), notes))
            });
        }
        let scene = LintScene::new(context.load()?.config);
        match &self.lists {
            Some(file) => Ok((scene.with(ListSnapshot::read(file)?), Vec::new())),
            None => Ok((scene, Vec::new())),
        }
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let (scene, mut notes) = arguments.lists.scene(context)?;
    if !arguments.lists.live && arguments.lists.lists.is_none() {
        notes.push("without `--live` or `--lists FILE`, nothing is compared with the upstreams".to_owned());
    }
    if let Some(file) = &arguments.save_lists {
        scene.lists.write(file)?;
    }
    let (result, terminal) = (LintResult::of(&scene), &context.terminal);
    match (arguments.sarif, terminal.is_json()) {
        (true, _) => terminal.print_json(&sarif::sarif(&result, &notes)),
        (false, true) => terminal.print_json(&report::json(&result, &notes)),
        (false, false) => {
            notes.iter().for_each(|note| terminal.say(note));
            terminal.print(&report::text(&result));
        }
    }
    Ok(if result.remaining.is_empty() { Exit::Done } else { Exit::No })
}
