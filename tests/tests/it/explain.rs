//! Reasons for decisions: those of a running gateway as they are made, and explanations; and what is found about rules.

mod differences;
mod explanations;
mod lint;
mod trace;

use witgate_tests::gateway::Setup;

/// A configuration for `own_tools` with API keys and roles.
fn config(setup: &Setup, rest: &str) {
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [policies.roles]\nkind = 'rbac'\n\
             config.roles.user = {{ allow = ['echo'], conditions = [{{ on = 'echo', argument = '/text', matches = 'a*' }}] }}\n\
             config.roles.admin = {{ allow = ['*'] }}\n\
             config.scopes = {{ add = ['math'] }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['roles']\n{rest}\n"
        ),
    );
}
