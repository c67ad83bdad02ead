//! Policies replaced while calls run: good candidates and their delay, refused ones and the reasons, and the fallback
//! for a component that is missing or fails.

mod cases;
mod confirmation;
mod faults;
mod held_back_pipelines;
mod many_changes;
mod refusals;
mod reloaded_endpoints;
mod reloads;
mod revocation;
mod rollback;
mod settings;
mod shadow;
mod signatures;
mod start;
mod takeover;
mod unwatched_files;
mod upstreams;

use std::fs;
use std::path::Path;

use serde_json::Value;
use witgate_tests::gateway::{Running, Setup};

use crate::caller::Upstream;

/// Users may greet, and may not call the error tool. `read-only` takes the same settings.
const ROLES: &str = r#"{ user = { allow = ["*"], deny = ["test_error_handling"] } }"#;

/// The limit is on the time that passes, also while others have the processors: on a busy machine
/// the default of 50 ms denies calls that no test means to be denied.
const PATIENT: &str = "limits = { timeout_ms = 20000 }";

/// An api-key authenticator with its store, and `rules` as the authorizer.
pub(crate) fn config(upstream: &Upstream, keys: &str, rules: &str) -> String {
    let limits = if keys.is_empty() { String::new() } else { format!("{PATIENT}\n") };
    format!(
        "[upstreams.fixture]\nurl = \"{}\"\n\
         [policies.keys]\nkind = \"api-key\"\n{keys}\n{limits}config = {{ store = \"keys.toml\" }}\n\
         [policies.rules]\nkind = \"rbac\"\n{rules}\n\
         [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n",
        upstream.url
    )
}

/// With components for both.
fn with_components(upstream: &Upstream) -> String {
    with_rules_at(upstream, "plugins/rbac.wasm")
}

/// With components for both, the authorizer somewhere else.
pub(crate) fn with_rules_at(upstream: &Upstream, file: &str) -> String {
    let rules = format!("component = \"{file}\"\n{PATIENT}\nconfig = {{ roles = {ROLES} }}");
    config(upstream, "component = \"plugins/api-key.wasm\"", &rules)
}

/// A key that has the role `user`.
fn user(setup: &Setup) -> String {
    setup.key(&["user", "--allow", "*", "--role", "user"])
}

/// The entry of one policy in `plugin list`.
pub(crate) fn policy(running: &Running, name: &str) -> Value {
    let list = running.plugins();
    let policies = list["policies"].as_array().unwrap();
    policies.iter().find(|policy| policy["name"] == name).unwrap_or_else(|| panic!("{list}")).clone()
}

/// Writes a file beside another and renames it over.
pub(crate) fn rename_over(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(&new, path).unwrap();
}

/// The same component with another digest: with a custom section added.
fn another(component: &[u8], name: u8) -> Vec<u8> {
    let mut bytes = component.to_vec();
    bytes.extend([0, 3, 1, b'x', name]);
    bytes
}
