//! Clients for people: the authorization-code flow with PKCE, through the server's own login page, with a real
//! browser, starting from the URL alone.

use serde_json::{Value, json};
use witgate_tests::clients::{Clients, Scenario, Session};
use witgate_tests::oauth::{Make, PERSON, browser, directory};

use super::{PATIENT, READ, Testbed, WRITE};

/// Logs in and calls two tools; the second needs a scope that the person does not grant at first.
async fn log_in(testbed: &Testbed, upstream: &str, mode: &str, password: &str) -> Scenario {
    let clients = Clients::installed().unwrap();
    let session = Session::http(testbed.resource(upstream)).mode(mode).limit(PATIENT);
    let tools = json!([["echo", { "text": "hello" }], ["add", { "a": 20, "b": 22 }]]);
    let more = [
        format!("--browser={}", browser().unwrap().display()),
        format!("--name={}", PERSON.0),
        format!("--password={password}"),
        format!("--scope={READ} {WRITE}"),
        format!("--decline={WRITE}"),
        format!("--tools={tools}"),
    ];
    clients.drive_other(&directory().join("login.mjs"), &session, &more).await.unwrap()
}

fn scopes(login: &Value) -> Vec<&str> {
    login["scope"].as_str().unwrap_or_default().split(' ').collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_and_steps_up() {
    for make in Make::ALL {
        let testbed = Testbed::of(make);
        for (upstream, mode) in
            [("opaque", "auto"), ("signed-guest", "2026-07-28"), ("opaque-guest", "legacy")]
        {
            let what = format!("{make:?}, {upstream}, {mode}");
            let report = log_in(&testbed, upstream, mode, PERSON.1).await;
            assert_eq!(report.error, None, "{what}: {report:?}");
            assert!(report.steps["echo"].to_string().contains("hello"), "{what}: {report:?}");
            assert!(report.steps["add"].to_string().contains("42"), "{what}: {report:?}");
            let logins = report.steps["logins"].as_array().unwrap();
            for login in logins {
                assert_eq!(login["resource"], testbed.resource(upstream), "{what}");
                assert_eq!(login["pkce"], "S256", "{what}");
            }
            assert_eq!(logins[0]["pages"][0], "Log in", "{what}: {report:?}");
            assert_eq!(logins.len(), 2, "{what}: {report:?}");
            // The final request has all scopes that the second tool needs, and the earlier ones.
            let last = scopes(&logins[1]);
            assert!(last.contains(&READ) && last.contains(&WRITE), "{what}: {report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_gives_no_token() {
    let testbed = Testbed::of(Make::OidcProvider);
    let report = log_in(&testbed, "opaque", "auto", "a guess").await;
    assert!(report.error.is_some() && !report.steps.contains_key("echo"), "{report:?}");
    assert_eq!(report.steps["logins"][0]["error"], "access_denied", "{report:?}");
}
