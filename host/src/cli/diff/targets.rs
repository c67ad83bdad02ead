//! The tools, prompts and resources that are compared.

use witgate_config::pins::EntryKind;

use crate::access::comparison::ComparedTarget;
use crate::cli::context::Context;
use crate::cli::explain::scene::ExplanationScene;
use crate::cli::live_lists::{self, LiveList};
use crate::cli::outcome::CommandFailure;

/// The targets at the upstream `name`: those that are named, or those in its lists.
pub(super) async fn of(
    context: &Context,
    (old, new): (&ExplanationScene, &ExplanationScene),
    name: &str,
    named: &[String],
    left_out: &mut Vec<String>,
) -> Result<Vec<ComparedTarget>, CommandFailure> {
    if !named.is_empty() {
        return Ok(named.iter().cloned().map(ComparedTarget::from).collect());
    }
    let newest = [new, old].into_iter().find_map(|scene| Some((scene, scene.view().place(name)?)));
    let Some((scene, place)) = newest else { return Ok(Vec::new()) };
    let lists = live_lists::read(context, scene, place, &EntryKind::TARGETS).await.map_err(|failure| {
        CommandFailure::new(format!("`{name}`: {failure}; name what to compare with `--call TOOL`"))
    })?;
    for list in lists.iter().filter(|list| list.is_cut) {
        left_out.push(format!("the rest of `{}` of the upstream `{name}`", list.kind.method()));
    }
    Ok(lists.iter().flat_map(targets).collect())
}

fn targets(list: &LiveList) -> impl Iterator<Item = ComparedTarget> {
    list.names().map(|name| ComparedTarget::from(list.kind.target(name)))
}
