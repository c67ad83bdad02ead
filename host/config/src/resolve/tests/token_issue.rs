//! `issue_token` of upstreams: only settings with which a token cannot do more than its credential.

use secrecy::ExposeSecret;
use witgate_base::signing::{PublishedKeys, Signer};
use witgate_testing::keys::{PRIVATE, PUBLIC};

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
fn settings_that_judge_a_token_otherwise_are_refused() {
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
            "roles = { user = { allow = ['*'] } }, scopes = { '*' = ['s'] }, unscoped_policies = ['tokens']",
            "['rules']",
            "",
            "`rules` needs scopes of `keys` and, by `unscoped_policies`, none of `tokens`",
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
    for unscoped in ["['keys', 'tokens']", "['keys']", "['others']"] {
        let rules = format!("{RULES}, scopes = {{ '*' = ['s'] }}, unscoped_policies = {unscoped}");
        let said = says(&config(UPSTREAM, TOKENS, &rules, "['rules']", ""));
        assert!(!said.contains(more), "{unscoped}: {said}");
    }
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

#[test]
fn the_key_is_nowhere_else_in_any_form() {
    let tokens = TOKENS.replace("HS256", "ES256");
    let says = |more: &str| {
        let text = config(UPSTREAM, &tokens, RULES, "['rules']", more)
            .replace("secret = { file = 'long' }", "pem = { file = 'private' }");
        let folder = Folder::with(&text);
        let signer = Signer::new(String::new(), &PRIVATE.into()).unwrap();
        let set = PublishedKeys::default();
        set.publish([signer.public()]);
        let set = String::from_utf8(set.document().unwrap().to_vec()).unwrap();
        for (name, content) in [("private", PRIVATE), ("public", PUBLIC), ("set.json", &set)] {
            super::write_private(&folder.path().with_file_name(name), content);
        }
        folder.says()
    };
    let said = says("");
    assert!(!said.contains("issue_token"), "{said}");
    let inline = |key: &str| {
        format!(
            "[policies.others]\nkind = 'jwt'\nconfig = {{ keys = [{key}], algorithms = ['ES256'], issuer = 'https://a.example' }}\n"
        )
    };
    for (more, expected) in [
        ("[keys.twin]\npem = { file = 'public' }\n".to_owned(), "`twin` is"),
        ("[keys.twin]\npem = { file = 'private' }\n".to_owned(), "`twin` is"),
        ("[keys.twin]\njwks_file = 'set.json'\n".to_owned(), "`twin` is"),
        (inline("{ pem = { file = 'public' } }"), "the policy `others` has"),
        (inline("{ jwks_file = 'set.json' }"), "the policy `others` has"),
        (
            "[policies.others]\nkind = 'oauth2-introspection'\nconfig = { endpoint = 'https://a.example/i', client_id = 'c', client_key = { file = 'private' } }\n"
                .to_owned(),
            "the policy `others` has",
        ),
        (
            "[signing]\nissuer = 'https://a.example'\nkey = { file = 'private' }\n".to_owned(),
            "`[signing]` has",
        ),
        (
            "[credentials.api]\nkind = 'client-credentials'\ntoken_url = 'https://a.example/t'\nclient_id = 'c'\nclient_key = { file = 'private' }\n"
                .to_owned(),
            "the credential `api` has",
        ),
    ] {
        let said = says(&more);
        assert!(said.contains(&format!("could be good elsewhere: {expected} the same key")), "{more}: {said}");
    }
}

#[test]
fn two_upstreams_do_not_share_tokens() {
    let people = "[policies.people]\nkind = 'basic'\nconfig = { users = 'keys.toml' }\n";
    let other = |rest: &str| {
        let upstream = format!("[upstreams.other]\ncommand = ['/bin/true']\n{rest}\n");
        let text = config(UPSTREAM, TOKENS, RULES, "['rules']", &format!("{people}{upstream}"));
        says(&text.replace("['keys', 'tokens']", "['keys', 'tokens', 'people']"))
    };
    let issuing = |from: &str| {
        format!("own_tools = ['issue_token']\nissue_token = {{ from = '{from}', policy = 'tokens' }}")
    };
    let merged = "`tokens` accepts tokens for callers of `people` already, by the upstream `other`";
    assert!(other(&issuing("people")).contains(merged), "{}", other(&issuing("people")));
    assert!(!other(&issuing("keys")).contains("already"));
    let resource = "resource = 'https://mcp.example.com/own/mcp'";
    let both = "would be good for `other` as well";
    let said = other(resource);
    assert!(!said.contains(both), "{said}");
    let text =
        config(&UPSTREAM.replace("command", &format!("{resource}\ncommand")), TOKENS, RULES, "['rules']", "");
    let said = says(&format!("{text}[upstreams.other]\ncommand = ['/bin/true']\n{resource}\n"));
    assert!(said.contains(both), "{said}");
}

#[test]
fn tokens_that_last_long_can_be_revoked() {
    let long = UPSTREAM.replace("max_s = 600", "max_s = 3601");
    let wrong = "tokens that last longer than 3600 seconds could not be revoked: `tokens` has no `revoked`";
    let said = says(&config(&long, TOKENS, RULES, "['rules']", ""));
    assert!(said.contains(wrong), "{said}");
    let hour = UPSTREAM.replace("max_s = 600", "max_s = 3600");
    assert!(!says(&config(&hour, TOKENS, RULES, "['rules']", "")).contains(wrong));
    let revocable = format!("{TOKENS}, revoked = 'empty'");
    assert!(!says(&config(&long, &revocable, RULES, "['rules']", "")).contains(wrong));
}
