//! `issue_token` of upstreams: only settings with which a token cannot do more than its credential.

use secrecy::ExposeSecret;

use super::{Folder, good};
use crate::token_issue::IssuingKey;

const UPSTREAM: &str = "[upstreams.own]\ncommand = ['/bin/true']\nown_tools = ['issue_token']\nissue_token = { from = 'keys', policy = 'tokens', max_s = 600 }";
const TOKENS: &str =
    "keys = ['session'], algorithms = ['HS256'], issuer = 'https://mcp.example.com', leeway_s = 5";
const RULES: &str = "roles = { user = { allow = ['*'] } }";

/// A configuration with these parts.
fn config(upstream: &str, tokens: &str, rules: &str, authorize: &str, more: &str) -> String {
    format!(
        "{upstream}\n[policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
         [policies.tokens]\nkind = 'jwt'\nconfig = {{ {tokens} }}\n\
         [policies.rules]\nkind = 'rbac'\nconfig = {{ {rules} }}\n\
         [keys.session]\nsecret = {{ file = 'long' }}\n\
         [pipeline]\nauthenticate = ['keys', 'tokens']\nauthorize = {authorize}\n{more}"
    )
}

fn says(config: &str) -> String {
    let folder = Folder::with(config);
    super::write_private(&folder.path().with_file_name("long"), "0123456789abcdef0123456789abcdef");
    folder.says()
}

#[test]
fn a_token_has_the_key_the_issuer_and_the_resource() {
    let text = config(UPSTREAM, TOKENS, RULES, "['rules']", "")
        .replace("{ file = 'long' }", "{ env = 'UPSTREAM_TOKEN' }");
    let loaded = good(&text);
    let issue = loaded.upstreams[0].token_issue.as_ref().unwrap();
    let IssuingKey::Hs256(secret) = &issue.key else { panic!("{issue:?}") };
    assert_eq!(secret.expose_secret(), "sesame");
    assert_eq!((&*issue.from, &*issue.policy), ("keys", "tokens"));
    assert_eq!((issue.max.as_secs(), issue.leeway.as_secs()), (600, 5));
    assert_eq!(
        (issue.issuer.as_str(), &issue.audience),
        ("https://mcp.example.com", &loaded.upstreams[0].resource)
    );
    assert_eq!(issue.roles_claim, ["roles"]);
    assert!(!format!("{issue:?}").contains("sesame"));
}

#[test]
fn an_own_tool_and_its_settings_belong_together() {
    let without = UPSTREAM.replace("issue_token = {", "# {");
    let said = says(&config(&without, TOKENS, RULES, "['rules']", ""));
    assert!(said.contains("3:13: nothing says for whom `issue_token` makes tokens"), "{said}");
    let not_offered = UPSTREAM.replace("own_tools = ['issue_token']", "own_tools = ['health_check']");
    let said = says(&config(&not_offered, TOKENS, RULES, "['rules']", ""));
    assert!(said.contains("4:1: the own tool `issue_token` is not offered"), "{said}");
    for (from, policy, wrong) in [
        ("rules", "tokens", "`rules` is no enforced policy of the kind `api-key` or `basic`"),
        ("tokens", "tokens", "`tokens` is no enforced policy of the kind `api-key` or `basic`"),
        ("absent", "tokens", "`absent` is no enforced policy"),
        ("keys", "keys", "`keys` is no enforced policy of the kind `jwt`"),
    ] {
        let upstream =
            UPSTREAM.replace("'keys'", &format!("'{from}'")).replace("'tokens'", &format!("'{policy}'"));
        let said = says(&config(&upstream, TOKENS, RULES, "['rules']", ""));
        assert!(said.contains(wrong), "{from} {policy}: {said}");
    }
    let shadow = config(UPSTREAM, TOKENS, RULES, "['rules']", "")
        .replace("kind = 'jwt'", "kind = 'jwt'\nmode = 'shadow'");
    assert!(says(&shadow).contains("`tokens` is no enforced policy of the kind `jwt`"));
}

