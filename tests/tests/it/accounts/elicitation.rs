//! Clients that open URLs for servers, in both eras.

use super::*;
use crate::caller::Upstream;

const OPEN: &str = "only_for_calls = true\n";

async fn elicit(running: &Running, key: &str, mode: &str, more: &[&str]) -> Scenario {
    let clients = Clients::installed().unwrap();
    let session = Session::http(running.url()).header("Authorization", &format!("Bearer {key}"));
    let session = session.mode(mode).call("test_simple_text", json!({})).limit(PATIENT);
    let mut all = person();
    all.push(format!("--credential={key}"));
    all.extend(more.iter().map(|option| (*option).to_owned()));
    clients.drive_other(&directory().join("elicit.mjs"), &session, &all).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_stateful_era_gets_an_error_with_the_elicitation() {
    let (provider, upstream) = (Provider::start().await, Upstream::with_sessions());
    let (running, [ada, _]) = serve(&upstream.url, &provider, OPEN);
    let report = elicit(&running, &ada, "legacy", &[]).await;
    assert_eq!(report.error, None, "{report:?}\n{}", running.log());
    assert_eq!(report.steps["refused"]["code"], -32042, "{report:?}");
    assert_eq!(report.steps["heading"], format!("Connected as {}", PERSON.0), "{report:?}");
    assert_eq!(report.steps["completed"], true, "{report:?}");
    assert!(report.steps["called"].to_string().contains("simple text"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_stateless_era_is_asked_for_input_and_goes_on_by_itself() {
    let (provider, upstream) = (Provider::start().await, Upstream::start());
    let (running, [ada, eve]) = serve(&upstream.url, &provider, OPEN);
    let report = elicit(&running, &ada, "2026-07-28", &[]).await;
    assert_eq!(report.error, None, "{report:?}\n{}", running.log());
    let asked = report.steps.get("asked").unwrap_or_else(|| panic!("{report:?}\n{}", running.log()));
    assert_eq!(asked["mode"], "url", "{report:?}");
    assert_eq!(report.steps["heading"], format!("Connected as {}", PERSON.0), "{report:?}");
    assert!(report.steps["called"].to_string().contains("simple text"), "{report:?}");
    let declined = elicit(&running, &eve, "2026-07-28", &["--decline"]).await;
    assert_eq!(declined.steps["refused"]["data"]["reason"], "connect-denied", "{declined:?}");
}
