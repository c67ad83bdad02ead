//! A caller whose account changes: their session ends at the server, and never gets the tokens of another login.

use super::*;
use crate::caller::until;

/// Stores `token` as that of the account of `ada`.
fn connect(running: &Running, token: &str) {
    let arguments = ["credential", "import", "hub", "--as", "ada", "--access-token-env", "ACCESS_TOKEN"];
    let output = running.setup().command(&arguments).env("ACCESS_TOKEN", token).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The head of the request that ends a session, if there is one.
fn farewell(recorder: &Recorder) -> Option<String> {
    let seen = String::from_utf8_lossy(&recorder.seen()).into_owned();
    let (_, farewell) = seen.split_once("DELETE ")?;
    Some(farewell.split_once("\r\n\r\n")?.0.to_ascii_lowercase())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_at_the_server_when_the_account_of_its_caller_changes() {
    let recorder = Recorder::start();
    let (running, key) = serve(
        Setup::new(),
        &format!(
            "[upstreams.hub]\nurl = '{}'\ncredential = 'hub'\neras = ['stateful', 'stateless']\npath = '/mcp'\n\
             [credentials.hub]\nkind = 'oauth'\npreset = 'custom'\nper = 'principal'\nclient_id = 'gate'\n\
             authorize_url = 'https://provider.example.com/authorize'\n\
             token_url = 'https://provider.example.com/token'\n",
            recorder.url()
        ),
    );
    connect(&running, "token-of-octocat");
    let caller = Caller::new(running.url(), Some(&key));
    let session = caller.open_session().await;
    assert!(caller.call_in(&session, "echo", json!({})).await.is_result());
    assert_eq!(farewell(&recorder), None);
    connect(&running, "token-of-hubot");
    until("the other account", async || {
        let answer = caller.call_in(&session, "echo", json!({})).await;
        assert!(answer.is_result() || answer.status == 404, "{answer:?}");
        (answer.status == 404).then_some(())
    })
    .await;
    let farewell = await_some("the end of the session", || farewell(&recorder));
    assert!(farewell.contains("bearer token-of-octocat") && farewell.contains("recorded"), "{farewell}");
    assert!(!contains(&recorder.seen(), b"token-of-hubot"), "nothing in this session is theirs");
    let session = caller.open_session().await;
    assert!(caller.call_in(&session, "echo", json!({})).await.is_result());
    assert!(contains(&recorder.seen(), b"token-of-hubot"));
}