#[test]
fn what_could_judge_a_token_otherwise_is_refused() {
    let more = "a token could do more than the credential that it was asked with: ";
    for (rules, authorize, rest, expected) in [
        (RULES, "['keys']", "", "`keys` limits each credential by its own patterns"),
        (RULES, "['rules', 'keys']", "", "`keys` limits each credential by its own patterns"),
        (
            "roles = { user = { allow = ['*'], conditions = [{ on = '*', claim = 'iss', equals = 'x' }] } }",
            "['rules']",
            "",
            "`rules` has conditions on claims",
        ),
        (
            "roles = { user = { allow = ['*'] } }, conditions = [{ on = '*', claim = 'iss', equals = 'x' }]",
            "['rules']",
            "",
            "`rules` has conditions on claims",
        ),
        (
            "roles = { user = { allow = ['*'] } }, subjects = [{ policy = 'tokens', roles = ['user'] }]",
            "['rules']",
            "",
            "`rules` has `subjects` of `tokens`",
        ),
        (
            "roles = { user = { deny = ['*'] } }, subjects = [{ policy = 'keys', subject = 'ada', roles = ['user'] }]",
            "['rules']",
            "",
            "`rules` has `subjects` of `keys`",
        ),
        (
            RULES,
            "['rules', 'own']",
            "[policies.own]\nkind = 'custom'\ncomponent = 'p.wasm'\n",
            "`own` is of the kind `custom`",
        ),
        (
            RULES,
            "['rules']",
            "[limits.slow]\nrate = '1/min'\nkinds = ['api-key']\n",
            "`slow` limits the kind `api-key`, and not `jwt`",
        ),
    ] {
        let said = says(&config(UPSTREAM, TOKENS, rules, authorize, rest));
        assert!(said.contains(&format!("{more}{expected}")), "{expected}: {said}");
    }
    let both = "[limits.slow]\nrate = '1/min'\nkinds = ['api-key', 'jwt']\n";
    let said = says(&config(UPSTREAM, TOKENS, RULES, "['rules']", both));
    assert!(!said.contains(more), "{said}");
}

#[test]
fn the_accepting_policy_is_only_for_these_tokens() {
    for (tokens, expected) in [
        ("keys = ['session'], algorithms = ['HS256']", "need a policy with one text in `issuer`"),
        (
            "keys = ['session'], algorithms = ['HS256'], issuer = ['https://a.example', 'https://b.example']",
            "need a policy with one text in `issuer`",
        ),
        (
            "keys = ['session'], algorithms = ['HS256', 'HS512'], issuer = 'https://a.example'",
            "need a policy with one text in `algorithms`",
        ),
        (
            "keys = ['session', 'other'], algorithms = ['HS256'], issuer = 'https://a.example'",
            "need a policy with one text in `keys`",
        ),
        (
            "keys = ['session'], algorithms = ['ES256'], issuer = 'https://a.example'",
            "`session` cannot sign tokens for `issue_token` with ES256",
        ),
    ] {
        let said = says(&config(UPSTREAM, tokens, RULES, "['rules']", ""));
        assert!(said.contains(expected), "{tokens}: {said}");
    }
    for setting in ["audience = 'none'", "dpop = 'required'", "required_claims = ['x']", "header = 'X-Token'"]
    {
        let said = says(&config(UPSTREAM, &format!("{TOKENS}, {setting}"), RULES, "['rules']", ""));
        let name = setting.split(' ').next().unwrap();
        assert!(
            said.contains(&format!("a policy for tokens of `issue_token` cannot have `{name}`")),
            "{said}"
        );
    }
    for (more, expected) in [
        (
            "[policies.others]\nkind = 'jwt'\nconfig = { keys = ['session'], algorithms = ['HS256'] }\n",
            "the policy `others` has the same key",
        ),
        (
            "[policies.others]\nkind = 'jwt'\nconfig = { keys = [{ secret = { file = 'long' } }], algorithms = ['HS256'] }\n",
            "the policy `others` has the same key",
        ),
        ("[keys.twin]\nsecret = { file = 'long' }\n", "`twin` is the same key"),
    ] {
        let said = says(&config(UPSTREAM, TOKENS, RULES, "['rules']", more));
        assert!(said.contains(&format!("could be good elsewhere: {expected}")), "{more}: {said}");
    }
}
