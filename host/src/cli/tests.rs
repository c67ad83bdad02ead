use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use jsonwebtoken::{DecodingKey, Validation, decode};

use super::{Cli, Context, Exit, run};
use crate::cli::terminal::{Terminal, table};
use witgate_config::environment::Environment;
use witgate_config::key_store::KeyStore;
use witgate_config::resolve::load;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

fn runs(folder: &Path, line: &str, variables: &[(&str, &str)]) -> Exit {
    let line = line.replace("DIR", folder.to_str().unwrap());
    run(parse(&line).unwrap(), variables.iter().copied().collect())
}

#[test]
fn the_definition_of_the_command_line_is_valid() {
    Cli::command().debug_assert();
}

#[test]
fn common_flags_may_be_before_or_after_the_command() {
    for line in [
        "witgate --config a.toml --json key list",
        "witgate key --config a.toml list --json",
        "witgate key list --json --config a.toml",
    ] {
        let cli = parse(line).unwrap();
        assert_eq!((cli.config, cli.json), (Some(PathBuf::from("a.toml")), true), "{line}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for line in [
        "witgate bogus",
        "witgate key",
        "witgate key create",
        "witgate key create a --expires soon",
        "witgate key create a --expires 0s",
        "witgate key rotate a --expires 500ms",
        "witgate key import a --preset chapter-7",
        "witgate init --client emacs",
        "witgate init --import a.json --name b",
        "witgate key import",
        "witgate key import a --skip --update",
        "witgate key import --env =a",
        "witgate --config",
        "witgate wrap",
        "witgate wrap --",
        "witgate wrap server",
        "witgate serve --log-level debgu",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn every_documented_command_exists() {
    for line in [
        "witgate",
        "witgate serve",
        "witgate serve --log-level DEBUG",
        "witgate wrap --env-file .env -- server",
        "witgate --env-file .env serve",
        "witgate wrap -- server --flag",
        "witgate wrap --log-level warning --env TOKEN --env URL -- server",
        "witgate check",
        "witgate init --force --builtin",
        "witgate init --command python3 server.py --server-name chat --client kiro",
        "witgate init --url http://127.0.0.1:9000/mcp --client vscode",
        "witgate init --import api_keys.json --preset chapter-6 --weak -- npx -y server",
        "witgate status --json",
        "witgate reload",
        "witgate reload --check --json",
        "witgate plugin export rbac jwt --to DIR --force",
        "witgate demo --once",
        "witgate key create NAME --allow get_* --deny P --role R --scope S --expires 30d --json --policy keys",
        "witgate key list --store keys.toml",
        "witgate key revoke a",
        "witgate key rotate a --overlap 7d --format hex64 --length 96",
        "witgate key import f.json",
        "witgate key import - --skip --dry-run --lenient --weak",
        "witgate key import --env MCP_API_KEY=default --allow * --update",
        "witgate key create NAME --format hex64 --length 64",
        "witgate key check -",
        "witgate key check KEY --store keys.toml",
        "witgate token issue --sub a --role b --scope c --audience d --expires 1h --claim k=1",
        "witgate token revoke --jti a --issuer https://idp.example.com --policy b",
        "witgate token verify -",
        "witgate plugin list",
        "witgate plugin inspect a.wasm",
        "witgate limits --json",
        "witgate lockout list",
        "witgate lockout clear 192.0.2.7",
        "witgate lockout clear",
        "witgate peers deny 192.0.2.0/24",
        "witgate peers allow 192.0.2.0/24",
        "witgate peers list",
        "witgate config schema",
        "witgate config show",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn a_flag_overrides_its_environment_variable() {
    let context = |config: Option<&str>| Context {
        config: config.map(PathBuf::from),
        environment: [("WITGATE_CONFIG", "variable.toml")].into_iter().collect(),
        terminal: Terminal::new(true),
    };
    assert_eq!(context(Some("flag.toml")).config_path(), Some("flag.toml".into()));
    assert_eq!(context(None).config_path(), Some("variable.toml".into()));
}

#[test]
fn a_file_of_variables_is_read_before_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[server]\nenv_file = 'own.env'\n[upstreams.own]\nown_tools = true\n[keys.a]\nsecret = { env = 'A' }\n\
                  [keys.b]\nsecret = { env = 'B' }\n[policies.tokens]\nkind = 'jwt'\nconfig = { keys = ['a', 'b'], \
                  algorithms = ['HS256'], roles_claim = 'roles' }\n[policies.roles]\nkind = 'rbac'\nconfig = { roles = \
                  { a = { allow = ['*'] } } }\n[pipeline]\nauthenticate = ['tokens']\nauthorize = ['roles']\n";
    let secret = "0123456789abcdef0123456789abcdef";
    for (name, text) in
        [("witgate.toml", config), ("own.env", &format!("A={secret}\n")), ("b.env", &format!("B={secret}\n"))]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let check = "witgate check --json --config DIR/witgate.toml";
    assert_eq!(runs(folder.path(), check, &[]), Exit::No, "B is missing");
    assert_eq!(runs(folder.path(), &format!("{check} --env-file DIR/b.env"), &[]), Exit::Done);
    let issue = "witgate token issue --sub me --json --config DIR/witgate.toml";
    assert_eq!(runs(folder.path(), issue, &[]), Exit::Done, "A is in the file's own variables");
    std::fs::write(folder.path().join("b.env"), "B").unwrap();
    assert_eq!(runs(folder.path(), &format!("{check} --env-file DIR/b.env"), &[]), Exit::BadConfig);
}

#[test]
fn init_writes_a_valid_configuration_and_overwrites_none() {
    let folder = tempfile::tempdir().unwrap();
    // Without `--builtin`, `init` needs a program that compiles components, which a test is not:
    // `tests/it/first_hour.rs` has that test.
    let init = "witgate init --builtin --json --config DIR/witgate.toml";
    assert_eq!(runs(folder.path(), init, &[]), Exit::Done);
    let path = folder.path().join("witgate.toml");
    let loaded = load(Some(&path), &Environment::default()).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(runs(folder.path(), "witgate check --json --config DIR/witgate.toml", &[]), Exit::Done);

    std::fs::write(&path, "mine").unwrap();
    assert_eq!(runs(folder.path(), init, &[]), Exit::CouldNotRun);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(runs(folder.path(), "witgate check --json --config DIR/witgate.toml", &[]), Exit::No);
    assert_eq!(runs(folder.path(), "witgate serve --config DIR/witgate.toml --json", &[]), Exit::BadConfig);
    assert_eq!(runs(folder.path(), &format!("{init} --force"), &[]), Exit::Done);
    let names: Vec<_> = KeyStore::at(folder.path().join("keys.toml"))
        .read()
        .unwrap()
        .keys
        .into_iter()
        .map(|key| key.name)
        .collect();
    assert_eq!(names, ["claude-desktop", "claude-desktop-2"]);
}

#[test]
fn init_guards_the_users_server_with_imported_keys() {
    let folder = tempfile::tempdir().unwrap();
    let keys = r#"{"api_keys": {"readonly": "0123456789abcdef0123456789abcdef"}}"#;
    std::fs::write(folder.path().join("api_keys.json"), keys).unwrap();
    let init = "witgate init --builtin --json --config DIR/witgate.toml --url http://127.0.0.1:9/mcp --server-name chat \
                --import DIR/api_keys.json --client cursor";
    assert_eq!(runs(folder.path(), &format!("{init} --preset chapter-6"), &[]), Exit::Done);
    assert_eq!(runs(folder.path(), "witgate check --json --config DIR/witgate.toml", &[]), Exit::Done);
    let keys = KeyStore::at(folder.path().join("keys.toml")).read().unwrap().keys;
    let keys: Vec<_> = keys.into_iter().map(|key| (key.name, key.allow)).collect();
    assert_eq!(keys, [("readonly".to_owned(), vec!["get_*".to_owned(), "list_*".to_owned()])]);
    let ignored = std::fs::read_to_string(folder.path().join(".gitignore")).unwrap();
    assert!(ignored.lines().any(|line| line == ".cursor/mcp.json"), "{ignored}");
}

#[test]
fn keys_are_created_in_the_configured_store() {
    let folder = tempfile::tempdir().unwrap();
    let keys =
        |name: &str| format!("[policies.{name}]\nkind = 'api-key'\nconfig = {{ store = '{name}.toml' }}\n");
    // The configuration may have other faults: making a key does not need the rest.
    let broken = "[upstreams.x]\nheaders = { A = { env = 'NOT_SET' } }\n";
    std::fs::write(folder.path().join("witgate.toml"), format!("{broken}{}{}", keys("a"), keys("b")))
        .unwrap();
    let create = "witgate --json key create ci --allow get_* --config DIR/witgate.toml";
    assert_eq!(runs(folder.path(), create, &[]), Exit::CouldNotRun);
    assert_eq!(runs(folder.path(), &format!("{create} --policy c"), &[]), Exit::CouldNotRun);
    assert_eq!(runs(folder.path(), &format!("{create} --policy b"), &[]), Exit::Done);
    assert!(folder.path().join("b.toml").exists() && !folder.path().join("a.toml").exists());
    assert_eq!(runs(folder.path(), "witgate --json key rotate ci --store DIR/b.toml", &[]), Exit::Done);
    assert_eq!(runs(folder.path(), "witgate --json key revoke ci --store DIR/b.toml", &[]), Exit::Done);
    assert_eq!(runs(folder.path(), "witgate --json key list --store DIR/no.toml", &[]), Exit::CouldNotRun);
}

#[test]
fn an_issued_token_is_accepted_by_its_policy() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "0123456789abcdef0123456789abcdef";
    let config = "[server]\nresource = 'https://mcp.example.com/mcp'\n[upstreams.own]\nown_tools = true\n[keys.session]\nsecret = { env = \
                  'SECRET' }\n[policies.tokens]\nkind = 'jwt'\nconfig = { keys = ['session'], algorithms = ['HS384'], issuer = \
                  'https://idp', roles_claim = 'realm.roles', typ = 'at+jwt' }\n";
    std::fs::write(folder.path().join("witgate.toml"), config).unwrap();
    let context = Context {
        config: Some(folder.path().join("witgate.toml")),
        environment: [("SECRET", secret)].into_iter().collect(),
        terminal: Terminal::new(true),
    };
    let arguments = [
        "issue", "--sub", "me", "--role", "admin", "--scope", "a", "--scope", "b", "--claim", "n=1",
        "--claim", "t=x",
    ];
    let token = super::token::issue_for_test(&context, &arguments).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::HS384);
    validation.set_audience(&["https://mcp.example.com/mcp"]);
    validation.set_issuer(&["https://idp"]);
    let claims = decode::<serde_json::Value>(
        &token,
        &DecodingKey::from_secret(secret.as_bytes()).unwrap(),
        &validation,
    )
    .unwrap()
    .claims;
    assert_eq!(claims["realm"]["roles"], serde_json::json!(["admin"]));
    // Claims that RFC 9068 requires in addition.
    assert_eq!(claims["client_id"], "me");
    assert_eq!(claims["jti"].as_str().map(str::len), Some(22));
    assert_eq!((&claims["scope"], &claims["n"], &claims["t"]), (&"a b".into(), &1.into(), &"x".into()));

    let missing =
        super::token::issue_for_test(&Context { environment: Environment::default(), ..context }, &arguments);
    let message = missing.unwrap_err().to_string();
    assert!(message.contains("the environment variable `SECRET` is not set"), "{message}");
}

#[test]
fn the_roles_of_an_issued_token_are_in_the_claim_of_the_policy() {
    for (written, place) in [
        ("'realm.roles'", Some(vec!["realm", "roles"])),
        ("[['access', 'my.client', 'roles'], 'groups']", Some(vec!["access", "my.client", "roles"])),
        ("['groups', 'roles']", Some(vec!["groups"])),
        ("[]", None),
    ] {
        let claims =
            issued(&format!("roles_claim = {written}"), &["issue", "--sub", "me", "--role", "admin"]);
        let Some(place) = place else {
            assert!(claims.unwrap_err().contains("roles_claim"));
            continue;
        };
        let claims = claims.unwrap();
        let found = place.iter().try_fold(&claims, |value, name| value.get(name));
        assert_eq!(found, Some(&serde_json::json!(["admin"])), "{written}");
    }
}

#[test]
fn an_issued_token_has_the_required_claims() {
    let settings = "audience_claim = 'client_id', audience = ['desk', 'phone'], \
                    required_claims = { token_use = 'access', tier = ['gold', 1] }";
    let claims = issued(settings, &["issue", "--sub", "me"]).unwrap();
    assert_eq!(claims["aud"], serde_json::Value::Null);
    assert_eq!((&claims["client_id"], &claims["token_use"]), (&"desk".into(), &"access".into()));
    assert_eq!(claims["tier"], "gold");
}

/// The claims of a token that is issued for a jwt policy with these settings.
fn issued(settings: &str, arguments: &[&str]) -> Result<serde_json::Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[server]\nresource = 'https://mcp.example.com/mcp'\n[upstreams.own]\nown_tools = true\n[keys.session]\n\
         secret = {{ env = 'SECRET' }}\n[policies.tokens]\nkind = 'jwt'\nconfig = {{ keys = ['session'], \
         algorithms = ['HS256'], {settings} }}\n"
    );
    std::fs::write(folder.path().join("witgate.toml"), config).unwrap();
    let context = Context {
        config: Some(folder.path().join("witgate.toml")),
        environment: [("SECRET", "0123456789abcdef0123456789abcdef")].into_iter().collect(),
        terminal: Terminal::new(true),
    };
    let token = super::token::issue_for_test(&context, arguments).map_err(|failure| failure.to_string())?;
    Ok(jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(token).unwrap().claims)
}

#[test]
fn columns_are_as_wide_as_needed() {
    let rows = [vec!["a".to_owned(), "long".to_owned()], vec!["longer".to_owned(), "b".to_owned()]];
    assert_eq!(table(&["X", "Y"], &rows), "X       Y\na       long\nlonger  b");
    // An old store may hold such a name; a new key with it is refused.
    let rows = [vec!["ada\u{202e}nimda\n".to_owned(), "b".to_owned()]];
    assert_eq!(table(&["X", "Y"], &rows), "X                   Y\nada\\u{202e}nimda\\n  b");
}
