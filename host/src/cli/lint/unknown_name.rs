//! Patterns that cover nothing of their upstreams.

use witgate_config::limits::METHODS;
use witgate_config::lint::LintCode;
use witgate_config::shape::listed;
use witgate_plugin::TargetKind;

use super::coverage::{nearest_glob, parts, prefix};
use super::finding::{LintCheck, LintFinding};
use super::placed_rules::{PatternUse, PlacedPattern};
use super::scene::LintScene;
use witgate_config::pins::EntryKind;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::UnknownName,
    title: "a pattern covers nothing",
    why: "A misspelt pattern has no effect: what it should allow is refused, and what it should deny is not denied. \
          After a rename at the server, a deny pattern with the old name protects nothing.",
    find,
};

/// The most names in a fix.
const MOST_NAMED: usize = 8;

fn find(scene: &LintScene) -> Vec<LintFinding> {
    scene.patterns().iter().filter_map(|pattern| unknown(scene, pattern)).collect()
}

fn unknown(scene: &LintScene, pattern: &PlacedPattern) -> Option<LintFinding> {
    let (kind, glob) = parts(&pattern.text);
    let kind = kind?;
    let names = names(scene, pattern, kind)?;
    if names.iter().any(|name| pattern.pattern.matches(kind, name)) {
        return None;
    }
    if let (Some(own), true) = (scene.without_prefix(pattern), pattern.usage != PatternUse::Owns) {
        let message = format!(
            "`{}` {} nothing: policies see the names of the upstream itself, without the prefix of an endpoint",
            pattern.text, pattern.usage
        );
        let fix = format!("write `{}{own}`", prefix(kind));
        let remark = pattern.place.remark(&message, "covers nothing");
        return Some(LintFinding::new(&pattern.text, remark, fix));
    }
    let near = nearest_glob(glob, &names).map(|near| format!("{}{near}", prefix(kind)));
    // Servers may have methods of their own.
    if kind == TargetKind::Method && near.is_none() {
        return None;
    }
    let (text, usage) = (&pattern.text, pattern.usage);
    let message = format!("`{text}` {usage} nothing: {}", absence(kind, &pattern.upstreams));
    let fix = match near {
        Some(near) => format!("write `{near}`"),
        None if names.is_empty() => "remove it: the list is empty".to_owned(),
        None => format!("remove it, or name something that exists, such as {}", some(&names)),
    };
    Some(LintFinding::new(text, pattern.place.remark(&message, "covers nothing"), fix))
}

/// All names that a pattern of this kind can cover. None: some are unknown.
fn names<'s>(scene: &'s LintScene, pattern: &PlacedPattern, kind: TargetKind) -> Option<Vec<&'s str>> {
    let list = match kind {
        TargetKind::Method => return Some(METHODS.to_vec()),
        TargetKind::Tool => EntryKind::Tool,
        TargetKind::Prompt => EntryKind::Prompt,
        TargetKind::Resource => EntryKind::Resource,
    };
    let entries = scene.lists.every(&pattern.upstreams, list)?;
    // A template stands for resources that no list names.
    if kind == TargetKind::Resource && may_be_of_template(scene, pattern)? {
        return None;
    }
    Some(entries.into_iter().filter_map(|entry| list.name_of(entry)).collect())
}

/// True if a resource of a template may be covered. None: the templates are unknown.
fn may_be_of_template(scene: &LintScene, pattern: &PlacedPattern) -> Option<bool> {
    let list = EntryKind::ResourceTemplate;
    let templates = scene.lists.every(&pattern.upstreams, list)?;
    let covered = parts(&pattern.text).1.split('*').next().unwrap_or_default();
    let may_be_covered = |template: &str| {
        let constant = template.split('{').next().unwrap_or_default();
        constant.starts_with(covered) || covered.starts_with(constant)
    };
    Some(templates.into_iter().filter_map(|entry| list.name_of(entry)).any(may_be_covered))
}

fn absence(kind: TargetKind, upstreams: &[String]) -> String {
    let what = match kind {
        TargetKind::Tool => "tool",
        TargetKind::Prompt => "prompt",
        TargetKind::Resource => "resource",
        TargetKind::Method => return "no method of the protocol has such a name".to_owned(),
    };
    format!("no {what} of {} has such a name", listed(upstreams))
}

fn some(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    let more = if names.len() > MOST_NAMED { ", …" } else { "" };
    names.truncate(MOST_NAMED);
    format!("{}{more}", listed(&names))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, found, with_roles};

    #[test]
    fn a_misspelt_pattern_is_found_with_the_nearest_name() {
        let text = with_roles(
            "user = { allow = ['get_smu', 'gett_*', 'resource:file:///b', 'method:tasks/lst'], deny = ['prompt:hallo'] }",
        );
        let found = found(super::CHECK, &text, LISTS);
        let fixes: Vec<_> = found.iter().map(|finding| (&*finding.name, &*finding.fix)).collect();
        assert_eq!(
            fixes,
            [
                ("get_smu", "write `get_sum`"),
                ("gett_*", "write `get_*`"),
                ("resource:file:///b", "write `resource:file:///a`"),
                ("method:tasks/lst", "write `method:tasks/list`"),
                ("prompt:hallo", "write `prompt:hello`"),
            ]
        );
        let message = found[0].remark.to_string();
        assert!(
            message.contains("`get_smu` allows nothing: no tool of `files` has such a name"),
            "{message}"
        );
        assert_eq!(found[0].remark.position().map(|(line, _)| line), Some(9));
    }

    #[test]
    fn patterns_of_scopes_conditions_and_limits_are_looked_at() {
        let text = with_roles(
            "user = { allow = ['*'], conditions = [{ on = 'pya', argument = '/amount', max = 1 }] }\n\
             [policies.roles.config.scopes]\necoh = ['s']\n[limits.l]\non = ['get_sums']\nrate = '1/s'",
        );
        let names: Vec<_> = found(super::CHECK, &text, LISTS).into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["ecoh", "pya", "get_sums"]);
    }

    #[test]
    fn names_at_endpoints_are_looked_at() {
        let endpoint = "[upstreams.other]\nown_tools = true\n[endpoints.work]\nupstreams = ['files', 'other']\n\
                        owns = { files = ['get_smu', 'get_*'] }\n\
                        [upstreams.other.pipeline]\nanonymous = { roles = ['user'] }\nauthorize = ['own']\n\
                        [policies.own]\nkind = 'rbac'\n[policies.own.config.roles]\nuser = { allow = ['echo'] }\n";
        let text = with_roles("user = { allow = ['files__get_sum', 'get_sum'] }");
        let text = format!("{text}\n{endpoint}");
        let fixes: Vec<_> = found(super::CHECK, &text, LISTS);
        let fixes: Vec<_> = fixes.iter().map(|finding| (&*finding.name, &*finding.fix)).collect();
        assert_eq!(fixes, [("files__get_sum", "write `get_sum`"), ("get_smu", "write `get_sum`")]);
    }

    #[test]
    fn existing_names_unknown_lists_templates_and_methods_of_servers_are_no_findings() {
        let good = with_roles(
            "user = { allow = ['*', 'get_*', 'pay', 'resource:file:///a', 'resource:db://rows/7', 'method:acme/run'] }",
        );
        assert!(found(super::CHECK, &good, LISTS).is_empty());
        let unknown = with_roles("user = { allow = ['get_smu', 'prompt:hallo'] }");
        assert!(found(super::CHECK, &unknown, "{}").is_empty());
        assert!(found(super::CHECK, &unknown, r#"{ "tools": [] }"#).len() == 1, "the prompts are unknown");
    }
}
