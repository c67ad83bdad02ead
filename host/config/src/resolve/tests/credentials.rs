//! `[credentials]`, and their use by upstreams.

use super::{Folder, good, says};
use crate::credentials::{OutboundSource, Retrieval, SecretPlace};

const PIPELINE: &str = "\n[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                        [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

/// An upstream that uses the credential `a`, which begins in the fourth line.
fn with(credential: &str) -> String {
    format!("[upstreams.u]\nurl = 'https://x/mcp'\ncredential = 'a'\n{credential}\n{PIPELINE}")
}

#[track_caller]
fn reports(config: &str, expected: &[&str]) {
    assert_eq!(says(config).lines().collect::<Vec<_>>(), expected, "{config}");
}

#[test]
fn a_credential_has_the_settings_of_its_kind() {
    reports(&with("[credentials.a]\nkind = 'static'\nvalue = { env = 'UPSTREAM_TOKEN' }"), &[]);
    reports(&with("[credentials.a]\nkind = 'basic'\nuser = 'me'\npassword = { file = 'secret' }"), &[]);
    reports(
        &with("[credentials.a]\nkind = 'static'"),
        &["witgate.toml:4:14: the credential `a` has no `value` (add `value = { env = \"NAME\" }`)"],
    );
    reports(
        &with("[credentials.a]\nkind = 'basic'\nuser = 'a:b'\npassword = { file = 'secret' }\nprefix = 'x'"),
        &[
            "witgate.toml:6:8: a user of Basic authentication has no colon and no control characters (correct the name)",
            "witgate.toml:8:10: `prefix` has no effect for a credential of this kind (leave it out)",
        ],
    );
    reports(
        &with("[credentials.a]\nkind = 'static'\nvalue = { env = 'UPSTREAM_TOKEN' }\nheader = 'Host'"),
        &["witgate.toml:7:10: Witgate sets this header itself: `Host` (name another one)"],
    );
}

#[test]
fn a_missing_secret_is_an_error_unless_it_is_optional() {
    reports(
        &with("[credentials.a]\nkind = 'static'\nvalue = { env = 'NOT_HERE_AT_ALL' }"),
        &[
            "witgate.toml:6:1: the environment variable `NOT_HERE_AT_ALL` is not set (set `NOT_HERE_AT_ALL` before Witgate starts, or read the secret from a `file`)",
        ],
    );
    for (source, place, absence) in [
        (
            "env = 'NOT_HERE_AT_ALL'",
            SecretPlace::Variable("NOT_HERE_AT_ALL".to_owned()),
            "the environment variable `NOT_HERE_AT_ALL` is not set or is empty",
        ),
        (
            "env = 'EMPTY'",
            SecretPlace::Variable("EMPTY".to_owned()),
            "the environment variable `EMPTY` is not set or is empty",
        ),
        ("file = 'absent'", SecretPlace::File, "its file does not exist"),
    ] {
        let config =
            with(&format!("[credentials.a]\nkind = 'static'\nvalue = {{ {source}, optional = true }}"));
        let warning = format!(
            "witgate.toml:4:14: the credential `a` is missing: {absence} (calls that need it are denied with `credential-missing` until then)"
        );
        reports(&config, &[&warning]);
        let credential = good(&config).upstreams.remove(0).credentials.own.unwrap();
        assert_eq!(credential.source, OutboundSource::Static(Retrieval::Missing(place)));
    }
    // An empty file was meant to hold a secret.
    reports(
        &with("[credentials.a]\nkind = 'static'\nvalue = { file = 'empty', optional = true }"),
        &["witgate.toml:6:1: the file `empty` is empty (write the secret into it)"],
    );
    // A source that is no source is an error in any case.
    reports(
        &with("[credentials.a]\nkind = 'static'\nvalue = { optional = true }"),
        &[
            "witgate.toml:6:1: nothing says where this secret comes from (write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`)",
        ],
    );
}

