//! The tools, prompts and resources that are compared.

use serde_json::Value;
use witgate_config::pins::EntryKind;

use crate::access::comparison::ComparedTarget;
use crate::cli::context::Context;
use crate::cli::explain::scene::ExplanationScene;
use crate::cli::lint::snapshot::ListSnapshot;
use crate::cli::live_lists;
use crate::cli::outcome::CommandFailure;

/// The source of the targets.
pub(super) enum TargetSource {
    /// Those that the arguments name.
    Named(Vec<String>),
    /// Those in stored lists.
    Stored(ListSnapshot),
    /// Those that the upstreams list now.
    Live,
}

impl TargetSource {
    /// The targets at the upstream `name`.
    pub(super) async fn targets(
        &self,
        context: &Context,
        (old, new): (&ExplanationScene, &ExplanationScene),
        name: &str,
        left_out: &mut Vec<String>,
    ) -> Result<Vec<ComparedTarget>, CommandFailure> {
        match self {
            Self::Named(named) => Ok(named.iter().cloned().map(ComparedTarget::from).collect()),
            Self::Stored(lists) => {
                let mut all = Vec::new();
                for kind in EntryKind::TARGETS {
                    match lists.entries(name, kind) {
                        Some(entries) => all.extend(targets(kind, entries)),
                        None => left_out.push(format!(
                            "`{}` of the upstream `{name}`, which is not stored",
                            kind.method()
                        )),
                    }
                }
                Ok(all)
            }
            Self::Live => live(context, (old, new), name, left_out).await,
        }
    }
}

async fn live(
    context: &Context,
    (old, new): (&ExplanationScene, &ExplanationScene),
    name: &str,
    left_out: &mut Vec<String>,
) -> Result<Vec<ComparedTarget>, CommandFailure> {
    let newest = [new, old].into_iter().find_map(|scene| Some((scene, scene.view().place(name)?)));
    let Some((scene, place)) = newest else { return Ok(Vec::new()) };
    let lists = live_lists::read(context, scene, place, &EntryKind::TARGETS).await.map_err(|failure| {
        let help = "name what to compare with `--call TOOL`, or use stored lists with `--lists FILE`";
        CommandFailure::new(format!("`{name}`: {failure}; {help}"))
    })?;
    for list in lists.iter().filter(|list| list.is_cut) {
        left_out.push(format!("the rest of `{}` of the upstream `{name}`", list.kind.method()));
    }
    Ok(lists.iter().flat_map(|list| targets(list.kind, &list.entries)).collect())
}

/// The targets in a list.
fn targets(kind: EntryKind, entries: &[Value]) -> impl Iterator<Item = ComparedTarget> {
    entries.iter().filter_map(move |entry| {
        let name = kind.target(kind.name_of(entry)?);
        Some(ComparedTarget { name, schema: entry.get("inputSchema").cloned() })
    })
}
