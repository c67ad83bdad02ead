//! The scopes that a caller learns: at a login, when some are missing, and in the metadata.

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup};

use crate::caller::{Caller, until};

fn configure(setup: &Setup, more: &str) {
    setup.config(
        "authorization_servers = [\"https://idp.example.com\"]\nscopes = [\"first\"]",
        &format!(
            r#"[upstreams.own]
own_tools = true
[keys.session]
secret = {{ env = "KEY" }}
[policies.tokens]
kind = "jwt"
config = {{ keys = ["session"], algorithms = ["HS256"] }}
[policies.rules]
kind = "rbac"
[policies.rules.config]
roles = {{ user = {{ allow = ["*", "resource:*", "prompt:*"] }} }}
scope_implies = {{ everything = ["base", "math"] }}
scopes = {{ "*" = ["base"], "add" = ["math"], "resource:file:///*" = ["files"], "prompt:brief" = ["brief"] }}
[policies.more]
kind = "rbac"
[policies.more.config]
roles = {{ user = {{ allow = ["*", "resource:*", "prompt:*"], deny = ["auth_status"] }} }}
scopes = {{ "add" = ["more"{more}], "get_time" = ["offline_access"] }}
[pipeline]
authenticate = ["tokens"]
authorize = ["rules", "more"]
"#
        ),
    );
}

fn serve() -> Running {
    let setup = Setup::new().env("KEY", "0123456789abcdef0123456789abcdef");
    configure(&setup, "");
    setup.serve()
}

fn token(running: &Running, scopes: &[&str]) -> Caller {
    let mut arguments = vec!["token", "issue", "--sub", "ada", "--role", "user", "--json"];
    scopes.iter().for_each(|scope| arguments.extend(["--scope", scope]));
    let issued = running.setup().run(&arguments);
    let issued: Value = serde_json::from_slice(&issued.stdout).unwrap();
    Caller::with_token(running.url(), issued["token"].as_str().unwrap())
}