#[test]
fn an_upstream_names_an_existing_credential_that_it_can_use() {
    let credential = "[credentials.weather]\nkind = 'static'\nvalue = { env = 'UPSTREAM_TOKEN' }";
    let upstream = |rest: &str| format!("[upstreams.u]\n{rest}\n{credential}\n{PIPELINE}");
    let unused = "the credential `weather` is used nowhere (write `credential = \"NAME\"` at an upstream, or remove it)";
    reports(
        &upstream("url = 'http://x/mcp'\ncredential = 'wether'"),
        &[
            "witgate.toml:3:14: there is no credential `wether` (did you mean `weather`?)",
            &format!("witgate.toml:4:14: {unused}"),
        ],
    );
    reports(
        &upstream("own_tools = true\ncredential = 'weather'"),
        &["witgate.toml:3:14: `credential` has no effect for this upstream (leave it out)"],
    );
    reports(
        &upstream("url = 'http://x/sse'\ntransport = 'sse'\ncredential = 'weather'"),
        &[
            "witgate.toml:4:14: `credential` has no effect for HTTP+SSE (write it into `headers`, or have the server speak Streamable HTTP)",
        ],
    );
    reports(
        &upstream(
            "url = 'http://x/mcp'\ncredential = 'weather'\nheaders = { AUTHORIZATION = { env = 'UPSTREAM_TOKEN' } }",
        ),
        &[
            "witgate.toml:3:14: the header `authorization` has this credential and an entry in `headers` (leave one of them out, or give one another header)",
        ],
    );
    reports(
        &upstream("url = 'http://x/mcp'\nneeds = { get_weather = ['weather', 'other'] }"),
        &["witgate.toml:3:37: there is no credential `other` (add `[credentials.other]`)"],
    );
}

#[test]
fn no_credential_crosses_the_network_in_clear() {
    let clear = "a credential would cross the network in clear: this is plain HTTP (write an `https://` URL, or one of this machine)";
    let to = |url: &str| {
        let credential = "[credentials.a]\nkind = 'static'\nvalue = { env = 'UPSTREAM_TOKEN' }";
        format!("[upstreams.u]\nurl = '{url}'\ncredential = 'a'\n{credential}\n{PIPELINE}")
    };
    for local in ["http://127.0.0.1:8080/mcp", "http://[::1]/mcp", "http://localhost/mcp", "https://x/mcp"] {
        reports(&to(local), &[]);
    }
    for far in ["http://x/mcp", "http://10.0.0.1/mcp", "http://localhost.example.com/mcp"] {
        reports(&to(far), &[&format!("witgate.toml:2:7: {clear}")]);
    }
    let token =
        "[credentials.a]\nkind = 'exchange'\ntoken_url = 'http://idp.example.com/token'\nclient_id = 'gate'";
    assert!(says(&with(token)).contains(&format!("6:13: {clear}")), "{}", says(&with(token)));
    let grant = "[credentials.a]\nkind = 'oauth'\npreset = 'custom'\nclient_id = 'gate'\n\
                 authorize_url = 'http://idp.example.com/a'\ntoken_url = 'http://idp.example.com/t'";
    let said = says(&with(grant));
    assert!(said.contains(&format!("8:17: {clear}")) && said.contains(&format!("9:13: {clear}")), "{said}");
}

/// An upstream is not called without its credential because the credential is invalid.
#[test]
fn an_invalid_credential_breaks_the_upstreams_that_use_it() {
    let config = format!(
        "[upstreams.u]\nurl = 'http://x/mcp'\ncredential = 'a'\n[upstreams.v]\nurl = 'http://y/mcp'\n\
         [upstreams.w]\nurl = 'http://z/mcp'\nneeds = {{ t = ['a'] }}\n\
         [credentials.a]\nkind = 'static'\nvalue = {{ env = 'NOT_HERE_AT_ALL' }}{PIPELINE}"
    );
    let folder = Folder::with(&config);
    let environment = std::iter::empty::<(&str, &str)>().collect();
    let loaded = crate::resolve::load_parts(&folder.path(), &environment, crate::resolve::Strictness::Parts);
    let broken = loaded.unwrap().config.broken.upstreams;
    assert_eq!(broken.iter().map(String::as_str).collect::<Vec<_>>(), ["u", "w"]);
}

#[test]
fn a_credential_has_no_effect_on_the_place_of_an_upstream() {
    let place = |credential: &str| good(&with(credential)).upstreams.remove(0).place();
    let one = place("[credentials.a]\nkind = 'static'\nvalue = { env = 'UPSTREAM_TOKEN' }");
    assert_eq!(one, place("[credentials.a]\nkind = 'static'\nvalue = { file = 'secret' }"));
}

