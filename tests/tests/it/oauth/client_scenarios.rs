//! The expectations of clients towards a resource server: the exchanges of the conformance suite's client
//! scenarios (`auth/*`), played against Witgate, with the suite's names. Those about the client's own part,
//! or the authorization server's, have nothing to say here; `auth/client-credentials-*` and the whole login
//! are in `flows` and `login`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use witgate_tests::oauth::{Format, INTROSPECTOR, Make, Plan, ROLE};

use super::{GUARDED, READ, Testbed, WRITE, hello};
use crate::caller::Caller;

/// A challenge (RFC 6750, section 3): its parameters by name.
fn challenge(response: &reqwest::Response) -> BTreeMap<String, String> {
    let header = response.headers()["www-authenticate"].to_str().unwrap();
    let rest = header.strip_prefix("Bearer ").unwrap_or_else(|| panic!("{header}"));
    let pairs = rest.split("\", ").map(|pair| pair.trim_end_matches('"').split_once("=\"").unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A call's answer, up to its head.
async fn call(caller: &Caller, tool: &str) -> reqwest::Response {
    let arguments = if tool == "add" { json!({ "a": 1, "b": 2 }) } else { hello() };
    let params = json!({ "name": tool, "arguments": arguments });
    caller.begin("tools/call", Some(tool), params).await.unwrap()
}

async fn document(url: &str) -> Option<Value> {
    let response = reqwest::get(url).await.unwrap();
    match response.status().as_u16() {
        200 => Some(response.json().await.unwrap()),
        404 => None,
        other => panic!("{url}: {other}"),
    }
}

fn words(text: Option<&String>) -> Vec<&str> {
    text.map(|text| text.split(' ').collect()).unwrap_or_default()
}

/// `auth/metadata-default`, `-var1`, `-var2`: by the header, by the path, by the root where it can speak for one alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_is_at_the_paths_that_clients_try() {
    let testbed = Testbed::of(Make::OidcProvider);
    for (upstream, ..) in GUARDED {
        let resource = testbed.resource(upstream);
        let response = call(&Caller::new(&resource, None), "echo").await;
        assert_eq!(response.status(), 401, "{upstream}");
        let named =
            document(&challenge(&response)["resource_metadata"]).await.expect("what the header names");
        let address = testbed.witgate.address();
        let by_path = format!("http://{address}/.well-known/oauth-protected-resource/{upstream}/mcp");
        assert_eq!(document(&by_path).await.as_ref(), Some(&named), "{upstream}");
        // `auth/resource-mismatch`: clients go no further where it is not the URL that they were given.
        assert_eq!(named["resource"], resource, "{upstream}");
        assert_eq!(named["authorization_servers"], json!([testbed.server.issuer()]), "{upstream}");
        // `auth/offline-access-not-supported`: it is a matter between client and authorization server.
        assert!(!named.to_string().contains("offline_access"), "{named}");
        assert_eq!(document(&format!("http://{address}/.well-known/oauth-protected-resource")).await, None);
    }
}

/// The root form, where there is one upstream.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_upstream_has_its_metadata_at_the_root_as_well() {
    let setup = witgate_tests::gateway::Setup::new().env("SECRET", INTROSPECTOR.1);
    let server = Plan::default().resource(&setup.url(), Format::Opaque).start(Make::Authlib).unwrap();
    let issuer = server.issuer();
    setup.config(
        &format!("authorization_servers = [\"{issuer}\"]"),
        &format!(
            "[upstreams.own]\nown_tools = true\n[policies.idp]\nkind = \"oauth2-introspection\"\n\
             [policies.idp.config]\nissuer = \"{issuer}\"\nclient_id = \"{}\"\nclient_secret = {{ env = \"SECRET\" }}\n\
             [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {{ {ROLE} = {{ allow = [\"*\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"idp\"]\nauthorize = [\"rules\"]\n",
            INTROSPECTOR.0
        ),
    );
    let witgate = setup.serve();
    let root = document(&format!("http://{}/.well-known/oauth-protected-resource", witgate.address())).await;
    let root = root.expect("the document at the root");
    assert_eq!(
        (&root["resource"], &root["authorization_servers"]),
        (&json!(witgate.url()), &json!([issuer]))
    );
    // `auth/scope-omitted-when-undefined`: where no scope is needed, none is named.
    let response = call(&Caller::new(witgate.url(), None), "echo").await;
    assert_eq!(challenge(&response).get("scope"), None);
    assert!(root.get("scopes_supported").is_none_or(|scopes| scopes == &json!([])), "{root}");
    let token = server.token(&witgate.url(), "").await.unwrap();
    assert_eq!(call(&Caller::with_token(witgate.url(), &token), "echo").await.status(), 200);
}