/// The status, and the `scope` of the challenge if there is one.
async fn challenge(caller: &Caller, method: &str, name: &str) -> (u16, Option<String>) {
    let member = if method == "resources/read" { "uri" } else { "name" };
    let response = caller.begin(method, Some(name), json!({ member: name })).await.unwrap();
    let challenge =
        response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let scope = challenge.and_then(|text| {
        let (_, rest) = text.split_once("scope=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    });
    (response.status().as_u16(), scope)
}

async fn supported(running: &Running) -> Value {
    let url = format!("http://{}/.well-known/oauth-protected-resource/mcp", running.address());
    reqwest::get(url).await.unwrap().json::<Value>().await.unwrap()["scopes_supported"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_challenge_names_all_scopes_of_an_operation() {
    let running = serve();
    let anonymous = Caller::new(running.url(), None);
    assert_eq!(challenge(&anonymous, "tools/call", "add").await, (401, Some("first".to_owned())));
    let stranger = Caller::with_token(running.url(), "eyJhbGciOiJIUzI1NiJ9.e30.AAAA");
    assert_eq!(challenge(&stranger, "tools/call", "add").await, (401, Some("first".to_owned())));

    let bare = token(&running, &[]);
    let needed = [
        ("tools/call", "add", "base math more"),
        ("tools/call", "echo", "base"),
        ("resources/read", "file:///a", "base files"),
        ("prompts/get", "brief", "base brief"),
    ];
    for (method, name, scopes) in needed {
        assert_eq!(challenge(&bare, method, name).await, (403, Some(scopes.to_owned())), "{name}");
    }
    // If one of two scopes is missing, the challenge names both: a step up must not lose the present one.
    let math = token(&running, &["math"]);
    assert_eq!(challenge(&math, "tools/call", "add").await, (403, Some("base math more".to_owned())));
    // Nor those that another policy is content with.
    let both = token(&running, &["base", "math", "of-another-server"]);
    assert_eq!(challenge(&both, "tools/call", "add").await, (403, Some("base math more".to_owned())));
    // More scopes would not help.
    assert_eq!(challenge(&bare, "tools/call", "auth_status").await, (403, None));
    let stepped_up = token(&running, &["everything", "more"]);
    let answer = stepped_up.call("add", json!({ "a": 1, "b": 2 })).await;
    assert!(answer.is_result(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_lists_the_scopes_of_the_live_policies() {
    let running = serve();
    assert_eq!(supported(&running).await, json!(["base", "brief", "files", "first", "math", "more"]));
    configure(running.setup(), ", \"even-more\"");
    let wanted = json!(["base", "brief", "even-more", "files", "first", "math", "more"]);
    until("the new scope", async || (supported(&running).await == wanted).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_names_the_scope_that_a_template_gives_the_tool() {
    for component in ["", "component = 'plugins/rbac.wasm'\n"] {
        let setup = Setup::new().env("KEY", "0123456789abcdef0123456789abcdef");
        setup.component("rbac");
        setup.config(
            "authorization_servers = [\"https://idp.example.com\"]",
            &format!(
                "[upstreams.own]\nown_tools = true\n[keys.session]\nsecret = {{ env = 'KEY' }}\n\
                 [policies.tokens]\nkind = 'jwt'\nconfig = {{ keys = ['session'], algorithms = ['HS256'] }}\n\
                 [policies.rules]\nkind = 'rbac'\n{component}[policies.rules.config]\n\
                 roles = {{ user = {{ allow = ['*'] }} }}\nscope_template = 'mcp:tool:{{tool}}'\nscope_wildcards = true\n\
                 [pipeline]\nauthenticate = ['tokens']\nauthorize = ['rules']\n"
            ),
        );
        let running = setup.serve();
        assert_eq!(supported(&running).await, Value::Null, "no template is listed");
        let held = token(&running, &["mcp:tool:add"]);
        let wanted = Some("mcp:tool:add mcp:tool:get_time".to_owned());
        assert_eq!(challenge(&held, "tools/call", "get_time").await, (403, wanted));
        assert!(held.call("add", json!({ "a": 1, "b": 2 })).await.is_result());
        assert!(token(&running, &["mcp:tool:get_*"]).call("get_time", json!({})).await.is_result());
    }
}

#[test]
fn an_invalid_scope_is_refused_with_its_place() {
    let setup = Setup::new().env("KEY", "0123456789abcdef0123456789abcdef");
    configure(&setup, "");
    let text = std::fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    for (scopes, warning) in
        [("[\"a b\"]", "`a b` is not a scope"), ("[\"offline_access\"]", "between a client and")]
    {
        setup.file("witgate.toml", text.replace("scopes = [\"first\"]", &format!("scopes = {scopes}")));
        let output = setup.run(&["check"]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(warning), "{message}");
    }
}

/// Both eras: `initialize` and `server/discover`.
#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_names_the_configured_extensions() {
    let setup = Setup::new().env("KEY", "0123456789abcdef0123456789abcdef");
    configure(&setup, "");
    let text = std::fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let extensions = "extensions = [\"oauth-client-credentials\"]\nscopes = [";
    setup.file("witgate.toml", text.replacen("scopes = [", extensions, 1));
    let running = setup.serve();
    let caller = token(&running, &[]);
    let discovered = caller.stateless("server/discover", None, json!({})).await.unwrap();
    for answer in [discovered.body, caller.initialize().await.body] {
        let declared_extensions = &answer["result"]["capabilities"]["extensions"];
        assert_eq!(
            declared_extensions["io.modelcontextprotocol/oauth-client-credentials"],
            json!({}),
            "{answer}"
        );
        assert_eq!(
            declared_extensions["io.modelcontextprotocol/enterprise-managed-authorization"],
            Value::Null,
            "{answer}"
        );
        assert!(answer["result"]["capabilities"]["tools"].is_object(), "{answer}");
    }
}
