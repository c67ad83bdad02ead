//! Cases about conditions on the annotations of tools.

use super::Folder;

/// A configuration with two upstreams, which have these settings, and with these roles.
fn folder(first: &str, second: &str, rules: &str) -> Folder {
    Folder::with(&format!(
        "[upstreams.first]\nown_tools = true\n{first}\n[upstreams.second]\nown_tools = true\n{second}\n\
         [pipeline]\nanonymous = {{ roles = ['user'] }}\nauthorize = ['roles']\n\
         [policies.roles]\nkind = 'rbac'\n[policies.roles.config]\n{rules}\n"
    ))
}

const ON_ROLE: &str = "roles.user = { allow = ['*'], conditions = [\n\
    { on = '*', annotation = 'destructiveHint', equals = false },\n] }";

#[test]
fn a_condition_on_an_annotation_needs_held_definitions_at_each_upstream() {
    let says = folder("", "pins = 'warn'", ON_ROLE).says();
    assert_eq!(
        says.matches("a condition on `destructiveHint` needs approved definitions").count(),
        2,
        "{says}"
    );
    assert!(says.contains("the upstream `first`, for which the policy decides, has no `pins`"), "{says}");
    let second = "the upstream `second`, for which the policy decides, has `pins = \"warn\"`";
    assert!(says.contains(second), "{says}");
    assert!(says.contains("under `[upstreams.first]`"), "{says}");
    let at_annotation = says.matches("witgate.toml:14:26: a condition on").count();
    assert_eq!(at_annotation, 2, "{says}");
    let half = folder("pins = 'hold'", "pins = 'off'", ON_ROLE).says();
    assert_eq!(half.matches("needs approved definitions").count(), 1, "{half}");
}

#[test]
fn conditions_for_everybody_and_shadows_count_as_well() {
    let general = "roles.user = { allow = ['*'] }\n\
                   conditions = [{ on = 'x', claim = 'a', equals = 1 }, { on = 'x', annotation = 'readOnlyHint', equals = true }]";
    let says = folder("", "pins = 'hold'", general).says();
    assert_eq!(says.matches("a condition on `readOnlyHint` needs approved definitions").count(), 1, "{says}");
    let shadow = folder("", "", general).0;
    let text = std::fs::read_to_string(shadow.path().join("witgate.toml")).unwrap();
    let shadowed = Folder::with(&text.replace("kind = 'rbac'", "kind = 'rbac'\nmode = 'shadow'"));
    assert!(shadowed.says().contains("needs approved definitions"), "{}", shadowed.says());
}

#[test]
fn a_condition_at_held_upstreams_is_accepted() {
    let held = folder("pins = 'hold'", "pins = 'hold'", ON_ROLE);
    assert!(held.load().is_ok(), "{}", held.says());
    // The other upstream has a pipeline of its own.
    let own = "pipeline = { anonymous = { roles = ['user'] }, authorize = ['plain'] }";
    let plain =
        format!("{ON_ROLE}\n[policies.plain]\nkind = 'rbac'\nconfig.roles.user = {{ allow = ['*'] }}");
    let apart = folder("pins = 'hold'", own, &plain);
    assert!(apart.load().is_ok(), "{}", apart.says());
}
