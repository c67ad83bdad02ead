//! Logins through a real provider of OpenID Connect.

use witgate_tests::oauth::{AuthorizationServer, Make, PERSON, Plan};

use super::*;

/// A provider, and the tables with Witgate's client at it.
async fn provider(login: &str) -> (AuthorizationServer, String) {
    let server = Plan::default().start(Make::OidcProvider).unwrap();
    let client = server
        .register(&json!({
            "redirect_uris": ["http://127.0.0.1/login/with/hub/callback"], "response_types": ["code"],
            "grant_types": ["authorization_code"], "token_endpoint_auth_method": "none",
            "application_type": "native",
        }))
        .await
        .unwrap();
    let (issuer, authorize) = (server.issuer(), server.endpoint("authorization_endpoint").await.unwrap());
    let token = server.endpoint("token_endpoint").await.unwrap();
    let tables = format!(
        "[credentials.hub]\nkind = \"oauth\"\npreset = \"custom\"\nclient_id = \"{client}\"\nissuer = \"{issuer}\"\n\
         authorize_url = \"{authorize}\"\ntoken_url = \"{token}\"\n\
         [accounts.login.hub]\ncredential = \"hub\"\nlabel = \"The Hub\"\n{login}"
    );
    (server, tables)
}

/// A login with the TypeScript client, in a browser that goes through the provider.
async fn log_in(running: &Running) -> Scenario {
    let session = Session::http(running.url()).mode("auto").limit(Duration::from_secs(120));
    let more = [
        format!("--browser={}", browser().unwrap().display()),
        format!("--name={}", PERSON.0),
        format!("--password={}", PERSON.1),
        "--through=The Hub".to_owned(),
        "--scope=tools:read".to_owned(),
        format!("--tools={}", json!([["echo", { "text": "hello" }]])),
    ];
    let clients = Clients::installed().unwrap();
    clients.drive_other(&directory().join("login.mjs"), &session, &more).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_through_a_provider_and_gets_an_account() {
    let rules = "allow = [\"subject:ada\"]\nnew_accounts = true\nroles = { ops = [\"subject:ada\"] }\n";
    let (server, tables) = provider(rules).await;
    let running = setup(&tables).serve();
    let report = log_in(&running).await;
    assert_eq!(report.error, None, "{report:?}\n{}", running.log());
    assert!(report.steps["echo"].to_string().contains("hello"), "{report:?}");
    let pages = &report.steps["logins"][0]["pages"];
    assert_eq!(*pages, json!(["Log in", "Log in", "Allow access", "Allow access?"]), "{report:?}");
    // Somebody of that name has an account here already, and keeps it.
    let users = succeed(running.setup(), &["user", "list", "--accounts", "--json"], "");
    assert!(users.contains("\"ada (hub)\""), "{users}");
    let identities = succeed(running.setup(), &["accounts", "identities", "ada (hub)", "--json"], "");
    assert!(identities.contains(&server.issuer()) && identities.contains("\"ada\""), "{identities}");
    // A disabled account stays out, and the provider makes no second one.
    succeed(running.setup(), &["user", "disable", "ada (hub)", "--accounts"], "");
    let refused = log_in(&running).await;
    assert!(refused.error.is_some(), "{refused:?}");
    assert!(running.log().contains("code=\"user-disabled\""), "{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_an_account_is_linked_by_the_operator() {
    let (_server, tables) = provider("").await;
    let running = setup(&tables).serve();
    assert!(log_in(&running).await.error.is_some());
    let log = running.log();
    assert!(log.contains("code=\"provider-no-account\"") && log.contains("subject ada"), "{log}");
    let link = ["accounts", "link", "ada", "--provider", "hub", "--subject", "ada"];
    let said = succeed(running.setup(), &link, "");
    assert!(said.contains("can log in through `hub` now"), "{said}");
    let report = log_in(&running).await;
    assert_eq!(report.error, None, "{report:?}\n{}", running.log());
    assert!(!run(running.setup(), &link, "").status.success(), "it is taken");
    let unlink = ["accounts", "unlink", "ada", "--provider", "hub", "--subject", "ada"];
    succeed(running.setup(), &unlink, "");
    assert!(log_in(&running).await.error.is_some());
}
