//! `apis` and `token_files` of upstreams, and the file of a person's tokens.

use super::{good, says};
use crate::credentials::OutboundSource;

const REST: &str = "\n[credentials.weather]\nkind = 'static'\nvalue = { env = 'UPSTREAM_TOKEN' }\n\
                    [credentials.pair]\nkind = 'basic'\nuser = 'me'\npassword = { file = 'secret' }\n\
                    [credentials.exchange]\nkind = 'exchange'\ntoken_url = 'https://idp.example.com/token'\n\
                    client_id = 'gate'\n\
                    [upstreams.u]\nurl = 'https://x/mcp'\ncredential = 'exchange'\neras = ['stateful']\n\
                    [upstreams.v]\nurl = 'https://x/mcp'\ncredential = 'pair'\n\
                    [upstreams.w]\nurl = 'https://x/mcp'\ncredential = 'weather'\n\
                    [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                    [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

/// An upstream whose settings begin in the third line.
fn child(settings: &str) -> String {
    format!("[upstreams.child]\ncommand = ['cat']\n{settings}{REST}")
}

#[track_caller]
fn reports(settings: &str, expected: &[&str]) {
    assert_eq!(says(&child(settings)).lines().collect::<Vec<_>>(), expected, "{settings}");
}

#[test]
fn a_process_gets_apis_and_token_files() {
    let settings = "apis = { A = { to = 'https://a.example.com/v1', credential = 'weather' }, \
                    B = { to = 'http://127.0.0.1:8080', credential = 'pair' } }\n\
                    token_files = { TOKEN_FILE = 'weather' }";
    reports(settings, &[]);
    let config = good(&child(settings));
    let child = config.upstreams.iter().find(|upstream| upstream.name == "child").unwrap();
    let credentials = &child.credentials.of_children;
    assert_eq!(credentials.apis["A"].to.as_str(), "https://a.example.com/v1");
    assert_eq!(&*credentials.apis["B"].credential.name, "pair");
    assert_eq!(&*credentials.token_files["TOKEN_FILE"].name, "weather");
    assert!(credentials.folder.ends_with("witgate.state/witgate-tokens"), "{}", credentials.folder.display());
}

#[test]
fn an_api_is_a_safe_place_with_a_credential_of_its_own() {
    let api = |to: &str, credential: &str| {
        format!("apis = {{ A = {{ to = '{to}', credential = '{credential}' }} }}")
    };
    for (to, message) in [
        (
            "http://a.example.com",
            "a credential would cross the network in clear: this is plain HTTP (write an `https://` URL, or one of this machine)",
        ),
        (
            "https://a.example.com/?key=1",
            "the URL of an API is an origin and a path, without user, query and fragment (write one such as `https://api.example.com/v1`)",
        ),
        (
            "https://169.254.169.254/latest",
            "this address is link-local, where clouds have their metadata (write the URL of the API)",
        ),
    ] {
        reports(&api(to, "weather"), &[&format!("witgate.toml:3:21: {message}")]);
    }
    let good = "https://a.example.com";
    reports(
        &api(good, "wether"),
        &["witgate.toml:3:59: there is no credential `wether` (did you mean `weather`?)"],
    );
    reports(
        &api(good, "exchange"),
        &[
            "witgate.toml:3:59: this credential is made from the tokens of callers, and a child process has no caller (choose a credential of another kind)",
        ],
    );
    reports(
        "token_files = { F = 'pair' }",
        &[
            "witgate.toml:3:21: a file has one token or secret, and this credential is a user with a password (use `apis`, or write both into `env`)",
        ],
    );
}

#[test]
fn a_variable_has_one_value() {
    let two = |at: &str| {
        format!(
            "witgate.toml:{at}: the environment variable `A` has two values (leave one of them out, or give it another name)"
        )
    };
    reports("env = { A = 'x' }\ntoken_files = { A = 'weather' }", &[&two("4:21")]);
    reports(
        "apis = { A = { to = 'https://a', credential = 'weather' } }\ntoken_files = { A = 'weather' }",
        &[&two("4:21")],
    );
    reports(
        "token_files = { 'A=B' = 'weather' }",
        &["witgate.toml:3:25: the name of an environment variable has no `=`: `A=B` (correct the name)"],
    );
}

#[test]
fn an_upstream_without_a_process_has_neither() {
    let config = format!("[upstreams.child]\nurl = 'https://x/mcp'\ntoken_files = {{ A = 'weather' }}{REST}");
    assert_eq!(
        says(&config),
        "witgate.toml:3:1: `token_files` is for child processes, and this upstream has no `command` (leave it out, or use `credential`)\n"
    );
}

/// A credential for another place is not sent to this one before a restart.
#[test]
fn another_api_is_another_place_and_another_credential_is_not() {
    let place = |to: &str, credential: &str| {
        let settings = format!("apis = {{ A = {{ to = '{to}', credential = '{credential}' }} }}");
        let config = good(&child(&settings));
        config.upstreams.iter().find(|upstream| upstream.name == "child").unwrap().place()
    };
    let one = place("https://a.example.com", "weather");
    assert_eq!(one, place("https://a.example.com", "pair"));
    assert_ne!(one, place("https://b.example.com", "weather"));
}

fn grant(settings: &str) -> String {
    format!(
        "[upstreams.g]\nurl = 'https://x/mcp'\ncredential = 'g'\n[credentials.g]\nkind = 'oauth'\npreset = 'github'\n\
         client_id = 'id'\n{settings}{REST}"
    )
}

#[test]
fn the_tokens_of_a_login_can_be_in_a_file() {
    let file = |settings: &str| match &good(&grant(settings)).credentials["g"].source {
        OutboundSource::Grant(grant) => grant.file.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(file(""), None);
    assert!(file("store = 'file'\ntoken_file = 'tokens.json'").unwrap().ends_with("tokens.json"));
    let said = says(&grant("token_file = 'tokens.json'"));
    assert!(said.contains("8:14: `token_file` has no effect without `store = \"file\"`"), "{said}");
    let said = says(&grant("store = 'file'\ntoken_file = '~/x'"));
    assert!(said.contains("9:14: `~` cannot be resolved"), "{said}");
    let other = "store = 'file'\ntoken_file = 'a'\n[upstreams.h]\nurl = 'https://x/mcp'\ncredential = 'h'\n\
                 [credentials.h]\nkind = 'oauth'\npreset = 'github'\nclient_id = 'id'\nstore = 'file'\ntoken_file = 'a'";
    let said = says(&grant(other));
    assert!(said.contains("the credentials `g` and `h` have the same file for their tokens"), "{said}");
}
