//! The identity in headers.

use serde_json::{Value, json};
use witgate_tests::recorder::Recorder;

use super::{of_issuer, serve, setup};
use crate::caller::Caller;

const IDENTITY: &str = "[upstreams.record.identity.headers]\nkind = 'X-Witgate-Kind'\nprincipal = 'X-Witgate-Principal'\n\
     subject = 'X-Witgate-Subject'\nroles = 'X-Witgate-Roles'\n";

fn config(recorder: &Recorder) -> String {
    format!("[upstreams.record]\nurl = '{}'\n{IDENTITY}", recorder.url())
}

/// The heads of all requests so far: the request line, and the headers of Witgate's.
fn heads(recorder: &Recorder) -> Vec<(String, Vec<String>)> {
    let record = String::from_utf8(recorder.seen()).unwrap();
    let mut heads: Vec<(String, Vec<String>)> = Vec::new();
    for line in record.split("\r\n") {
        // A body stands before the next head, without a line end of its own.
        let begins = ["POST /", "GET /", "DELETE /"].iter().find_map(|begin| line.rfind(begin));
        if let Some(begin) = begins {
            heads.push((line[begin..].to_owned(), Vec::new()));
        } else if let Some((_, identity_headers)) =
            heads.last_mut().filter(|_| line.starts_with("x-witgate-"))
        {
            identity_headers.push(line.to_owned());
        }
    }
    heads
}

/// The last request of a caller; Witgate's own requests come in between.
fn last(recorder: &Recorder) -> (String, Vec<String>) {
    heads(recorder)
        .into_iter()
        .rfind(|(_, identity_headers)| *identity_headers != ["x-witgate-kind: witgate"])
        .unwrap()
}

/// Bytes of two connections may stand between each other.
fn identity_headers(recorder: &Recorder) -> Vec<String> {
    let mut headers = last(recorder).1;
    headers.retain(|header| header != "x-witgate-kind: witgate");
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_names_its_caller_and_requests_of_witgate_name_witgate() {
    let recorder = Recorder::start();
    let (running, callers) = serve(setup(), &config(&recorder), &["ada", "bob"]);
    let of_key = |name: &str| {
        let expected = [
            "x-witgate-kind: known".to_owned(),
            format!("x-witgate-principal: keys||{name}"),
            format!("x-witgate-subject: {name}"),
            "x-witgate-roles: user".to_owned(),
        ];
        expected.to_vec()
    };
    assert!(callers[0].call("echo", json!({})).await.is_result());
    assert_eq!(identity_headers(&recorder), of_key("ada"));
    // Witgate has asked for the era before.
    assert_eq!(heads(&recorder)[0].1, ["x-witgate-kind: witgate"]);
    for (caller, name) in callers.iter().zip(["ada", "bob"]) {
        let session = caller.open_session().await;
        assert_eq!(identity_headers(&recorder), of_key(name));
        caller.call_in(&session, "echo", json!({})).await;
        assert_eq!(identity_headers(&recorder), of_key(name));
        let client = reqwest::Client::new();
        for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
            let request = caller.request(&client, method.clone()).header("Accept", "text/event-stream");
            request.header("Mcp-Session-Id", &session).send().await.unwrap();
            let (line, expected) = last(&recorder);
            assert!(line.starts_with(method.as_str()), "{line}");
            assert_eq!(expected, of_key(name));
        }
    }
    let anonymous = Caller::new(running.url(), None).call("echo", json!({})).await;
    assert_eq!(anonymous.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_role_stays_one_header_value() {
    let recorder = Recorder::start();
    let (running, _) = serve(setup(), &config(&recorder), &[]);
    let cases: [(&str, Value, &str, &str); 3] = [
        ("ada, root", json!(["user", "a,b"]), "ada%2C%20root", "a%2Cb,user"),
        ("Ådå", json!(["user", "%2C", "x y"]), "%C3%85d%C3%A5", "%252C,user,x%20y"),
        ("auth0|5f7c", json!(["user"]), "auth0|5f7c", "user"),
    ];
    for (subject, roles, subject_told, roles_told) in cases {
        let caller = of_issuer(&running, subject, &roles);
        let answer = caller.call("echo", json!({})).await;
        assert!(answer.is_result(), "{answer:?}");
        let expected =
            [format!("x-witgate-subject: {subject_told}"), format!("x-witgate-roles: {roles_told}")];
        assert_eq!(identity_headers(&recorder)[2..], expected);
    }
    // A line end is refused before that, or comes as what it is.
    let answer =
        of_issuer(&running, "eve\r\nX-Witgate-Roles: admin", &json!(["user"])).call("echo", json!({})).await;
    let record = String::from_utf8(recorder.seen()).unwrap();
    assert!(!record.to_lowercase().contains("roles: admin"), "{record}");
    assert_eq!(answer.is_result(), record.contains("eve%0D%0AX-Witgate-Roles:%20admin"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_identity_cannot_be_sent_is_refused() {
    let recorder = Recorder::start();
    let (running, _) = serve(setup(), &config(&recorder), &[]);
    // Each comma becomes three characters.
    let roles: Vec<String> = (0..80).map(|number| format!("{}{number}", ",".repeat(40))).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).chain(["user"]).collect();
    let caller = of_issuer(&running, "ada", &json!(roles));
    let answer = caller.call("echo", json!({})).await;
    assert_eq!((answer.status, answer.reason()), (403, Some("identity-untold")), "{answer:?}");
    let all: Vec<_> =
        heads(&recorder).into_iter().flat_map(|(_, identity_headers)| identity_headers).collect();
    assert!(
        all.iter().all(|identity_headers| identity_headers == "x-witgate-kind: witgate"),
        "nothing but questions about its era: {all:?}"
    );
    running.await_log("reason=\"identity-untold\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_credential_has_no_name() {
    let recorder = Recorder::start();
    let anonymous = "[upstreams.record.pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n\
                     anonymous = { roles = ['guest'] }";
    let (running, callers) = serve(setup(), &format!("{}{anonymous}", config(&recorder)), &["anonymous"]);
    assert!(Caller::new(running.url(), None).call("echo", json!({})).await.is_result());
    assert_eq!(identity_headers(&recorder), ["x-witgate-kind: anonymous", "x-witgate-roles: guest"]);
    assert!(callers[0].call("echo", json!({})).await.is_result());
    assert_eq!(
        identity_headers(&recorder)[..2],
        ["x-witgate-kind: known", "x-witgate-principal: keys||anonymous"]
    );
}
