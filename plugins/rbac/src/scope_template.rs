//! The scope that each call needs, made from its target.

use witgate_plugin::{Call, ConfigError, Glob, TargetKind, is_scope};

/// A compiled template, such as `mcp:tool:{tool}`.
#[derive(Debug)]
pub(crate) struct ScopeTemplate {
    parts: Vec<TemplatePart>,
    /// True if it is about tools only.
    tools_only: bool,
    /// True if `*` in the scopes of callers stands for any characters.
    wildcards: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    /// The kind of the target.
    Kind,
    /// The name of the target.
    Name,
}

impl ScopeTemplate {
    /// Compiles the settings `scope_template` and `scope_wildcards`.
    ///
    /// # Errors
    /// If a placeholder is unknown or missing, if no scope can have this form, or if wildcards could stand for all of it.
    pub(crate) fn compile(template: Option<&str>, wildcards: bool) -> Result<Option<Self>, ConfigError> {
        let Some(text) = template else {
            return match wildcards {
                true => Err(ConfigError::at("/scope_wildcards", "has no effect without `scope_template`")),
                false => Ok(None),
            };
        };
        let fault = |message: String| ConfigError::at("/scope_template", message);
        let mut parts = Vec::new();
        let mut rest = text;
        let mut tools_only = false;
        while let Some(place) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(place);
            parts.extend((!before.is_empty()).then(|| TemplatePart::Text(before.to_owned())));
            let placeholder = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            let (name, after) =
                placeholder.ok_or_else(|| fault("a brace without its counterpart".to_owned()))?;
            tools_only |= name == "tool";
            parts.push(match name {
                "tool" | "name" => TemplatePart::Name,
                "kind" => TemplatePart::Kind,
                _ => {
                    let known = "there are `{tool}`, `{kind}` and `{name}`";
                    return Err(fault(format!("`{{{name}}}` is not a placeholder; {known}")));
                }
            });
            rest = after;
        }
        parts.extend((!rest.is_empty()).then(|| TemplatePart::Text(rest.to_owned())));
        if !parts.contains(&TemplatePart::Name) {
            let help = "for one scope of all calls, write `scopes = { \"*\" = [\"…\"] }`";
            return Err(fault(format!("it has neither `{{tool}}` nor `{{name}}`; {help}")));
        }
        if wildcards && !matches!(parts.first(), Some(TemplatePart::Text(_))) {
            let help = "begin it with text, such as `mcp:`: otherwise a scope `*` would give everything";
            return Err(fault(format!(
                "a template with `scope_wildcards` cannot begin with a placeholder; {help}"
            )));
        }
        let template = Self { parts, tools_only, wildcards };
        match is_scope(&template.with(TargetKind::Tool, "x")) {
            true => Ok(Some(template)),
            false => Err(fault(
                "no scope has this form; write it without spaces, quotes and backslashes".to_owned(),
            )),
        }
    }

    /// The scope for a call. None: the call needs none.
    pub(crate) fn scope_for(&self, call: &Call<'_>) -> Option<String> {
        let applies = match call.kind {
            TargetKind::Tool => true,
            TargetKind::Resource | TargetKind::Prompt => !self.tools_only,
            TargetKind::Method => false,
        };
        applies.then(|| self.with(call.kind, call.target))
    }

    fn with(&self, kind: TargetKind, name: &str) -> String {
        let text = |part: &TemplatePart| match part {
            TemplatePart::Text(text) => text.clone(),
            TemplatePart::Kind => word(kind).to_owned(),
            TemplatePart::Name => name.to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// True if `own`, a scope of a caller, stands for `needed` by its `*`. It has the template's own beginning: `*` alone
    /// stands for nothing.
    pub(crate) fn stands_for(&self, own: &str, needed: &str) -> bool {
        self.wildcards && own.contains('*') && self.resembles(own) && Glob::new(own).matches(needed)
    }

    /// True if `scope` begins as the scopes of this template do.
    pub(crate) fn resembles(&self, scope: &str) -> bool {
        match self.parts.first() {
            Some(TemplatePart::Text(beginning)) => scope.starts_with(beginning.as_str()),
            _ => true,
        }
    }
}

fn word(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Tool => "tool",
        TargetKind::Resource => "resource",
        TargetKind::Prompt => "prompt",
        TargetKind::Method => "method",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use witgate_plugin::testing::{FakeHost, Person, tool};
    use witgate_plugin::{Decision, Plugin};

    use super::*;
    use crate::Rbac;

    fn policy(settings: serde_json::Value) -> Result<Rbac, String> {
        let mut config = json!({ "roles": { "all": { "allow": ["*", "method:*"] } } });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let made = Rbac::configure_json("roles", &config.to_string());
        made.map(|(policy, _)| policy).map_err(|error| error.to_string())
    }

    /// The scopes that are missing for a call. None: it is allowed.
    fn missing(policy: &Rbac, call: &Call<'_>, scopes: &[String]) -> Option<Vec<String>> {
        let person = scopes.iter().fold(Person::named("ada").role("all"), |ada, scope| ada.scope(scope));
        match FakeHost::new().authorize(policy, call, &person.principal()) {
            Decision::Allow => None,
            Decision::Deny(denial) => {
                assert_eq!(denial.reason, "insufficient-scope");
                Some(denial.scopes)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn braces_that_mean_nothing_are_refused() {
        for (settings, said) in [
            (json!({ "scope_template": "mcp:{tol}" }), "`{tol}` is not a placeholder"),
            (json!({ "scope_template": "mcp:{tool" }), "a brace without its counterpart"),
            (json!({ "scope_template": "mcp:tool}" }), "a brace without its counterpart"),
            (json!({ "scope_template": "mcp:{{tool}}" }), "`{{tool}` is not a placeholder"),
            (json!({ "scope_template": "mcp:all" }), "neither `{tool}` nor `{name}`"),
            (json!({ "scope_template": "mcp:{kind}" }), "neither `{tool}` nor `{name}`"),
            (json!({ "scope_template": "mcp tool {tool}" }), "no scope has this form"),
            (json!({ "scope_wildcards": true }), "no effect without `scope_template`"),
            (
                json!({ "scope_template": "{tool}", "scope_wildcards": true }),
                "a scope `*` would give everything",
            ),
            (
                json!({ "scope_template": "{kind}:{name}", "scope_wildcards": true }),
                "a scope `*` would give everything",
            ),
            (
                json!({
                    "scope_template": "mcp:{tool}",
                    "scope_wildcards": true,
                    "scope_implies": { "admin": ["mcp:*"] }
                }),
                "an implied scope with `*` stands for itself only",
            ),
            (json!({ "scopes": { "*": ["mcp:tool:{tool}"] } }), "write it as `scope_template`"),
            (json!({ "scope_implies": { "admin": ["mcp:tool:{tool}"] } }), "write it as `scope_template`"),
            (json!({ "scope_implies": { "{tool}": ["a"] } }), "write it as `scope_template`"),
        ] {
            let fault = policy(settings.clone()).expect_err(said);
            assert!(fault.contains(said), "{settings}: {fault}");
        }
    }

    #[test]
    fn a_template_is_about_its_kinds_of_targets() {
        let call = |kind, target| Call { kind, ..tool(target) };
        let tools = policy(json!({ "scope_template": "mcp:tool:{tool}" })).unwrap();
        let all = policy(json!({ "scope_template": "mcp:{kind}:{name}" })).unwrap();
        for (kind, target, scope) in [
            (TargetKind::Tool, "echo", "mcp:tool:echo"),
            (TargetKind::Resource, "file:///a", "mcp:resource:file:///a"),
            (TargetKind::Prompt, "hi", "mcp:prompt:hi"),
        ] {
            assert_eq!(missing(&all, &call(kind, target), &[]), Some(vec![scope.to_owned()]));
            assert_eq!(missing(&all, &call(kind, target), &[scope.to_owned()]), None);
            assert_eq!(missing(&tools, &call(kind, target), &[]).is_some(), kind == TargetKind::Tool);
        }
        assert_eq!(missing(&all, &call(TargetKind::Method, "logging/setLevel"), &[]), None);
        // No token can have this scope, and no challenge names it.
        let odd = call(TargetKind::Tool, "a \"b\"");
        assert_eq!(missing(&tools, &odd, &["mcp:tool:a".to_owned()]), Some(Vec::new()));
    }

    #[test]
    fn a_line_precedes_the_template_and_a_challenge_keeps_what_the_caller_has() {
        let policy = policy(json!({
            "scope_template": "mcp:tool:{tool}",
            "scopes": { "ping": [], "pay": ["money"] },
            "scope_implies": { "admin": ["mcp:tool:echo"] }
        }))
        .unwrap();
        let held = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        assert_eq!(missing(&policy, &tool("ping"), &[]), None);
        assert_eq!(missing(&policy, &tool("pay"), &held(&["mcp:tool:pay"])), Some(held(&["money"])));
        assert_eq!(missing(&policy, &tool("echo"), &held(&["admin"])), None);
        let needed = missing(&policy, &tool("echo"), &held(&["mcp:tool:add", "other"]));
        assert_eq!(needed, Some(held(&["mcp:tool:add", "mcp:tool:echo"])));
    }

    #[test]
    fn a_template_without_wildcards_may_begin_with_a_placeholder() {
        let policy =
            policy(json!({ "scope_template": "{kind}:{name}", "scope_implies": { "admin": ["*"] } }))
                .unwrap();
        let held = |scope: &str| [scope.to_owned()];
        assert_eq!(missing(&policy, &tool("echo"), &held("tool:echo")), None);
        for scope in ["*", "tool:*", "admin"] {
            assert!(missing(&policy, &tool("echo"), &held(scope)).is_some(), "{scope}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_the_name_only() {
        let template = |wildcards| {
            policy(json!({ "scope_template": "mcp:tool:{tool}", "scope_wildcards": wildcards })).unwrap()
        };
        for (scope, is_enough) in [
            ("mcp:tool:*", true),
            ("mcp:tool:get_*", true),
            ("mcp:tool:*_sum", true),
            ("mcp:tool:put_*", false),
            ("mcp:tool:get_*x", false),
            ("*", false),
            ("mcp:*", false),
            ("mcp:*:get_sum", false),
            ("MCP:tool:*", false),
        ] {
            let scopes = [scope.to_owned()];
            assert_eq!(missing(&template(true), &tool("get_sum"), &scopes).is_none(), is_enough, "{scope}");
            assert!(missing(&template(false), &tool("get_sum"), &scopes).is_some(), "{scope}");
        }
        // The name of a tool is no pattern.
        let scopes = ["mcp:tool:get_sum".to_owned()];
        assert!(missing(&template(true), &tool("*"), &scopes).is_some());
    }

    proptest! {
        #[test]
        fn a_template_is_the_same_as_one_line_for_each_tool(
            tools in prop::collection::btree_set("[a-z][a-z_.-]{0,6}", 1..6),
            held in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize), 0..6),
        ) {
            let tools: Vec<_> = tools.into_iter().collect();
            let scope = |tool: &str| format!("mcp:tool:{tool}");
            let lines: serde_json::Map<_, _> =
                tools.iter().map(|tool| (tool.clone(), json!([scope(tool)]))).collect();
            let by_lines = policy(json!({ "scopes": lines })).unwrap();
            let by_template = policy(json!({ "scope_template": "mcp:tool:{tool}" })).unwrap();
            let held: Vec<_> = held
                .iter()
                .map(|(place, form)| {
                    let name = place.get(&tools);
                    [scope(name), name.clone(), scope("*"), scope(&name[..1])][*form].clone()
                })
                .collect();
            for name in &tools {
                let is_missing = |policy| missing(policy, &tool(name), &held);
                let (one, other) = (is_missing(&by_template), is_missing(&by_lines));
                prop_assert_eq!(one.is_some(), other.is_some(), "{} {:?}", name, held);
                prop_assert!(one.is_none_or(|scopes| scopes.contains(&scope(name))));
            }
        }
    }
}
