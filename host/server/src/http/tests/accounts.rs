//! Tests of callers who connect accounts: their pages, guesses of links, and calls that wait.

use std::time::Instant;

use super::streams::flip;
use super::*;

/// The settings of an upstream whose callers have accounts of their own, and its policies.
const ACCOUNTS: &str = "credential = 'hub'\neras = ['stateless']\n\
    [credentials.hub]\nkind = 'oauth'\npreset = 'custom'\nper = 'principal'\nonly_for_calls = true\nheader = 'X-Account'\n\
    client_id = 'gate'\nauthorize_url = 'https://provider.example.com/authorize'\n\
    token_url = 'https://provider.example.com/token'\n\
    [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
    [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

/// A form that somebody sends without a script.
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn with_accounts(server: &str) -> TestGateway {
    gateway_guarded(server, ACCOUNTS, |_| answer_as(401, "text/plain", "who are you")).await
}

async fn calls(gateway: &TestGateway, key: &str) -> Got {
    gateway.modern(key, "tools/call", json!({ "name": "get_it" })).await
}

async fn opens(gateway: &TestGateway, page: &str) -> Got {
    gateway.send_to(page, Method::GET, &[], "").await
}

/// The path and the query of a caller's link.
async fn link(gateway: &TestGateway, key: &str) -> String {
    let refused = calls(gateway, key).await;
    let url = refused.json()["error"]["data"]["url"].as_str().unwrap().to_owned();
    let url = url::Url::parse(&url).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap())
}

fn text(got: &Got) -> String {
    String::from_utf8_lossy(&got.body).into_owned()
}

