//! Tools that are allowed, while the resource with their user interface is not.

use std::collections::BTreeSet;

use serde_json::Value;
use witgate_config::lint::LintCode;
use witgate_plugin::TargetKind;

use super::finding::{LintCheck, LintFinding};
use super::placed_rules::RuleSet;
use super::scene::LintScene;
use witgate_config::pins::EntryKind;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::DeniedUi,
    title: "a tool is allowed, and its user interface is not",
    why: "The client calls the tool and then reads its `ui://` resource. If that is refused, people see an error or an \
          empty frame in place of the result.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    scene.rule_sets.iter().flat_map(|set| denied(scene, set)).collect()
}

fn denied(scene: &LintScene, set: &RuleSet) -> Vec<LintFinding> {
    let mut seen = BTreeSet::new();
    let tools = scene.lists.known(&set.upstreams, EntryKind::Tool).into_iter();
    let finding = |tool: &Value| {
        let (name, uri) = (EntryKind::Tool.name_of(tool)?, interface(tool)?);
        let pattern = set.allow.iter().find(|pattern| pattern.pattern.matches(TargetKind::Tool, name))?;
        let is_broken = set.allows(TargetKind::Tool, name) && !set.allows(TargetKind::Resource, uri);
        if !is_broken || !seen.insert(uri.to_owned()) {
            return None;
        }
        let message = format!("{} allows the tool `{name}`, and not its user interface `{uri}`", set.owner);
        let remark = pattern.place.remark(&message, &format!("allows `{name}`"));
        Some(LintFinding::new(uri, remark, format!("add `resource:{uri}` to `allow`")))
    };
    tools.filter_map(finding).collect()
}

/// The `ui://` resource of a tool, by the extension MCP Apps and its earlier forms.
fn interface(tool: &Value) -> Option<&str> {
    let meta = tool.get("_meta")?;
    let nested = meta.get("ui").and_then(|ui| ui.get("resourceUri"));
    let flat = || ["ui/resourceUri", "openai/outputTemplate"].iter().find_map(|name| meta.get(name));
    nested.or_else(flat)?.as_str().filter(|uri| uri.starts_with("ui://"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, found, with_roles};

    #[test]
    fn an_allowed_tool_with_a_denied_interface_is_found() {
        for bad in [
            "user = { allow = ['chart'] }",
            "user = { allow = ['c*'] }",
            "user = { allow = ['*'], deny = ['resource:ui://*'] }",
        ] {
            let found = found(super::CHECK, &with_roles(bad), LISTS);
            assert_eq!(found.len(), 1, "{bad}");
            assert_eq!(
                (&*found[0].name, &*found[0].fix),
                ("ui://chart", "add `resource:ui://chart` to `allow`")
            );
        }
    }

    #[test]
    fn an_allowed_interface_is_no_finding() {
        for good in [
            "user = { allow = ['chart', 'resource:ui://chart'] }",
            "user = { allow = ['*'] }",
            "user = { allow = ['chart'], inherits = ['base'] }\nbase = { allow = ['resource:ui://*'] }",
            "user = { allow = ['echo'] }",
            "user = { allow = ['chart'], deny = ['chart'] }",
        ] {
            assert!(found(super::CHECK, &with_roles(good), LISTS).is_empty(), "{good}");
        }
    }
}
