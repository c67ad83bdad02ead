//! Logins with real clients that know only the URL, of both eras.

use super::*;

/// Time limit of a client on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

fn session(running: &Running) -> Session {
    Session::http(running.url()).mode("auto").limit(LIMIT).call("echo", json!({ "text": "hello" }))
}

fn person(more: &str) -> Vec<String> {
    let own = ["--name=ada".to_owned(), format!("--password={PASSWORD}")];
    own.into_iter().chain([more.to_owned()].into_iter().filter(|more| !more.is_empty())).collect()
}

/// Both SDKs refresh for each of several calls that were refused at the same time. All of these refreshes are good.
#[tokio::test(flavor = "multi_thread")]
async fn five_calls_at_once_after_the_end_of_a_token_are_all_good() {
    let running = setup("").serve();
    let clients = Clients::installed().unwrap();
    for sdk in ["ts-client", "ts-sdk"] {
        let (driver, more) = (directory().join("expiry.mjs"), person(&format!("--sdk={sdk}")));
        let report: Scenario = clients.drive_other(&driver, &session(&running), &more).await.unwrap();
        assert_eq!(report.error, None, "{sdk}: {report:?}\n{}", running.log());
        assert!(report.steps["called"].to_string().contains("hello"), "{report:?}");
        assert_eq!((&report.steps["good"], &report.steps["logins"]), (&json!(5), &json!(1)), "{report:?}");
        assert!(report.steps["refreshes"].as_u64().unwrap() >= 1, "{report:?}");
    }
    assert!(!running.log().contains("refresh-reused"), "{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_through_mcp_remote() {
    let running = setup("").serve();
    let clients = Clients::installed().unwrap();
    let driver = directory().join("mcp-remote-login.mjs");
    let report: Scenario = clients.drive_other(&driver, &session(&running), &person("")).await.unwrap();
    assert_eq!(report.error, None, "{report:?}\n{}", running.log());
    assert!(report.steps["called"].to_string().contains("hello"), "{report:?}");
    let opened = report.steps["opened"][0].as_str().unwrap();
    assert!(opened.starts_with("http://localhost:") || opened.starts_with("http://127.0.0.1:"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_with_the_older_python_clients() {
    let running = setup("").serve();
    let clients = Clients::installed().unwrap();
    for kind in ["mcp", "fastmcp"] {
        let person = json!({ "kind": kind, "name": "ada", "password": PASSWORD });
        let (driver, more) = (directory().join("login_1.py"), [format!("--client={person}")]);
        let report: Report = clients.drive_other(&driver, &session(&running), &more).await.unwrap();
        assert_eq!(report.error, None, "{kind}: {report:?}\n{}", running.log());
        assert!(report.called.unwrap().to_string().contains("hello"), "{kind}");
    }
}
