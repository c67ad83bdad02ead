//! `witgate explain`, `witgate can` and `witgate who-can`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use witgate_tests::gateway::{Setup, await_some, component};

use super::config;
use crate::caller::Caller;
use crate::logins::setup_with;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The output of a command as JSON.
fn whole(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn explain(setup: &Setup, arguments: &[&str]) -> Value {
    whole(&setup.run(&[&["--json", "explain"], arguments].concat()))
}

fn changes(explanation: &Value) -> Vec<&str> {
    explanation["changes"].as_array().unwrap().iter().map(|edit| edit["change"].as_str().unwrap()).collect()
}

#[test]
fn an_explanation_names_the_answer_the_rule_and_the_nearest_change() {
    let setup = Setup::new();
    config(&setup, "");
    let secret = setup.key(&["ada", "--role", "user", "--allow", "*"]);
    let before = files(setup.dir());

    let allowed =
        setup.run(&["explain", "--key", "ada", "--call", "echo", "--arguments", r#"{"text":"abc"}"#]);
    let shown = text(&allowed);
    assert_eq!(allowed.status.code(), Some(0), "{allowed:?}");
    assert!(shown.starts_with("allowed: ada may use `echo` at own (roles)\n"), "{shown}");
    assert!(shown.contains("keys (api-key, builtin): identity, "), "{shown}");
    assert!(shown.contains(r#"request.arguments() = "{\"text\":\"abc\"}""#), "{shown}");
    assert!(shown.contains("witgate.toml:") && shown.contains("the role `user` allows the call"), "{shown}");
    assert!(shown.contains("It would be refused with:\n  no role `user`"), "{shown}");
    assert!(!shown.contains(&secret), "{shown}");

    let condition = explain(&setup, &["--key", "ada", "--call", "echo", "--arguments", r#"{"text":"xyz"}"#]);
    assert_eq!((&condition["allowed"], &condition["reason"]), (&json!(false), &json!("condition")));
    assert_eq!(changes(&condition), ["the argument `/text` = \"a\"", "the role `admin`"]);
    let stages: Vec<_> =
        condition["stages"].as_array().unwrap().iter().map(|stage| &stage["passed"]).collect();
    assert_eq!(stages, [true, true, false]);
    let line = std::fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let line = line.lines().nth(usize::try_from(condition["rule"]["line"].as_u64().unwrap()).unwrap() - 1);
    assert!(line.unwrap().contains("conditions"), "{condition}");

    let scope = setup.run(&["explain", "--as", "eve", "--role", "admin", "--call", "add"]);
    let shown = text(&scope);
    assert_eq!(scope.status.code(), Some(1));
    assert!(shown.starts_with("denied: eve may not use `add` at own (roles: insufficient-scope"), "{shown}");
    assert!(shown.contains("`eve` is assumed to be known by the policy `keys`"), "{shown}");
    assert!(shown.contains("It would be allowed with one of:\n  the scope `math`"), "{shown}");

    let nobody = explain(&setup, &["--call", "echo"]);
    assert_eq!((&nobody["outcome"], &nobody["caller"]), (&json!("no-credential"), &Value::Null));
    let unknown = setup.run(&["explain", "--key", "eve", "--call", "echo"]);
    assert_eq!(unknown.status.code(), Some(69), "{unknown:?}");
    setup.file("token", "wgk_nobody_has_this_key");
    let refused = setup.run(&["--json", "explain", "--token-file", "token", "--call", "echo"]);
    let refused = whole(&refused);
    assert_eq!((&refused["outcome"], &refused["reason"]), (&json!("refused"), &json!("unknown-key")));
    assert!(!refused.to_string().contains("nobody_has"), "{refused}");
    std::fs::remove_file(setup.dir().join("token")).unwrap();
    assert_eq!(files(setup.dir()), before, "an explanation changes no file");
}

/// The contents of all files in a directory.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn components_explain_as_built_ins_do_and_a_candidate_decides_instead() {
    let setup = Setup::new();
    config(&setup, "");
    setup.key(&["ada", "--role", "user", "--allow", "*"]);
    let text = std::fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let by_component = text
        .replace("kind = 'api-key'", &format!("kind = 'api-key'\ncomponent = {:?}", component("api-key")))
        .replace("kind = 'rbac'", &format!("kind = 'rbac'\ncomponent = {:?}", component("rbac")));
    std::fs::create_dir(setup.dir().join("next")).unwrap();
    setup.file("next/witgate.toml", &by_component);
    setup.file("next/keys.toml", std::fs::read_to_string(setup.dir().join("keys.toml")).unwrap());
    for arguments in [r#"{"text":"abc"}"#, r#"{"text":"xyz"}"#, "{}"] {
        let question = ["--key", "ada", "--call", "echo", "--arguments", arguments];
        let builtin = explain(&setup, &question);
        let component = explain(&setup, &[&question[..], &["--candidate", "next"]].concat());
        for member in ["answer", "allowed", "reason", "policy", "changes", "rests_on", "caller"] {
            assert_eq!(builtin[member], component[member], "{member}");
        }
        let hooks = |explanation: &Value| -> Vec<Value> {
            let stages = explanation["stages"].as_array().unwrap();
            stages.iter().flat_map(|stage| stage["hooks"].as_array().unwrap().clone()).collect()
        };
        for (builtin, component) in hooks(&builtin).iter().zip(hooks(&component)) {
            assert_eq!((&builtin["form"], &component["form"]), (&json!("builtin"), &json!("component")));
            assert!(component["digest"].as_str().unwrap().starts_with("sha256:"));
        }
    }
    setup.file("next/witgate.toml", text.replace("allow = ['echo']", "allow = []"));
    let gone = explain(&setup, &["--key", "ada", "--call", "echo", "--candidate", "next"]);
    assert_eq!(gone["reason"], "not-allowed");
}

#[test]
fn the_roles_of_an_account_count() {
    let setup = setup_with(|_| String::new(), "");
    let by_name = explain(&setup, &["--as", "ada", "--call", "echo"]);
    assert_eq!((&by_name["allowed"], &by_name["caller"]["roles"]), (&json!(true), &json!(["ops"])));
    assert_eq!(by_name["caller"]["proven_by"], "people");
    let by_id = explain(&setup, &["--as", by_name["caller"]["subject"].as_str().unwrap(), "--call", "echo"]);
    assert_eq!(by_id["caller"], by_name["caller"]);
    assert_eq!(explain(&setup, &["--as", "eve", "--call", "echo"])["allowed"], false);
    let everybody = whole(&setup.run(&["--json", "who-can", "echo"]));
    let entries = everybody["entries"].as_array().unwrap();
    let ada = entries.iter().find(|entry| entry["kind"] == "account").unwrap();
    assert_eq!((&ada["name"], &ada["allowed"]), (&json!("ada"), &json!(true)));
}

#[test]
fn recorded_cases_are_questions() {
    let setup = Setup::new();
    config(&setup, "");
    setup.key(&["ada", "--role", "user", "--allow", "*"]);
    setup.file(
        "cases.toml",
        "builtin = 'rbac'\nconfig.roles = {}\n\
         [[case]]\nname = 'other text'\nupstream = 'own'\ncall = 'echo'\narguments = { text = 'xyz' }\n\
         principal = { subject = 'ada', proven_by = 'keys', roles = ['user'] }\nexpect.denied = 'condition'\n\
         [[case]]\nname = 'a stranger'\nupstream = 'own'\ncall = 'echo'\ncredential.bearer = 'wgk_stranger'\n\
         expect = 'not_mine'\n",
    );
    let ask = |case: &str| explain(&setup, &["--recording", "cases.toml", "--case", case]);
    let other = ask("other text");
    assert_eq!((&other["reason"], &other["caller"]["is_assumed"]), (&json!("condition"), &json!(true)));
    assert_eq!(changes(&other)[0], "the argument `/text` = \"a\"");
    assert_eq!(ask("a stranger")["reason"], "unknown-key");
    let unnamed = setup.run(&["explain", "--recording", "cases.toml"]);
    assert!(String::from_utf8_lossy(&unnamed.stderr).contains("a stranger"), "{unnamed:?}");
}

#[test]
fn claims_are_judged_as_those_of_a_good_token() {
    let setup = Setup::new();
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\nresource = 'https://mcp.example.com/mcp'\n\
         [keys.idp]\npem = { file = 'idp.pem' }\n\
         [policies.idp]\nkind = 'jwt'\nconfig = { keys = ['idp'], algorithms = ['ES256'] }\n\
         [policies.roles]\nkind = 'rbac'\n\
         config.roles.user = { allow = ['*'], conditions = [{ on = '*', claim = 'team', equals = 'red' }] }\n\
         [pipeline]\nauthenticate = ['idp']\nauthorize = ['roles']\n",
    );
    let key = rcgen::KeyPair::generate().unwrap();
    setup.file("idp.pem", key.public_key_pem());
    let claims = |team: &str| {
        let claims = json!({
            "sub": "ada", "aud": "https://mcp.example.com/mcp", "iat": 2_000_000_000u64, "exp": 2_000_003_600u64,
            "roles": ["user"], "team": team,
        });
        setup.file("claims.json", claims.to_string());
    };
    let ask = |at: &str| explain(&setup, &["--claims", "claims.json", "--call", "echo", "--at", at]);
    claims("red");
    let allowed = ask("2033-05-18T03:40:00Z");
    assert_eq!(
        (&allowed["allowed"], &allowed["caller"]["subject"]),
        (&json!(true), &json!("ada")),
        "{allowed}"
    );
    let expired = ask("2033-05-18T05:40:00Z");
    assert_eq!((&expired["outcome"], &expired["reason"]), (&json!("refused"), &json!("expired")));
    assert!(changes(&expired)[0].starts_with("the time 2033-05-18T04:33:19Z"), "{expired}");
    claims("blue");
    let condition = ask("2033-05-18T03:40:00Z");
    assert_eq!(condition["reason"], "condition");
    assert_eq!(changes(&condition), ["the claim `team` = \"red\""]);
    let unsigned =
        setup.run(&["explain", "--as", "ada", "--role", "user", "--claims", "claims.json", "--call", "echo"]);
    assert!(text(&unsigned).contains("actual value: \"blue\""), "{unsigned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_decision_is_explained_by_its_id() {
    let setup = Setup::new();
    config(&setup, "[audit]\ndirectory = 'log'\n");
    let key = setup.key(&["ada", "--role", "user", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let denied = caller.call("add", json!({ "a": 1, "b": 2 })).await;
    let id = denied.body["error"]["data"]["decision"].as_str().unwrap().to_owned();
    let explanation = await_some("the entry", || {
        let output = running.setup().run(&["--json", "explain", &id]);
        (output.status.code() == Some(1)).then(|| whole(&output))
    });
    assert_eq!(
        (&explanation["recorded"]["id"], &explanation["recorded"]["outcome"]),
        (&json!(id), &json!("denied"))
    );
    assert_eq!(
        (&explanation["outcome"], &explanation["caller"]["subject"]),
        (&json!("denied"), &json!("ada"))
    );
    assert_eq!(explanation["question"]["target"], "add");
    let unknown = running.setup().run(&["explain", &"0".repeat(32)]);
    assert_eq!(unknown.status.code(), Some(69), "{unknown:?}");
    let seen = whole(&running.setup().run(&["--json", "who-can", "add"]));
    let entries = seen["entries"].as_array().unwrap();
    let of =
        |kind: &str, name: &str| entries.iter().find(|entry| entry["kind"] == kind && entry["name"] == name);
    assert_eq!(of("key", "ada").unwrap()["allowed"], false);
    assert_eq!(of("subject", "ada").unwrap()["note"], "in the audit: 0 allowed, 1 not");
}

#[test]
fn access_is_listed_by_caller_and_by_tool() {
    let setup = Setup::new();
    config(&setup, "");
    setup.key(&["ada", "--role", "user", "--allow", "*"]);
    setup.key(&["ben", "--role", "admin", "--scope", "math", "--allow", "*"]);
    let can = |name: &str| {
        let output = setup.run(&["--json", "can", "--key", name]);
        let entries = whole(&output)["entries"].as_array().unwrap().clone();
        let entry = |entry: &Value| {
            (entry["name"].as_str().unwrap().to_owned(), entry["call"].as_str().unwrap().to_owned())
        };
        entries.iter().map(entry).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(can("ada"), BTreeMap::from([("echo".to_owned(), "depends".to_owned())]));
    let ben = can("ben");
    assert_eq!(ben.get("add").map(String::as_str), Some("yes"), "{ben:?}");
    assert!(ben.len() > 2 && ben.values().all(|call| call == "yes"), "{ben:?}");

    let who = text(&setup.run(&["who-can", "add"]));
    let row = |kind: &str, name: &str| {
        let mut rows = who.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.find(|row| row[..2] == [kind, name]).unwrap_or_else(|| panic!("{who}"))[2..].join(" ")
    };
    assert_eq!(row("anonymous", "-"), "no no-credential");
    assert_eq!(row("key", "ada"), "no not-allowed");
    assert_eq!(row("key", "ben"), "yes");
    assert_eq!(row("role", "admin"), "no insufficient-scope");
}