/// So a secret reaches its upstream while another setting waits for a restart.
#[test]
fn only_another_target_is_another_place_for_secrets() {
    let place = |settings: &str| {
        let credential = "[credentials.a]\nkind = 'static'\nvalue = { env = 'UPSTREAM_TOKEN' }";
        let config = format!("[upstreams.u]\ncredential = 'a'\n{settings}\n{credential}\n{PIPELINE}");
        let upstream = good(&config).upstreams.remove(0);
        (upstream.target.place(), upstream.place())
    };
    let (target, whole) = place("url = 'https://x/mcp'");
    let slower = place("url = 'https://x/mcp'\ntimeout_s = 7");
    assert!(slower.0 == target && slower.1 != whole, "{slower:?}");
    assert_ne!(place("url = 'https://y/mcp'").0, target);
}

const ENDPOINT: &str = "token_url = 'https://idp.example.com/token'\nclient_id = 'gate'\n";

#[test]
fn a_token_has_an_endpoint_and_a_client() {
    let secret = "client_secret = { env = 'UPSTREAM_TOKEN' }";
    reports(&with(&format!("[credentials.a]\nkind = 'client-credentials'\n{ENDPOINT}{secret}")), &[]);
    reports(
        &with("[credentials.a]\nkind = 'client-credentials'"),
        &[
            "witgate.toml:4:14: the credential `a` has no `token_url` (add `token_url = \"…\"`)",
            "witgate.toml:4:14: the credential `a` has no `client_id` (add `client_id = \"…\"`)",
            "witgate.toml:4:14: nothing proves to the authorization server that Witgate is the client of `a` (add `client_secret = { env = \"NAME\" }`, or `client_key = { file = \"PATH\" }`)",
        ],
    );
    reports(
        &with(&format!(
            "[credentials.a]\nkind = 'client-credentials'\n{ENDPOINT}client_key = {{ file = 'secret' }}\n\
             client_auth = 'post'\nscopes = ['a b']\nsubject = 'x'"
        )),
        &[
            "witgate.toml:8:1: this is not a private key in PEM (it begins with `-----BEGIN PRIVATE KEY-----`)",
            "witgate.toml:9:15: `client_auth` is the place of a `client_secret`, and there is none (leave it out)",
            "witgate.toml:10:11: `a b` is not a scope (write one scope, without spaces and quotes)",
            "witgate.toml:11:11: `subject` has no effect for a credential of this kind (leave it out)",
        ],
    );
}

/// Witgate asks a server for its eras in its own name.
#[test]
fn an_exchange_needs_the_eras_of_the_upstream() {
    let exchange = format!("[credentials.a]\nkind = 'exchange'\n{ENDPOINT}");
    reports(
        &with(&exchange),
        &[
            "witgate.toml:3:14: this credential is that of each caller, so Witgate cannot ask the server for its eras (add `eras`, with `\"stateful\"`, `\"stateless\"`, or both)",
        ],
    );
    reports(&with(&format!("eras = ['stateful']\n{exchange}")), &[]);
}

#[test]
fn a_signed_token_needs_a_key_and_an_audience() {
    reports(
        &with("[credentials.a]\nkind = 'signed'"),
        &[
            "witgate.toml:4:14: the credential `a` has no `audience` (add `audience = \"…\"`)",
            "witgate.toml:5:8: nothing says which key signs this token (add `[signing]` with a `key`)",
        ],
    );
}