/// `auth/scope-from-www-authenticate`, `auth/scope-from-scopes-supported`: a client that asks for what it was told
/// gets in with it.
#[tokio::test(flavor = "multi_thread")]
async fn the_named_scopes_are_sufficient() {
    let testbed = Testbed::of(Make::OidcProvider);
    for (upstream, ..) in GUARDED {
        let resource = testbed.resource(upstream);
        let response = call(&Caller::new(&resource, None), "add").await;
        let challenge = challenge(&response);
        let metadata = document(&challenge["resource_metadata"]).await.unwrap();
        let supported = metadata["scopes_supported"].as_array().cloned().unwrap_or_default();
        let supported: Vec<_> = supported.iter().filter_map(Value::as_str).collect();
        for scopes in [words(challenge.get("scope")), supported] {
            assert!(!scopes.contains(&"offline_access"), "{upstream}: {scopes:?}");
            if scopes.is_empty() {
                continue;
            }
            let token = testbed.server.token(&resource, &scopes.join(" ")).await.unwrap();
            let answer = call(&Caller::with_token(&resource, &token), "add").await;
            assert_eq!(answer.status(), 200, "{upstream}: {scopes:?}");
        }
    }
}

/// `auth/scope-step-up`, `auth/scope-retry-limit`: one challenge names all that is missing and all that is needed beside
/// it, so that one step is enough; and it is the same one however often the client comes back with the same token.
#[tokio::test(flavor = "multi_thread")]
async fn one_step_up_is_sufficient() {
    for make in Make::ALL {
        let testbed = Testbed::of(make);
        for (upstream, ..) in GUARDED {
            let what = format!("{make:?}, {upstream}");
            let resource = testbed.resource(upstream);
            let caller = testbed.caller(upstream, READ).await;
            assert_eq!(call(&caller, "echo").await.status(), 200, "{what}");
            let mut challenges = Vec::new();
            for _ in 0..3 {
                let response = call(&caller, "add").await;
                assert_eq!(response.status(), 403, "{what}");
                challenges.push(challenge(&response));
            }
            assert!(challenges.iter().all(|other| other == &challenges[0]), "{what}: {challenges:?}");
            let challenge = &challenges[0];
            assert_eq!(challenge["error"], "insufficient_scope", "{what}");
            assert!(document(&challenge["resource_metadata"]).await.is_some(), "{what}");
            let scopes = words(challenge.get("scope"));
            assert!(scopes.contains(&READ) && scopes.contains(&WRITE), "{what}: {scopes:?}");
            let token = testbed.server.token(&resource, &scopes.join(" ")).await.unwrap();
            let answer = call(&Caller::with_token(&resource, &token), "add").await;
            assert_eq!(answer.status(), 200, "{what}");
        }
    }
}

/// A token that is no good is a matter of authentication, and the client may get another one.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_token_gets_the_challenge_invalid_token() {
    let testbed = Testbed::of(Make::Authlib);
    for (upstream, ..) in GUARDED {
        for token in ["not-a-token-of-anybody", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"] {
            let response = call(&Caller::with_token(testbed.resource(upstream), token), "echo").await;
            assert_eq!(response.status(), 401, "{upstream}, {token}");
            let challenge = challenge(&response);
            assert_eq!(challenge["error"], "invalid_token", "{upstream}, {token}");
            assert!(document(&challenge["resource_metadata"]).await.is_some(), "{upstream}, {token}");
        }
    }
}
