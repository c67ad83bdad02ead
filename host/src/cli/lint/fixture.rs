//! Configurations and lists for the tests of lints.

use super::finding::{LintCheck, LintFinding};
use super::scene::LintScene;
use super::snapshot::{IssuerSnapshot, ListSnapshot};
use witgate_config::environment::Environment;
use witgate_config::resolve;

/// The lists of the upstream `files`.
pub(in crate::cli) const LISTS: &str = r#"{
    "tools": [
        { "name": "get_sum", "inputSchema": { "type": "object" } },
        { "name": "get_rows", "inputSchema": { "type": "object", "properties": {
            "limit": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 10 },
            "tables": { "type": "array", "items": { "type": "string" } }
        } } },
        { "name": "echo", "inputSchema": { "type": "object", "properties": {}, "additionalProperties": true } },
        { "name": "pay", "inputSchema": {
            "type": "object",
            "required": ["amount", "currency"],
            "properties": { "amount": { "type": "number" }, "currency": { "type": "string", "enum": ["EUR", "USD"] } }
        } },
        { "name": "drop_all", "annotations": { "destructiveHint": true } },
        { "name": "chart", "_meta": { "ui": { "resourceUri": "ui://chart" } } }
    ],
    "prompts": [{ "name": "hello" }],
    "resources": [{ "uri": "file:///a" }, { "uri": "ui://chart" }],
    "resource_templates": [{ "uriTemplate": "db://rows/{id}" }],
    "rate_limit": { "count": 100, "seconds": 60 }
}"#;

/// A key store: `ci` with the role `admin`, and `ada` with the role `user`.
pub(super) const KEYS: &str = "version = 1\n\
    [[keys]]\nname = 'ci'\nid = 'a'\nsha256 = '1111111111111111111111111111111111111111111111111111111111111111'\n\
    created = 2026-01-01T00:00:00Z\nroles = ['admin']\nallow = ['get_*', 'get_sum']\n\
    [[keys]]\nname = 'ada'\nid = 'b'\nsha256 = '2222222222222222222222222222222222222222222222222222222222222222'\n\
    created = 2026-01-01T00:00:00Z\nroles = ['user']\nallow = ['*']\n";

/// A configuration for callers without a credential, with these roles.
pub(in crate::cli) fn with_roles(roles: &str) -> String {
    format!(
        "[upstreams.files]\nown_tools = true\n[pipeline]\nanonymous = {{ roles = ['user'] }}\nauthorize = ['roles']\n\
         [policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\n{roles}\n"
    )
}

/// The same configuration at an upstream whose definitions are held.
pub(super) fn held(text: &str) -> String {
    text.replace("own_tools = true\n", "own_tools = true\npins = 'hold'\n")
}

/// The same with one condition.
pub(super) fn condition(condition: &str) -> String {
    with_roles(&format!("user = {{ allow = ['*'], conditions = [{{ {condition} }}] }}"))
}

/// A configuration for callers with a key of [`KEYS`], with these roles.
pub(in crate::cli) fn with_keys(roles: &str) -> String {
    format!(
        "[upstreams.files]\nown_tools = true\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys', 'roles']\n\
         [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
         [policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\n{roles}\n"
    )
}

/// A configuration for callers with a token, with these further settings of the rules.
pub(in crate::cli) fn with_tokens(settings: &str) -> String {
    format!(
        "[upstreams.files]\nown_tools = true\n[pipeline]\nauthenticate = ['idp']\nauthorize = ['roles']\n\
         [policies.idp]\nkind = 'jwt'\nconfig = {{ algorithms = ['ES256'], issuer = 'https://idp.example' }}\n\
         [policies.roles]\nkind = 'rbac'\nconfig.roles.user = {{ allow = ['*'] }}\n{settings}\n"
    )
}

/// The scene of a configuration, without lists.
pub(in crate::cli) fn scene(text: &str) -> LintScene {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.toml"), KEYS).unwrap();
    let path = folder.path().join("witgate.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = resolve::load(Some(&path), &Environment::default());
    LintScene::new(loaded.unwrap_or_else(|faults| panic!("{text}\n{faults:#?}")).config)
}

/// The findings of one lint. `lists` are those of the upstream `files`.
pub(super) fn found(check: LintCheck, text: &str, lists: &str) -> Vec<LintFinding> {
    let mut snapshot = ListSnapshot::default();
    snapshot.upstreams.insert("files".to_owned(), serde_json::from_str(lists).unwrap());
    (check.find)(&scene(text).with(snapshot))
}

/// The same with the scopes that an issuer offers.
pub(super) fn found_with_issuer(
    check: LintCheck,
    text: &str,
    issuer: &str,
    scopes: Option<&[&str]>,
) -> Vec<LintFinding> {
    let scopes_supported = scopes.map(|scopes| scopes.iter().map(|scope| (*scope).to_owned()).collect());
    let mut snapshot = ListSnapshot::default();
    snapshot.issuers.insert(issuer.to_owned(), IssuerSnapshot { scopes_supported });
    (check.find)(&scene(text).with(snapshot))
}