/// The settings of a login at a provider.
fn grant(credential: &str) -> crate::credentials::GrantSettings {
    let config = format!("[credentials.a]\nkind = 'oauth'\nclient_id = 'id'\n{credential}");
    match &good(&with(&config)).credentials["a"].source {
        OutboundSource::Grant(grant) => (**grant).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_preset_has_the_peculiarities_of_its_provider() {
    let github = grant("preset = 'github'\nscopes = ['repo']\nclient_secret = { env = 'UPSTREAM_TOKEN' }");
    assert_eq!(github.token.token_url.as_str(), "https://github.com/login/oauth/access_token");
    assert!(github.is_endless && matches!(github.token.proof, crate::credentials::ClientProof::Post(_)));
    assert_eq!(github.account_url.unwrap().as_str(), "https://api.github.com/user");
    assert_eq!(github.redirect_uri.as_str(), "http://127.0.0.1/callback");
    assert!(github.state.ends_with("witgate.state"), "{}", github.state.display());
    let google = grant("preset = 'google'");
    let params: Vec<_> = google.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(params, ["access_type=offline", "prompt=consent"]);
    assert_eq!(google.token.proof, crate::credentials::ClientProof::None, "a public client");
    let entra = grant("preset = 'entra'\ntenant = 'contoso.example'\nscopes = ['User.Read']");
    assert_eq!(entra.token.scopes, ["User.Read", "offline_access"]);
    assert!(entra.names_scopes && entra.token.resource.is_none());
    assert_eq!(entra.redirect_uri.as_str(), "http://localhost/callback");
    let place = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0";
    assert_eq!(entra.authorize_url.as_str(), format!("{place}/authorize"));
}

#[test]
fn a_login_has_a_provider_and_ends_on_this_machine() {
    let oauth = |rest: &str| with(&format!("[credentials.a]\nkind = 'oauth'\nclient_id = 'id'\n{rest}"));
    reports(&oauth(""), &["witgate.toml:4:14: the credential `a` has no `preset` (add `preset = \"…\"`)"]);
    reports(
        &oauth("preset = 'entra'\ntenant = '../evil'"),
        &[
            "witgate.toml:8:10: `../evil` is not the id or the domain of a tenant (copy it from the Entra admin center)",
        ],
    );
    reports(
        &oauth("preset = 'github'\ntoken_url = 'https://evil.example.com'"),
        &[
            "witgate.toml:8:13: `token_url` has no effect beside a preset (leave it out, or write `preset = \"custom\"`)",
        ],
    );
    reports(
        &oauth("preset = 'github'\nredirect_uri = 'https://elsewhere.example.com/callback'"),
        &[
            "witgate.toml:8:16: `https://elsewhere.example.com/callback` does not lead to this machine over http (write one such as `http://localhost:8080/callback`, and register it at the provider)",
        ],
    );
}

#[test]
fn callers_connect_at_the_gateway_itself() {
    let oauth = |rest: &str| {
        with(&format!(
            "eras = ['stateful']\n[credentials.a]\nkind = 'oauth'\nclient_id = 'id'\npreset = 'github'\nper = 'principal'\n{rest}"
        ))
    };
    reports(&oauth(""), &[]);
    reports(&oauth("redirect_uri = 'https://gate.example.com/tools/connect/a/callback'"), &[]);
    reports(&oauth("redirect_uri = 'http://localhost:8788/connect/a/callback'"), &[]);
    reports(
        &oauth("redirect_uri = 'https://gate.example.com/connect/b/callback'"),
        &[
            "witgate.toml:10:16: `https://gate.example.com/connect/b/callback` does not end with `/connect/a/callback` (write one such as `https://mcp.example.com/connect/a/callback`, and register it at the provider)",
        ],
    );
    reports(
        &oauth("redirect_uri = 'http://gate.example.com/connect/a/callback'"),
        &[
            "witgate.toml:10:16: the answer of the provider would cross the network in clear: this is plain HTTP (write an `https://` URL, or one of this machine)",
        ],
    );
    let grant = |rest: &str| match &good(&oauth(rest)).credentials["a"].source {
        OutboundSource::Grant(grant) => (**grant).clone(),
        other => panic!("{other:?}"),
    };
    let own = grant("redirect_uri = 'http://localhost:8788/connect/a/callback'");
    assert_eq!(own.redirect_uri.as_str(), "http://127.0.0.1/callback", "a login from the terminal");
    assert_eq!(own.connect.unwrap().redirect_uri.unwrap().port(), Some(8788));
    assert_eq!(grant("").connect.unwrap().redirect_uri, None);
    assert!(grant("only_for_calls = true").connect.unwrap().only_for_calls);
    reports(
        &with("[credentials.a]\nkind = 'oauth'\nclient_id = 'id'\npreset = 'github'\nonly_for_calls = true"),
        &[
            "witgate.toml:8:18: `only_for_calls` has no effect unless each caller has an account of their own (leave it out, or set `per = \"principal\"`)",
        ],
    );
}

#[test]
fn a_page_for_accounts_knows_the_callers_of_all_its_upstreams() {
    let config = |second: &str| {
        format!(
            "[policies.k]\nkind = 'api-key'\nkeys = [{{ name = 'a', sha256 = '{digest}' }}]\n[policies.l]\nkind = \
             'api-key'\nkeys = [{{ name = 'a', sha256 = '{digest}' }}]\n[pipeline]\nauthenticate = ['k']\nauthorize = \
             ['r']\n[policies.r]\nkind = 'rbac'\nrules = [{{ subjects = ['*'], tools = ['*'] \
             }}]\n[credentials.a]\nkind = 'oauth'\nclient_id = 'id'\npreset = 'github'\nper = \
             'principal'\n[upstreams.u]\nurl = 'https://x/mcp'\neras = ['stateful']\ncredential = \
             'a'\n[upstreams.v]\nurl = 'https://x/mcp'\neras = ['stateful']\ncredential = 'a'\n{second}",
            digest = "0".repeat(64)
        )
    };
    let said = says(&config("pipeline = { authenticate = ['l'], authorize = ['r'] }"));
    let expected =
        "callers of `v` and of `u` connect their accounts at one page, and other policies authenticate them";
    assert!(said.contains(expected), "{said}");
    let said = says(&config("pipeline = { authenticate = ['k'], authorize = ['r'] }"));
    assert!(!said.contains(expected), "{said}");
}

#[test]
fn callers_over_stdio_connect_on_this_machine() {
    let config = |url: &str| {
        format!(
            "[server]\ntransport = 'stdio'\n{}",
            with(&format!(
                "eras = ['stateful']\n[credentials.a]\nkind = 'oauth'\nclient_id = 'id'\npreset = 'github'\nper = \
                 'principal'\nredirect_uri = '{url}/connect/a/callback'"
            ))
        )
    };
    for (url, is_here) in [
        ("http://localhost:8788", true),
        ("http://127.0.0.1:8788", true),
        ("https://gate.example.com", false),
        ("https://localhost:8788", false),
        ("http://localhost:0", false),
    ] {
        let said = says(&config(url));
        assert_eq!(
            !said.contains("over stdio, callers connect at a port of this machine"),
            is_here,
            "{said}"
        );
    }
}

/// Nobody knows the caller where a tool or a child process reads its credential.
#[test]
fn only_requests_over_http_carry_the_accounts_of_callers() {
    let oauth = "[credentials.a]\nkind = 'oauth'\nclient_id = 'id'\npreset = 'github'\nper = 'principal'";
    let upstream = |rest: &str| format!("[upstreams.u]\n{rest}\n{oauth}\n{PIPELINE}");
    reports(
        &upstream("url = 'https://x/mcp'\nneeds = { t = ['a'] }"),
        &[
            "witgate.toml:3:16: each caller has an account of their own for this credential, and only requests to a `url` can carry it (write it into `credential` of an upstream with a `url`, or set `per = \"shared\"`)",
        ],
    );
    reports(
        &upstream("command = ['server']\ncredential = 'a'"),
        &[
            "witgate.toml:3:14: `credential` is sent over HTTP, and this upstream is a child process (write it into `apis`, `token_files` or `env`)",
        ],
    );
    let of_each = "each caller has an account of their own for this credential, and only requests to a `url` can carry it (write it into `credential` of an upstream with a `url`, or set `per = \"shared\"`)";
    reports(
        &upstream("command = ['server']\napis = { A = { to = 'https://x', credential = 'a' } }"),
        &[&format!("witgate.toml:3:47: {of_each}")],
    );
    reports(
        &upstream("command = ['server']\ntoken_files = { A = 'a' }"),
        &[&format!("witgate.toml:3:21: {of_each}")],
    );
    reports(
        &format!(
            "{}\nstore = 'file'\n{PIPELINE}",
            upstream("url = 'https://x/mcp'\ncredential = 'a'\neras = ['stateless']")
                .trim_end_matches(PIPELINE)
                .trim_end()
        ),
        &[
            "witgate.toml:10:9: a file in clear has the tokens of one person, and each caller has an account of their own here (leave `store` out, or set `per = \"shared\"`)",
        ],
    );
    reports(
        &upstream(
            "url = 'https://x/mcp'\ncredential = 'a'\neras = ['stateless']\nresource = 'http://gate.example.com/mcp'",
        ),
        &[
            "witgate.toml:5:12: callers would connect their accounts over plain HTTP, at `http://gate.example.com` (set `resource` to the public `https://` URL)",
        ],
    );
}
