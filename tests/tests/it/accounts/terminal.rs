//! Connecting from the terminal, by an operator for a caller.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use witgate_tests::recorder::Recorder;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_connects_an_account_for_a_caller() {
    let (provider, recorder) = (Provider::start().await, Recorder::start());
    let (running, [ada, eve]) = serve(&recorder.url(), &provider, "");
    let setup = running.setup();
    let said = |arguments: &[&str]| {
        let output = setup.run(arguments);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert!(said(&["credential", "login", "hub"]).contains("name the caller by `--as SUBJECT`"));
    let mut login = setup.command(&["credential", "login", "hub", "--as", "ada", "--no-browser"]);
    let mut login = login.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(login.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url =
        lines.find_map(|line| Some(line.trim().to_owned()).filter(|line| line.starts_with("http"))).unwrap();
    let redirect = url::Url::parse(&url).unwrap();
    let (_, end) = redirect.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap();
    let seen = open(&url, None, &["--provider", &format!("--end={end}")]).await;
    assert_eq!(seen.error, None, "{seen:?}");
    assert!(lines.any(|line| line.contains("connected `hub` of \"ada\" as ada")));
    assert!(login.wait().unwrap().success());
    assert!(call(&running, &ada).await.is_result());
    assert_eq!(call(&running, &eve).await.reason(), Some("connect-required"));
    let status = said(&["credential", "status", "hub", "--as", "ada"]);
    assert!(status.contains("logged in") && status.contains("ada"), "{status}");
    assert!(said(&["credential", "test", "hub", "--as", "ada"]).contains("can be obtained"));
    assert!(said(&["credential", "logout", "hub", "--as", "ada"]).contains("are forgotten"));
    assert!(said(&["credential", "list"]).contains("no account is connected"));
    drop(provider.server);
}
