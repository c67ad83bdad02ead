//! Arguments of tools that contain credentials.

use super::{Folder, good};
use crate::ArgumentSchema;

const PIPELINE: &str = "[upstreams.own]\nown_tools = true\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\nanonymous = { lists = ['*'] }\n";

fn says(argument: &str) -> String {
    let policy = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\nargument = ";
    Folder::with(&format!("{policy}{argument}\n{PIPELINE}")).says()
}

#[test]
fn an_argument_is_a_name_or_a_table() {
    let config = |argument: &str| {
        let policy = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\nargument = ";
        good(&format!("{policy}{argument}\n{PIPELINE}"))
    };
    let named = config("'auth_token'");
    let argument = named.policies["keys"].argument.as_ref().unwrap();
    assert_eq!((&*argument.name, argument.schema), ("auth_token", ArgumentSchema::Auto));
    assert!(argument.is_of("add"));
    let table = config("{ name = 'key', on = ['get_*', 'add'], schema = 'hide' }");
    let argument = table.policies["keys"].argument.as_ref().unwrap();
    assert_eq!((&*argument.name, argument.schema), ("key", ArgumentSchema::Hide));
    assert!(argument.is_of("add") && argument.is_of("get_a") && !argument.is_of("adds"));
    assert!(!table.policies["keys"].is_configured_as(&named.policies["keys"]));
    assert_eq!(table.upstreams[0].pipeline.shown_to_anonymous.len(), 1);
    assert_eq!(table.upstreams[0].pipeline.anonymous, Some(Vec::new()));
}

#[test]
fn invalid_arguments_are_refused() {
    for (argument, expected) in [
        (
            "7",
            "witgate.toml:4:12: `policies.keys.argument` has to be a string or a table, and this is a whole number",
        ),
        (
            "''",
            "witgate.toml:4:12: `` cannot be the name of an argument (write the name of an argument, such as `auth_token`)",
        ),
        ("{ on = ['*'] }", "`[policies.keys.argument]` has no `name`"),
        ("{ name = 'a', tools = ['*'] }", "unknown key `tools` in `[policies.keys.argument]`"),
        ("{ name = 'a', schema = 'show-it' }", "`policies.keys.argument.schema` cannot be `show-it`"),
        (
            "{ name = 'a', on = [] }",
            "witgate.toml:4:31: no tool has the argument: `on` is empty (name tools, or leave `on` out for all tools)",
        ),
        (
            "{ name = 'a', on = ['get_*', 'prompt:*'] }",
            "witgate.toml:4:41: `prompt:*` is no pattern of tools (write the name of a tool, or a pattern such as `get_*`)",
        ),
        ("{ name = 'a', on = [''] }", "`` is no pattern of tools: an empty pattern matches nothing"),
    ] {
        let said = says(argument);
        assert!(said.contains(expected), "{argument}: {said}");
    }
}

#[test]
fn a_server_gets_a_value_of_its_own() {
    let config = |inject: &str, other: &str| {
        format!(
            "[policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             argument = {{ name = 'k', inject = {inject} }}\n\
             [policies.more]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             argument = {{ name = '{other}', inject = {{ file = 'secret' }} }}\n\
             {PIPELINE}"
        )
        .replace("['keys']\nauthorize", "['keys', 'more']\nauthorize")
    };
    let loaded = good(&config("{ env = 'UPSTREAM_TOKEN' }", "l"));
    let argument = loaded.policies["keys"].argument.as_ref().unwrap();
    assert_eq!(argument.inject.as_ref().unwrap().expose(), "sesame");
    assert!(!format!("{argument:?}").contains("sesame"));
    for (inject, expected) in [
        ("{ env = 'ABSENT' }", "witgate.toml:4:26: the environment variable `ABSENT` is not set"),
        ("'plain'", "4:35: a secret is in the file as plain text: `policies.keys.argument.inject`"),
        ("{ exec = ['true'] }", "4:26: this secret cannot come from a program"),
    ] {
        let said = Folder::with(&config(inject, "l")).says();
        assert!(said.contains(expected), "{inject}: {said}");
    }
    for (url, is_refused) in [
        ("http://mcp.example.com/mcp", true),
        ("https://mcp.example.com/mcp", false),
        ("http://127.0.0.1:1/mcp", false),
    ] {
        let upstream = format!("[upstreams.own]\nurl = '{url}'");
        let text =
            config("{ env = 'UPSTREAM_TOKEN' }", "l").replace("[upstreams.own]\nown_tools = true", &upstream);
        let said = Folder::with(&text).says();
        assert_eq!(said.contains("a credential would cross the network in clear"), is_refused, "{said}");
    }
    let two = Folder::with(&config("{ env = 'UPSTREAM_TOKEN' }", "k")).says();
    assert!(two.contains("8:26: the server would get another value of `k` than that of `keys`"), "{two}");
}

#[test]
fn an_argument_needs_a_policy_that_judges_it_and_a_pipeline_that_shows_it() {
    let said = |policies: &str, pipeline: &str| {
        Folder::with(&format!("[upstreams.own]\nown_tools = true\n{policies}\n[pipeline]\n{pipeline}\n"))
            .says()
    };
    let rules =
        "[policies.rules]\nkind = 'rbac'\nargument = 'a'\nconfig = { roles = { r = { allow = ['*'] } } }";
    let of_rules = said(rules, "authorize = ['rules']\nanonymous = { roles = ['r'] }");
    assert!(
        of_rules.contains("5:12: a policy of the kind `rbac` judges no credentials in arguments"),
        "{of_rules}"
    );
    let keys = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }";
    let no_argument =
        said(keys, "authenticate = ['keys']\nauthorize = ['keys']\nanonymous = { lists = ['*'] }");
    assert!(no_argument.contains("9:23: no policy of this pipeline has an `argument`"), "{no_argument}");
    let not_shown = said(&format!("{keys}\nargument = 'a'"), "authenticate = ['keys']\nauthorize = ['keys']");
    assert!(
        not_shown.contains("8:16: clients that only have the argument of `keys` cannot connect"),
        "{not_shown}"
    );
    let resources = said(
        &format!("{keys}\nargument = 'a'"),
        "authenticate = ['keys']\nauthorize = ['keys']\nanonymous = { lists = ['resource:x:*'] }",
    );
    assert!(resources.contains("`resource:x:*` is no pattern of tools"), "{resources}");
}