#[tokio::test]
async fn there_is_a_page_only_for_credentials_of_principals() {
    let without = gateway(|request| result(request, json!({}))).await;
    let with = with_accounts("").await;
    assert_eq!(opens(&with, "/connect/hub").await.status, 200);
    for (gateway, page) in [
        (&without, "/connect/hub"),
        (&without, "/connect/hub/callback?state=x"),
        (&with, "/connect/other?t=x"),
        (&with, "/connect/other/callback?state=x"),
    ] {
        let (got, elsewhere) = (opens(gateway, page).await, opens(gateway, "/elsewhere").await);
        assert_eq!((got.status, &got.body), (404, &elsewhere.body), "{page}");
        assert_eq!(got.headers["content-type"], elsewhere.headers["content-type"], "{page}");
        let posted = gateway.send_to(page, Method::POST, &[FORM], "t=x").await;
        assert_eq!(posted.status, 404, "{page}");
    }
    let metrics = with.metrics.render();
    assert!(metrics.contains(r#"witgate_refusals_total{reason="unknown-path"} 6"#), "{metrics}");
}

#[tokio::test]
async fn guesses_of_links_count_and_are_paused_and_good_links_pass() {
    let gateway = with_accounts("[lockout]\nfailures = 4").await;
    let good = link(&gateway, BOB).await;
    let form = "t=guess&form=x&credential=y";
    for got in [
        opens(&gateway, "/connect/hub?t=guess").await,
        gateway.send_to("/connect/hub", Method::POST, &[FORM], form).await,
        opens(&gateway, "/connect/hub/callback?state=guess&code=x").await,
        gateway.send_to("/connect/hub/disconnect", Method::POST, &[FORM], form).await,
    ] {
        assert!([403, 410].contains(&got.status), "{got:?}");
        assert!(got.headers.contains_key("witgate-decision"), "{got:?}");
    }
    let begin = Instant::now();
    let paused = opens(&gateway, "/connect/hub?t=another").await;
    assert_eq!(paused.status, 429, "{paused:?}");
    assert!(paused.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() <= 5);
    assert!(begin.elapsed() >= Duration::from_secs(1), "its sender waits");
    assert_eq!(opens(&gateway, &good).await.status, 200, "a good link passes");
    let called = calls(&gateway, ALICE).await;
    assert_eq!(called.reason(), "connect-required", "links pause no calls: {called:?}");
    let metrics = gateway.metrics.render();
    for count in [r#"{reason="unknown-link"} 4"#, r#"{reason="locked-out"} 1"#] {
        assert!(metrics.contains(&format!("witgate_refusals_total{count}")), "{metrics}");
    }
}

#[tokio::test]
async fn a_form_that_is_no_credential_is_refused_with_its_reason_and_counts() {
    let gateway = with_accounts("").await;
    let page = link(&gateway, BOB).await;
    let asked = opens(&gateway, &page).await;
    let cookie = asked.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let hidden = |name: &str| {
        let (text, begin) = (text(&asked), format!("name=\"{name}\" value=\""));
        let value = text.split(&begin).nth(1).unwrap().split('"').next().unwrap();
        value.to_owned()
    };
    let (token, link) = (hidden("form"), hidden("t"));
    let shows = async |credential: &str| {
        let form = format!("form={token}&t={link}&{credential}");
        gateway.send_to("/connect/hub", Method::POST, &[FORM, ("cookie", &cookie)], form).await
    };
    for (credential, why) in [
        ("user=ada%3Ab&credential=secret", "a user name has no colon"),
        ("credential=two+words", "this is not a key, a token, or a user with a password"),
    ] {
        let got = shows(credential).await;
        assert!(got.status == 400 && text(&got).contains(why), "{got:?}");
        assert!(got.headers.contains_key("witgate-decision"), "{got:?}");
        assert!(got.headers["set-cookie"].to_str().unwrap().contains(&cookie), "its time begins anew");
    }
    let metrics = gateway.metrics.render();
    assert!(metrics.contains(r#"upstream="stub",outcome="malformed"} 2"#), "{metrics}");
    let known = shows(&format!("credential={BOB}")).await;
    assert_eq!(known.status, 303, "{known:?}");
    assert!(known.headers["set-cookie"].to_str().unwrap().contains("; Max-Age=900;"), "{known:?}");
}

#[tokio::test]
async fn a_caller_without_an_account_learns_why_the_server_refuses_their_list() {
    let gateway = with_accounts("").await;
    let refused = gateway.modern(BOB, "tools/list", json!({})).await;
    assert_eq!(refused.reason(), "connect-required", "{refused:?}");
    assert!(refused.json()["error"]["data"]["url"].is_string(), "{refused:?}");
    assert_eq!(gateway.received().len(), 1, "the list is sent without an account");
}

/// A call of a client that opens URLs, with the state of an earlier answer.
async fn resumes(gateway: &TestGateway, key: &str, state: Option<&str>) -> Got {
    let mut params = json!({ "name": "get_it" });
    if let Some(state) = state {
        params["requestState"] = state.into();
        params["inputResponses"] = json!({ "connect": { "action": "accept" } });
    }
    let mut message = modern("tools/call", params.clone());
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({ "elicitation": { "url": {} } });
    gateway.send(Method::POST, &modern_lines(key, "tools/call", &params), message.to_string()).await
}

/// The state with which a caller's call comes back.
async fn asked(gateway: &TestGateway, key: &str) -> String {
    let asked = resumes(gateway, key, None).await.json();
    asked["result"]["requestState"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned()
}

#[tokio::test]
async fn a_call_counts_for_its_limits_before_it_waits_for_an_account() {
    let gateway = with_accounts("[limits.calls]\nrate = '1/h'\nper = ['principal']").await;
    let state = asked(&gateway, BOB).await;
    let refused = tokio::time::timeout(Duration::from_secs(5), resumes(&gateway, BOB, Some(&state))).await;
    let refused = refused.expect("a call beyond the limit does not wait");
    assert_eq!((refused.status, refused.reason().as_str()), (429, "rate-limited"));
}

#[tokio::test]
async fn a_call_that_waits_for_an_account_is_not_sent_after_its_key_is_revoked() {
    let gateway = with_accounts("").await;
    let (bobs, alices) = (asked(&gateway, BOB).await, asked(&gateway, ALICE).await);
    let revoke = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let revoked = "name = 'bob'\nrevoked = 2026-01-02T00:00:00Z";
        flip(&gateway, |store| store.replace("name = 'bob'", revoked)).await;
    };
    let (bob, alice, ()) =
        tokio::join!(resumes(&gateway, BOB, Some(&bobs)), resumes(&gateway, ALICE, Some(&alices)), revoke);
    for got in [&bob, &alice] {
        assert!(got.status == 200 && text(got).contains("data: "), "it waits in a stream: {got:?}");
    }
    assert!(text(&bob).contains("revoked"), "{bob:?}");
    assert!(text(&alice).contains("requestState"), "the change is about others: {alice:?}");
    let got_call = gateway.received().iter().any(|request| request.json()["method"] == "tools/call");
    assert!(!got_call, "nobody has an account");
}
